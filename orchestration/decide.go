package orchestration

import (
	"time"

	"kairos"
)

// person is what a decision knows of a contact.
type person struct {
	id           kairos.ID
	missing      bool // deleted since the page was cut
	erased       bool
	hasAddress   bool
	suppressed   bool // from everything
	unsubscribed bool // from marketing by this channel
	zone         string
	preferences  kairos.Preferences
}

// decision is the outcome for one person.
type decision struct {
	state      string // planned, skipped or held_out
	reason     kairos.Reason
	arm        kairos.Arm
	propensity float64 // of the slot within the arm
	eligible   *mask   // nil where the schedule leaves no choice of hours
	slot       kairos.Slot
	zone       string
	at         time.Time // the instant the slot begins for this person, or exactly when
	jitter     time.Time // zero: exactly at; else anywhere in [at, jitter)
}

// rule is one question of a decision, in the order they are asked. The first
// that refuses ends it, with its reason.
type rule struct {
	name    string
	reason  kairos.Reason
	refuses func(c *campaign, p *person) bool
}

// consentRules are asked of everybody; the wishes of the last three bind
// marketing alone.
var consentRules = []rule{
	{"contact_exists", kairos.ReasonNoContact, func(_ *campaign, p *person) bool { return p.missing }},
	{"not_erased", kairos.ReasonErased, func(_ *campaign, p *person) bool { return p.erased }},
	{"has_address", kairos.ReasonNoAddress, func(_ *campaign, p *person) bool { return !p.hasAddress }},
	{"not_suppressed", kairos.ReasonSuppressed, func(_ *campaign, p *person) bool { return p.suppressed }},
	{"not_unsubscribed", kairos.ReasonUnsubscribed, func(c *campaign, p *person) bool {
		return c.spec.Marketing() && p.unsubscribed
	}},
	{"consents_to_channel", kairos.ReasonNoConsent, func(c *campaign, p *person) bool {
		allowed, said := p.preferences.Channels[string(kairos.Email)]
		return c.spec.Marketing() && said && !allowed
	}},
	{"consents_to_topic", kairos.ReasonTopicRefused, func(c *campaign, p *person) bool {
		allowed, said := p.preferences.Topics[c.spec.Topic]
		return c.spec.Marketing() && c.spec.Topic != "" && said && !allowed
	}},
}

// decide is pure: the same campaign, person and moment give the same decision.
func decide(c *campaign, p *person, loc *time.Location, zoneKnown bool, now time.Time) decision {
	d := decision{state: kairos.StatePlanned, arm: kairos.ArmAll, propensity: 1, zone: loc.String(), at: now}
	for _, r := range consentRules {
		if r.refuses(c, p) {
			return d.skip(r.reason)
		}
	}
	d.choose(c, p, loc, now)
	if d.state != kairos.StatePlanned {
		return d
	}
	if !zoneKnown {
		d.reason = kairos.ReasonUnknownZone // told, not fatal: the default zone was used
	}
	d.slot = kairos.SlotAt(d.at, loc)
	switch {
	case c.spec.Latest != nil && d.at.After(*c.spec.Latest):
		return d.skip(kairos.ReasonLatest)
	case now.Sub(d.at) > c.window():
		return d.skip(kairos.ReasonMissed)
	}
	// The holdout is set apart last: it is compared with those who are written
	// to, so it must have passed every rule they passed.
	if draw(c.id, p.id, "arm") < c.spec.Shares().Holdout {
		d.state, d.arm, d.propensity, d.reason = kairos.StateHeldOut, kairos.ArmHoldout, c.spec.Shares().Holdout, ""
	}
	return d
}

func (d decision) skip(r kairos.Reason) decision {
	d.state, d.reason = kairos.StateSkipped, r
	return d
}

// choose finds the moment by the schedule's mode.
func (d *decision) choose(c *campaign, p *person, loc *time.Location, now time.Time) {
	start := c.start
	if start.Before(now) {
		start = now
	}
	switch s := c.spec.Schedule; s.Mode {
	case kairos.ModeAt:
		d.at = c.start // a moment that has passed is judged by the window
	case kairos.ModeLocal:
		d.at = s.LocalTime.Next(start, loc)
	case kairos.ModeOptimised:
		d.optimise(c, p, loc, start)
		return
	default:
		d.at = start
	}
	if !c.spec.Marketing() {
		return
	}
	if until, is := quiet(p.preferences.QuietHours, d.at, loc); is {
		if until.IsZero() || until.Sub(d.at) > c.window() {
			*d = d.skip(kairos.ReasonQuietHours)
			return
		}
		d.at = until
	}
}

// optimise draws the arm, each share one of all people, and takes a slot of the window: the baseline for
// control, a uniformly drawn one for explore, one the person asked for, or the
// model's. While there is no model its fallback is the baseline.
func (d *decision) optimise(c *campaign, p *person, loc *time.Location, start time.Time) {
	end := c.start.Add(c.window())
	if !start.Before(end) {
		*d = d.skip(kairos.ReasonMissed)
		return
	}
	hours := hoursOf(start, end, loc)
	if p.preferences.QuietHours != nil {
		allowed := hours[:0:0]
		for _, h := range hours {
			if _, is := quiet(p.preferences.QuietHours, h.from, loc); is {
				continue
			}
			if _, is := quiet(p.preferences.QuietHours, h.until.Add(-time.Second), loc); is {
				continue
			}
			allowed = append(allowed, h)
		}
		hours = allowed
	}
	if len(hours) == 0 {
		*d = d.skip(kairos.ReasonQuietHours)
		return
	}
	d.eligible = maskOf(hours)
	u, e := draw(c.id, p.id, "arm"), c.spec.Shares()
	switch {
	case u < e.Holdout: // not sent; the moment it would have been
		d.base(c, hours, loc)
	case u < e.Holdout+e.Control:
		d.arm = kairos.ArmControl
		d.base(c, hours, loc)
	case u < e.Holdout+e.Control+e.Explore:
		d.arm = kairos.ArmExplore
		h := hours[int(draw(c.id, p.id, "slot")*float64(len(hours)))]
		d.at, d.jitter, d.propensity = h.from, h.until, 1/float64(len(hours))
	default:
		if asked := preferred(p, hours); len(asked) > 0 {
			d.arm = kairos.ArmPreferred
			h := asked[int(draw(c.id, p.id, "slot")*float64(len(asked)))]
			d.at, d.jitter, d.propensity = h.from, h.until, 1/float64(len(asked))
			return
		}
		d.arm = kairos.ArmOptimised
		d.base(c, hours, loc)
	}
}

// base takes the baseline time, or, where the window or quiet hours exclude
// it, the allowed hour that follows it, or else the last before it.
func (d *decision) base(c *campaign, hours []hour, loc *time.Location) {
	at := c.baseline().Next(hours[0].from, loc)
	for _, h := range hours {
		if at.Before(h.until) {
			d.at = at
			if at.Before(h.from) {
				d.at = h.from
			}
			return
		}
	}
	d.at = hours[len(hours)-1].from
}

func preferred(p *person, hours []hour) []hour {
	var in []hour
	for _, h := range hours {
		for _, r := range p.preferences.PreferredHours {
			if r.Contains(h.slot) {
				in = append(in, h)
				break
			}
		}
	}
	return in
}
