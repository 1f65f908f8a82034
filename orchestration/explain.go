package orchestration

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/eventlog"
)

// Explanation tells why a person is written to, or not, at that moment. It is
// made from what was stored when it was decided, not decided anew.
type Explanation struct {
	Notification kairos.ID      `json:"notification"`
	Campaign     kairos.ID      `json:"campaign"`
	Contact      kairos.ID      `json:"contact"`
	State        string         `json:"state"`
	Reason       *string        `json:"reason"`
	Arm          kairos.Arm     `json:"arm"`
	Propensity   float64        `json:"propensity"` // of the slot within the arm
	Model        *int           `json:"model"`      // version; null: none was active
	Slot         ExplainedSlot  `json:"slot"`
	Channel      kairos.Channel `json:"channel"`
	Rules        []RuleOutcome  `json:"rules"`      // in the order asked
	Candidates   []Candidate    `json:"candidates"` // the local hours that were allowed
	Events       []kairos.Event `json:"events"`
}

// ExplainedSlot is the moment in the three ways to say it.
type ExplainedSlot struct {
	Local string    `json:"local"` // "Mon 09:00" in the zone
	Zone  string    `json:"zone"`
	UTC   time.Time `json:"utc"`
}

// RuleOutcome is one rule's answer.
type RuleOutcome struct {
	Rule    string `json:"rule"`
	Outcome string `json:"outcome"` // passed, the reason of the skip, or what was drawn
}

// Candidate is one allowed local hour.
type Candidate struct {
	Slot   string `json:"slot"`
	Chosen bool   `json:"chosen"`
}

// Explain shows the decision behind a notification.
func (o *Orchestration) Explain(ctx context.Context, id kairos.ID) (Explanation, error) {
	e := Explanation{Notification: id}
	var slot int16
	var zone string
	var eligible []byte
	err := o.pool.QueryRow(ctx, `
		SELECT campaign, contact, state, reason, arm, propensity, model, channel, coalesce(slot, 0), coalesce(zone, 'UTC'), planned_at, eligible
		FROM notifications WHERE id = $1`, id).
		Scan(&e.Campaign, &e.Contact, &e.State, &e.Reason, &e.Arm, &e.Propensity, &e.Model, &e.Channel, &slot, &zone, &e.Slot.UTC, &eligible)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, fmt.Errorf("notification %s: %w", id, kairos.ErrNotFound)
	}
	if err != nil {
		return e, fmt.Errorf("explain notification %s: %w", id, err)
	}
	c, err := o.campaign(ctx, e.Campaign)
	if err != nil {
		return e, err
	}
	loc, _ := o.zones.find(zone)
	e.Slot.Local, e.Slot.Zone = e.Slot.UTC.In(loc).Format("Mon 15:04"), zone
	e.Candidates = candidates(eligible, kairos.Slot(slot))
	e.Rules = outcomes(c, &e)
	e.Events, err = eventlog.Read(ctx, o.pool, kairos.Cursor{}, eventlog.Filter{Notification: id}, 200)
	return e, err
}

func candidates(eligible []byte, chosen kairos.Slot) []Candidate {
	list := []Candidate{}
	if len(eligible) != len(mask{}) {
		return append(list, Candidate{Slot: chosen.String(), Chosen: true})
	}
	m := mask(eligible)
	for s := range kairos.Slot(kairos.SlotsPerWeek) {
		if m.has(s) {
			list = append(list, Candidate{Slot: s.String(), Chosen: s == chosen})
		}
	}
	return list
}

// outcomes lists the rules as they answered: the ones before the reason of a
// skip passed, for the first to fail ends the questions.
func outcomes(c *campaign, e *Explanation) []RuleOutcome {
	reason := kairos.Reason("")
	if e.Reason != nil {
		reason = kairos.Reason(*e.Reason)
	}
	var out []RuleOutcome
	if e.State == kairos.StateSkipped {
		for _, r := range consentRules {
			if r.reason == reason {
				return append(out, RuleOutcome{r.name, string(reason)})
			}
			out = append(out, RuleOutcome{r.name, "passed"})
		}
		return append(out, RuleOutcome{"schedule_" + c.spec.Schedule.Mode, string(reason)})
	}
	for _, r := range consentRules {
		out = append(out, RuleOutcome{r.name, "passed"})
	}
	if reason == kairos.ReasonUnknownZone {
		out = append(out, RuleOutcome{"zone", "unknown, the default " + e.Slot.Zone + " was used"})
	} else {
		out = append(out, RuleOutcome{"zone", e.Slot.Zone})
	}
	out = append(out, RuleOutcome{"schedule_" + c.spec.Schedule.Mode, e.Slot.Local})
	if h := c.spec.Shares().Holdout; h > 0 {
		said := "written to"
		if e.State == kairos.StateHeldOut {
			said = "held out"
		}
		out = append(out, RuleOutcome{"holdout", fmt.Sprintf("%s: drew %.4f of %.4f", said, draw(e.Campaign, e.Contact, "arm"), h)})
	}
	if c.spec.Schedule.Mode == kairos.ModeOptimised && e.State != kairos.StateHeldOut {
		out = append(out, RuleOutcome{"arm", fmt.Sprintf("%s: drew %.4f", e.Arm, draw(e.Campaign, e.Contact, "arm"))})
		if e.Arm == kairos.ArmOptimised && e.Model == nil {
			out = append(out, RuleOutcome{"model", "none is active: the baseline time"})
		}
	}
	return out
}
