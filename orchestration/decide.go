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
	active       ranking // own order of hours under the active model; nil: none
	canary       ranking // and under the one on trial
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
	model      int       // version of the model that chose the slot; 0: none did
	told       told
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

// decide is pure: the same campaign (with its experiment and models), person
// (with their order of hours) and moment give the same decision.
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
	if h := c.experiment.Holdout; draw(c.id, p.id, "arm") < h {
		d.state, d.arm, d.propensity, d.reason = kairos.StateHeldOut, kairos.ArmHoldout, h, ""
	}
	return d
}

func (d decision) skip(r kairos.Reason) decision {
	d.state, d.reason = kairos.StateSkipped, r
	return d
}

// choose finds the moment by the schedule's mode.
func (d *decision) choose(c *campaign, p *person, loc *time.Location, now time.Time) {
	if c.spec.Schedule.Mode == kairos.ModeOptimised {
		d.optimise(c, p, loc, c.from(now))
		return
	}
	d.at = c.moment(now, loc)
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

// moment is when a schedule that chooses no hours would send.
func (c *campaign) moment(now time.Time, loc *time.Location) time.Time {
	switch s := c.spec.Schedule; s.Mode {
	case kairos.ModeAt:
		return c.start // a moment that has passed is judged by the window
	case kairos.ModeLocal:
		return s.LocalTime.Next(c.from(now), loc)
	default:
		return c.from(now)
	}
}
