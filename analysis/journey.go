package analysis

import (
	"slices"
	"time"

	"kairos"
)

// Steps of the funnel, in order.
const (
	StepPlanned       = "planned"
	StepSent          = "sent"
	StepDelivered     = "delivered"
	StepOpened        = "opened"
	StepClicked       = "clicked"
	StepViewed        = "viewed"
	StepCTA           = "cta"
	StepOfferAccepted = "offer_accepted"
	StepOfferDeclined = "offer_declined"
	StepPaid          = "paid" // attributed payments
)

// Steps that are kept apart from the funnel.
const (
	StepHeldOut        = "held_out"
	StepSkipped        = "skipped"
	StepBounced        = "bounced"
	StepComplained     = "complained"
	StepUnsubscribed   = "unsubscribed"
	StepMachineOpened  = "machine_opened"
	StepMachineClicked = "machine_clicked"
)

// FunnelSteps returns the steps of the funnel in their order.
func FunnelSteps() []string {
	return []string{StepPlanned, StepSent, StepDelivered, StepOpened, StepClicked, StepViewed, StepCTA,
		StepOfferAccepted, StepOfferDeclined, StepPaid}
}

func apartSteps() []string {
	return []string{StepHeldOut, StepSkipped, StepBounced, StepComplained, StepUnsubscribed, StepMachineOpened, StepMachineClicked}
}

// rules are what a campaign and the installation say about counting.
type rules struct {
	window        time.Duration // attribution window
	goal          string        // event kind
	transactional bool
	fast, burst   time.Duration
}

// journey is one message's way to its person and what the person did with it.
type journey struct {
	notification, campaign, contact kairos.ID
	arm                             kairos.Arm
	channel                         kairos.Channel
	model                           *int // timing model that chose the hour; nil: none did, or it is stored already
	facts                           facts
	rules                           *rules

	read *reading // of the facts as they stand; nil: to be read
}

// reading is what the facts come to. It is a function of the facts and the
// rules alone.
type reading struct {
	start, sent int64 // microseconds; 0: none
	until       int64 // end of the later window
	opened      int64 // first human open
	clicked     int64 // first human click
	opens       []int64
	clicks      []int64 // of humans, sorted
	counts      []count // in the order of FunnelSteps without paid, then apartSteps
}

// count is people and times.
type count struct{ uniques, total int64 }

func of(n int) count { return count{min(int64(n), 1), int64(n)} }

// apply takes an event in; false: it says nothing about a journey.
func (j *journey) apply(e *kairos.Event, confirming map[string]bool) bool {
	if !j.facts.add(e, confirming) {
		return false
	}
	j.read = nil
	return true
}

// reading returns what the facts come to.
func (j *journey) reading() *reading {
	if j.read == nil {
		j.read = j.facts.read(j.rules)
	}
	return j.read
}

func (f *facts) read(r *rules) *reading {
	sent, sentAt := f.sent()
	v := &reading{start: f.Start, sent: sentAt, opens: f.Opens}
	if last := max(v.start, v.sent); last > 0 {
		v.until = last + r.window.Microseconds()
	}
	machine := f.MoreMachineClicks
	for i, human := range f.humans(r.fast, r.burst) {
		if human {
			v.clicks = append(v.clicks, f.Clicks[i].At)
		} else {
			machine++
		}
	}
	if len(v.opens) > 0 {
		v.opened = v.opens[0]
	}
	if len(v.clicks) > 0 {
		v.clicked = v.clicks[0]
	}
	v.counts = []count{
		of(flag(f.Planned)), of(sent), of(flag(f.delivered())),
		of(len(f.Opens) + f.MoreOpens), of(len(v.clicks) + f.MoreClicks),
		of(f.Viewed), of(f.CTA), of(f.OfferAccepted), of(f.OfferDeclined),
		of(flag(f.HeldOut)), of(flag(f.Skipped)), of(flag(f.Bounced)), of(f.Complained), of(f.Unsubscribed),
		of(f.MachineOpens), of(machine),
	}
	return v
}

// countedSteps names the entries of reading.counts.
func countedSteps() []string {
	funnel := FunnelSteps()
	return append(funnel[:len(funnel)-1], apartSteps()...)
}

// touched returns the person's last open or click at or before at; 0: none.
func (v *reading) touched(at int64) int64 {
	last := int64(0)
	for _, times := range [][]int64{v.opens, v.clicks} {
		i, found := slices.BinarySearch(times, at)
		if found {
			return at
		}
		if i > 0 {
			last = max(last, times[i-1])
		}
	}
	return last
}

// sameReach reports whether two readings are credited alike.
func (v *reading) sameReach(w *reading) bool {
	return v.start == w.start && v.sent == w.sent && slices.Equal(v.opens, w.opens) && slices.Equal(v.clicks, w.clicks)
}

// inWindow: the window of the intention to treat, start <= at < start + window.
func (v *reading) inWindow(at int64, r *rules) bool {
	return v.start != 0 && v.start <= at && at < v.start+r.window.Microseconds()
}

// reached: the attribution window, up to sent + window. "sent" is told when the
// provider has answered, so a quick person may be ahead of it: the window opens
// at the planned moment where that is earlier. It takes the message's token or
// a touch to be credited, and neither exists before the message has left.
func (v *reading) reached(at int64, r *rules) bool {
	return v.sent != 0 && earliest(v.start, v.sent) <= at && at < v.sent+r.window.Microseconds()
}
