package orchestration

import (
	"context"
	"encoding/json"
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
	Model        *int           `json:"model"`      // version that chose the slot; null: none did
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
	d := stored{e: &e}
	var slot int16
	var eligible, said []byte
	err := o.pool.QueryRow(ctx, `
		SELECT n.campaign, n.contact, n.state, n.reason, n.arm, n.propensity, n.model, n.channel, coalesce(n.slot, 0),
		       coalesce(n.zone, 'UTC'), n.planned_at, n.decided_at, n.eligible, coalesce(c.timezone, ''),
		       (SELECT data FROM events WHERE subject = n.id AND kind = 'notification.planned' AND key = '' AND day = (n.decided_at AT TIME ZONE 'UTC')::date)
		FROM notifications n LEFT JOIN contacts c ON c.id = n.contact WHERE n.id = $1`, id).
		Scan(&e.Campaign, &e.Contact, &e.State, &e.Reason, &e.Arm, &e.Propensity, &e.Model, &e.Channel, &slot,
			&e.Slot.Zone, &e.Slot.UTC, &d.decided, &eligible, &d.zoneNow, &said)
	if errors.Is(err, pgx.ErrNoRows) {
		return e, fmt.Errorf("notification %s: %w", id, kairos.ErrNotFound)
	}
	if err != nil {
		return e, fmt.Errorf("explain notification %s: %w", id, err)
	}
	if d.c, err = o.campaign(ctx, e.Campaign); err != nil {
		return e, err
	}
	if _, err = o.fixed(ctx, d.c); err != nil { // without one: what the campaign asked for
		return e, err
	}
	if said != nil && json.Unmarshal(said, &d.told) != nil {
		d.told = told{} // explained as far as the columns go
	}
	d.loc, _ = o.zones.find(e.Slot.Zone)
	if len(eligible) == len(mask{}) {
		m := mask(eligible)
		d.eligible = &m
	}
	e.Slot.Local = e.Slot.UTC.In(d.loc).Format("Mon 15:04")
	e.Candidates = candidates(e.State, d.eligible, kairos.Slot(slot))
	e.Rules = d.rules()
	e.Events, err = eventlog.Read(ctx, o.pool, kairos.Cursor{}, eventlog.Filter{Notification: id}, 200)
	return e, err
}

func candidates(state string, eligible *mask, chosen kairos.Slot) []Candidate {
	list := []Candidate{}
	if eligible == nil {
		if state == kairos.StateSkipped {
			return list // the decision ended before any hour was looked at
		}
		return append(list, Candidate{Slot: chosen.String(), Chosen: true})
	}
	for s := range kairos.Slot(kairos.SlotsPerWeek) {
		if eligible.has(s) {
			list = append(list, Candidate{Slot: s.String(), Chosen: s == chosen && state != kairos.StateSkipped})
		}
	}
	return list
}
