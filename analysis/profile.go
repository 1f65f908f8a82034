package analysis

import (
	"cmp"
	"math"
	"slices"
	"time"

	"kairos"
	"kairos/dto"
)

// Times of activity that count: from profileEpoch on, which is also where
// weights begin, and no further ahead of our clock than profileFuture.
const (
	profileEpoch  = dto.ActivityEpoch
	profileFuture = time.Hour
)

// sign is something that may tell when a person is active of their own accord:
// an action, an open or a click.
type sign struct {
	contact kairos.ID
	at      int64    // microseconds
	message *journey // by whose token it came; nil: by none
	click   bool
}

// signOf reads an event as a sign; act says that it is an action, d is what its data says. Opens and
// clicks of messages that nobody planned are none, and what a machine did is none.
func signOf(e *kairos.Event, d *detail, j *journey, act bool) (s sign, ok bool) {
	s = sign{contact: e.Contact, at: e.OccurredAt.UnixMicro(), message: j}
	if j != nil {
		s.contact = j.contact
	}
	switch {
	case act:
	case j == nil:
		return s, false
	case e.Kind == kairos.NotificationOpened:
	case e.Kind == kairos.NotificationClicked:
		s.click = true
	default:
		return s, false
	}
	return s, !s.contact.IsZero() && (act || !d.Machine)
}

// own reports whether a sign may be of the person's own accord as far as the
// event and its own message tell: at a time that makes sense, not by a machine,
// and not in answer to the message. Before its message is known to have left it
// is an answer too: "sent" is told when the provider has answered, and a quick
// person may be ahead of it.
func (s *sign) own(now time.Time, window time.Duration) bool {
	if s.at < profileEpoch || s.at > now.Add(profileFuture).UnixMicro() {
		return false
	}
	if s.message == nil {
		return true
	}
	v := s.message.reading()
	if s.click {
		if _, human := slices.BinarySearch(v.clicks, s.at); !human {
			return false
		}
	}
	return v.sent != 0 && s.at >= v.sent+window.Microseconds()
}

// answers reports whether a moment lies within the response window of any of
// the sendings: sent <= at < sent + window.
func answers(at int64, sent []int64, window time.Duration) bool {
	return slices.ContainsFunc(sent, func(s int64) bool { return s <= at && at < s+window.Microseconds() })
}

// activeHour is an hour that passed in which a person was active.
type activeHour struct {
	contact kairos.ID
	day     int64 // local, days since 1970-01-01
	hour    int   // local
	weight  float64
}

// hourOf returns the hour that a moment lies in where loc's clocks are read. An
// hour that the clocks show twice is one; one that they skip is never active.
func hourOf(contact kairos.ID, at int64, loc *time.Location) activeHour {
	t := time.UnixMicro(at).In(loc)
	y, m, d := t.Date()
	start := t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	return activeHour{contact, time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86_400, t.Hour(), dto.ActivityWeight(start)}
}

// sortHours orders hours by person and time and drops repeats.
func sortHours(hours []activeHour) []activeHour {
	slices.SortFunc(hours, func(a, b activeHour) int {
		return cmp.Or(slices.Compare(a.contact[:], b.contact[:]), cmp.Compare(a.day, b.day), cmp.Compare(a.hour, b.hour), cmp.Compare(a.weight, b.weight))
	})
	return slices.CompactFunc(hours, func(a, b activeHour) bool { return a.contact == b.contact && a.day == b.day && a.hour == b.hour })
}

// profile is a person's organic activity by local hour of day.
type profile struct {
	contact  kairos.ID
	zone     *time.Location
	activity []float32 // kairos.HoursPerDay, in weights of dto.ActivityWeight; nil: none yet
	seen     int64     // newest local day with activity, days since 1970-01-01
	hours    int32     // which hours of that day are counted, bit h
}

// add counts an hour once. Of days before the newest nothing is remembered: an
// event that comes so late counts once in its chunk.
func (p *profile) add(h activeHour) (counted bool) {
	bit := int32(1) << h.hour
	switch {
	case p.activity == nil:
		p.activity, p.seen, p.hours = make([]float32, kairos.HoursPerDay), h.day, bit
	case h.day > p.seen:
		p.seen, p.hours = h.day, bit
	case h.day == p.seen && p.hours&bit != 0:
		return false
	case h.day == p.seen:
		p.hours |= bit
	}
	p.activity[h.hour] = float32(min(float64(p.activity[h.hour])+h.weight, math.MaxFloat32))
	return true
}
