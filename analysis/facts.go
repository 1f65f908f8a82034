package analysis

import (
	"cmp"
	"slices"
	"strconv"

	"kairos"
)

// keep bounds how many opens and how many clicks of one message are kept one
// by one; of more the earliest are kept and the rest are counted.
const keep = 64

// facts is all that is known about one message, as a set: adding the same
// facts in any order gives the same value, byte for byte. Times are Unix
// microseconds, as precise as Postgres keeps them; 0 means unknown.
type facts struct {
	Slot     int64     `json:"slot,omitempty"`  // the moment chosen for it when the fold first met it
	Start    int64     `json:"start,omitempty"` // the planned moment, also of the held out; 0 until they say so
	Planned  bool      `json:"planned,omitempty"`
	HeldOut  bool      `json:"held_out,omitempty"`
	Skipped  bool      `json:"skipped,omitempty"`
	Attempts []attempt `json:"attempts,omitempty"` // by number
	Links    int       `json:"links,omitempty"`    // tracked links in the message; 0: unknown

	Delivered    bool `json:"delivered,omitempty"` // the provider said so
	Bounced      bool `json:"bounced,omitempty"`   // or dropped
	Complained   int  `json:"complained,omitempty"`
	Unsubscribed int  `json:"unsubscribed,omitempty"`

	Opens        []int64 `json:"opens,omitempty"` // by humans, earliest first, at most keep
	MoreOpens    int     `json:"more_opens,omitempty"`
	MachineOpens int     `json:"machine_opens,omitempty"`

	Clicks            []click `json:"clicks,omitempty"` // earliest first, at most keep
	MoreClicks        int     `json:"more_clicks,omitempty"`
	MoreMachineClicks int     `json:"more_machine_clicks,omitempty"`

	Viewed        int `json:"viewed,omitempty"`
	CTA           int `json:"cta,omitempty"`
	OfferAccepted int `json:"offer_accepted,omitempty"`
	OfferDeclined int `json:"offer_declined,omitempty"`
}

// attempt is what the log says about one try.
type attempt struct {
	Number   int   `json:"n"`
	At       int64 `json:"at"` // the earliest word of it
	Sent     bool  `json:"sent,omitempty"`
	Accepted bool  `json:"accepted,omitempty"`
	Unknown  bool  `json:"unknown,omitempty"`
	Rejected bool  `json:"rejected,omitempty"`
	Confirms bool  `json:"confirms,omitempty"` // its provider reports deliveries itself
}

type click struct {
	At      int64  `json:"at"`
	Link    string `json:"link"`
	Flagged bool   `json:"machine,omitempty"` // by the collector
}

func (c click) compare(d click) int {
	return cmp.Or(cmp.Compare(c.At, d.At), cmp.Compare(c.Link, d.Link), cmp.Compare(flag(c.Flagged), flag(d.Flagged)))
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// add takes an event in, and what its data says, and reports whether it said anything new.
func (f *facts) add(e *kairos.Event, d *detail, confirming map[string]bool) bool {
	at := e.OccurredAt.UnixMicro()
	switch e.Kind {
	case kairos.NotificationPlanned, kairos.NotificationHeldOut:
		if !d.PlannedAt.IsZero() {
			at = d.PlannedAt.UnixMicro()
		} else if f.Slot != 0 {
			at = f.Slot
		}
		f.Start = earliest(f.Start, at)
		f.Planned = f.Planned || e.Kind == kairos.NotificationPlanned
		f.HeldOut = f.HeldOut || e.Kind == kairos.NotificationHeldOut
	case kairos.NotificationSkipped:
		f.Skipped = true
	case kairos.NotificationSent, kairos.NotificationAccepted, kairos.NotificationUnknown, kairos.NotificationRejected, kairos.NotificationResolved:
		f.attempted(e, at, d, confirming)
	case kairos.NotificationDelivered:
		f.Delivered = true
	case kairos.NotificationBounced, kairos.NotificationDropped:
		f.Bounced = true
	case kairos.NotificationComplained:
		f.Complained++
	case kairos.ContactUnsubscribed:
		f.Unsubscribed++
	case kairos.NotificationOpened:
		f.opened(at, d.Machine)
	case kairos.NotificationClicked:
		f.Links = max(f.Links, d.Links)
		f.clicked(click{At: at, Link: d.Link, Flagged: d.Machine})
	case kairos.PageViewed, kairos.CTAClicked, kairos.OfferAccepted, kairos.OfferDeclined:
		if d.Machine {
			return false
		}
		switch e.Kind {
		case kairos.PageViewed:
			f.Viewed++
		case kairos.CTAClicked:
			f.CTA++
		case kairos.OfferAccepted:
			f.OfferAccepted++
		default:
			f.OfferDeclined++
		}
	default:
		return false
	}
	return true
}

func (f *facts) attempted(e *kairos.Event, at int64, d *detail, confirming map[string]bool) {
	number, _ := strconv.Atoi(e.Key)
	i, found := slices.BinarySearchFunc(f.Attempts, number, func(a attempt, n int) int { return cmp.Compare(a.Number, n) })
	if !found {
		f.Attempts = slices.Insert(f.Attempts, i, attempt{Number: number})
	}
	a := &f.Attempts[i]
	switch e.Kind {
	case kairos.NotificationSent, kairos.NotificationAccepted, kairos.NotificationUnknown:
		a.At = earliest(a.At, at)
	}
	f.Links = max(f.Links, d.Links)
	a.Confirms = a.Confirms || confirming[d.Provider]
	switch e.Kind {
	case kairos.NotificationSent:
		a.Sent = true
	case kairos.NotificationAccepted:
		a.Accepted = true
	case kairos.NotificationUnknown:
		a.Unknown = true
	case kairos.NotificationRejected:
		a.Rejected = true
	case kairos.NotificationResolved:
		a.Rejected = a.Rejected || d.Choice == kairos.AttemptNotSent
	}
}

func (f *facts) opened(at int64, machine bool) {
	if machine {
		f.MachineOpens++
		return
	}
	i, _ := slices.BinarySearch(f.Opens, at)
	f.Opens = slices.Insert(f.Opens, i, at)
	if len(f.Opens) > keep {
		f.Opens = f.Opens[:keep]
		f.MoreOpens++
	}
}

func (f *facts) clicked(c click) {
	i, _ := slices.BinarySearchFunc(f.Clicks, c, click.compare)
	f.Clicks = slices.Insert(f.Clicks, i, c)
	if len(f.Clicks) <= keep {
		return
	}
	if f.Clicks[keep].Flagged {
		f.MoreMachineClicks++
	} else {
		f.MoreClicks++
	}
	f.Clicks = f.Clicks[:keep]
}

// clone copies f, so that the copy does not change with it.
func (f *facts) clone() facts {
	g := *f
	g.Attempts, g.Opens, g.Clicks = slices.Clone(f.Attempts), slices.Clone(f.Opens), slices.Clone(f.Clicks)
	return g
}

// counts reports whether attempt i went out: accepted or unknown, or sent and
// still without an outcome. A further attempt is only made when the one before
// it came to nothing, so a bare "sent" with a successor did not go out.
func (f *facts) counts(i int) bool {
	a := f.Attempts[i]
	return a.Accepted || !a.Rejected && (a.Unknown || a.Sent && i == len(f.Attempts)-1)
}

// sent returns how many attempts went out and when the first did; 0, 0: none.
func (f *facts) sent() (n int, at int64) {
	for i := range f.Attempts {
		if f.counts(i) {
			n, at = n+1, earliest(at, f.Attempts[i].At)
		}
	}
	return n, at
}

// delivered: the provider said so, or, where it says nothing of the kind, took
// the message; and nobody sent it back.
func (f *facts) delivered() bool {
	if f.Bounced || f.Delivered {
		return !f.Bounced
	}
	return slices.ContainsFunc(f.Attempts, func(a attempt) bool { return a.Accepted && !a.Confirms })
}

func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
