package orchestration

import (
	"encoding/json"
	"time"

	"kairos"
)

// told is what a decision says of itself beyond the notification's columns. It
// is kept with the event, for explain.
type told struct {
	Model    int    `json:"model,omitempty"`    // the version whose order of hours was asked
	Rank     int    `json:"rank,omitempty"`     // place of the chosen hour in it, from 1
	Asked    int    `json:"asked,omitempty"`    // how many of the allowed hours the person prefers
	Outside  bool   `json:"outside,omitempty"`  // the person prefers hours, and none of them is allowed
	Fallback string `json:"fallback,omitempty"` // why no model chose though one was asked
}

// sayings holds the few forms of told that a page has, in JSON.
type sayings map[told][]byte

// json is nil where there is nothing to say.
func (s sayings) json(t told) []byte {
	if t == (told{}) {
		return nil
	}
	b, ok := s[t]
	if !ok {
		b, _ = json.Marshal(t) // numbers and constants: can't fail
		s[t] = b
	}
	return b
}

// Fallbacks.
const (
	noneAllowed = "none_allowed" // none of the hours of the model's order is allowed
	noOrder     = "no_order"     // the model has no usable order of hours
)

// optimise draws the arm, each share one of all people, and takes a slot of the
// window: the baseline for control, a uniformly drawn one for explore, one the
// person asked for, or the model's. Where no model can say the fallback is the
// baseline.
func (d *decision) optimise(c *campaign, p *person, loc *time.Location, start time.Time) {
	end := c.end()
	if !start.Before(end) {
		*d = d.skip(kairos.ReasonMissed)
		if l := c.spec.Latest; l != nil && !l.After(start) {
			*d = d.skip(kairos.ReasonLatest)
		}
		return
	}
	hours := unquiet(c.hours(span{start, end, loc}), p.preferences.QuietHours, loc)
	if len(hours) == 0 {
		*d = d.skip(kairos.ReasonQuietHours)
		return
	}
	d.eligible = maskOf(hours)
	u, e := draw(c.id, p.id, "arm"), &c.experiment
	switch {
	case u < e.Holdout: // not sent; the moment it would have been
		d.base(c, hours, loc)
	case u < e.Holdout+e.Control:
		d.arm = kairos.ArmControl
		d.base(c, hours, loc)
	case u < e.Holdout+e.Control+e.Explore:
		d.arm = kairos.ArmExplore
		h, chance := pick(hours, draw(c.id, p.id, "slot"))
		d.take(h, chance)
	default:
		if len(p.preferences.PreferredHours) > 0 {
			if asked := preferred(p, hours); len(asked) > 0 {
				d.prefer(c, p, asked)
				return
			}
			d.told.Outside = true
		}
		d.arm = kairos.ArmOptimised
		if !d.rank(c, p, hours) {
			d.base(c, hours, loc)
		}
	}
}

// take is the hour h, somewhere in it.
func (d *decision) take(h hour, chance float64) {
	d.at, d.jitter, d.propensity = h.from, h.until, chance
}

// prefer takes the hour among those asked for that the active model likes best,
// or any of them. It takes no part in trials.
func (d *decision) prefer(c *campaign, p *person, asked []hour) {
	d.arm, d.told.Asked = kairos.ArmPreferred, maskOf(asked).len()
	if c.active.version != 0 && d.ask(&c.active, p.active, asked) {
		return
	}
	h, chance := pick(asked, draw(c.id, p.id, "slot"))
	d.take(h, chance)
}

// rank takes the best allowed hour by the model on trial, for its share of
// people, else by the active one. It reports whether there was any.
func (d *decision) rank(c *campaign, p *person, hours []hour) bool {
	if e := &c.experiment; e.canary != 0 && draw(c.id, p.id, "canary") < e.canaryShare && len(c.canary.ranking(p.canary)) > 0 {
		return d.ask(&c.canary, p.canary, hours)
	}
	return c.active.version != 0 && d.ask(&c.active, p.active, hours)
}

// ask takes the best of the hours by a model, if it names any.
func (d *decision) ask(m *model, own ranking, hours []hour) bool {
	order := m.ranking(own)
	h, place := order.best(hours)
	d.told.Model, d.told.Rank = m.version, place
	switch {
	case place > 0:
		d.model = m.version
		d.take(h, 1)
		return true
	case len(order) == 0:
		d.told.Fallback = noOrder
	default:
		d.told.Fallback = noneAllowed
	}
	return false
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
