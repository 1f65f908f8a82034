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

// counted is the number of all steps: those of the funnel, then those apart.
const counted = 17

// paidStep is StepPaid among all steps: told by the accounts, not by the facts.
const paidStep = 9

// stepNames names all steps.
func stepNames() (names [counted]string) {
	copy(names[copy(names[:], FunnelSteps()):], apartSteps())
	return names
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

// byTouch: the campaign's goal is an open or a click itself.
func (r *rules) byTouch() bool {
	return r.goal == kairos.NotificationOpened || r.goal == kairos.NotificationClicked
}

// journey is one message's way to its person and what the person did with it.
type journey struct {
	notification, campaign, contact kairos.ID
	arm                             kairos.Arm
	channel                         kairos.Channel
	model                           int // timing model that chose the hour; 0: none did
	facts                           facts
	rules                           *rules

	known   bool     // somebody planned it
	stored  bool     // the table has a row of it
	before  *journey // as it was when the chunk began; nil: no event of the chunk speaks of it
	touched bool     // an event of the chunk said something new

	read bool // last is what the facts come to
	last reading
}

// was returns the journey as it was when the chunk began.
func (j *journey) was() *journey {
	if j.before != nil {
		return j.before
	}
	return j
}

// reading is what the facts come to. It is a function of the facts and the
// rules alone.
type reading struct {
	start, sent int64 // microseconds; 0: none
	until       int64 // end of the later window
	opened      int64 // first human open
	clicked     int64 // first human click
	responded   bool  // clicked, or went beyond it on a page; payments are told by the accounts
	opens       []int64
	clicks      []int64        // of humans, sorted
	times       [counted]int32 // how often each step was taken
}

// count is people and times.
type count struct{ uniques, total int64 }

func (c count) plus(d count, sign int64) count {
	return count{c.uniques + sign*d.uniques, c.total + sign*d.total}
}

func of(n int) count { return count{min(int64(n), 1), int64(n)} }

// reading returns what the facts come to.
func (j *journey) reading() *reading {
	if !j.read {
		j.facts.read(&j.last, j.rules)
		j.read = true
	}
	return &j.last
}

func (f *facts) read(v *reading, r *rules) {
	sent, sentAt := f.sent()
	*v = reading{start: f.Start, sent: sentAt, opens: f.Opens}
	if last := max(v.start, v.sent); last > 0 {
		v.until = last + r.window.Microseconds()
	}
	machine := f.MoreMachineClicks
	if len(f.Clicks) > 0 {
		for i, human := range f.humans(r.fast, r.burst) {
			if human {
				v.clicks = append(v.clicks, f.Clicks[i].At)
			} else {
				machine++
			}
		}
	}
	if len(v.opens) > 0 {
		v.opened = v.opens[0]
	}
	if len(v.clicks) > 0 {
		v.clicked = v.clicks[0]
	}
	v.responded = v.clicked != 0 || f.MoreClicks+f.Viewed+f.CTA+f.OfferAccepted+f.OfferDeclined > 0
	for i, n := range [counted]int{
		flag(f.Planned), sent, flag(f.delivered()),
		len(f.Opens) + f.MoreOpens, len(v.clicks) + f.MoreClicks,
		f.Viewed, f.CTA, f.OfferAccepted, f.OfferDeclined, 0,
		flag(f.HeldOut), flag(f.Skipped), flag(f.Bounced), f.Complained, f.Unsubscribed,
		f.MachineOpens, machine,
	} {
		v.times[i] = int32(n)
	}
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
