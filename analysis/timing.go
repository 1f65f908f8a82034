package analysis

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// Timing tells whether the moments chosen for each person brought more
// responses than the baseline time, in one campaign or over a period. A
// response is a human click or anything beyond it: a page viewed, a call to
// action, an offer answered, a payment or another event of the campaign's goal
// that is attributed to the message. An open alone is none, and what machines
// do never is.
//
// Compared are optimised and preferred, taken together, with control: the lot
// that draws control does not ask who stated preferred hours, so only the two
// together are people of the same kind as control's. Over a period each
// campaign is compared within itself.
type Timing struct {
	Campaign  kairos.ID   `json:"campaign,omitzero"`   // zero in the report over a period
	From      time.Time   `json:"from,omitzero"`       // of a period: campaigns whose first message was sent at or after From; zero: since ever
	Until     time.Time   `json:"until,omitzero"`      // and before Until; zero in the report on a campaign
	Campaigns int         `json:"campaigns,omitempty"` // of a period: how many are summed
	Verdict   string      `json:"verdict"`             // of optimised and preferred together against control
	Needed    *int64      `json:"needed"`              // messages that the smaller of the two sides still lacks; null: enough, or nothing can be said
	Arms      []TimingArm `json:"arms"`                // one by one, over all campaigns
	Lift      *TimingLift `json:"lift"`                // null: nothing to compare
	SRM       *TimingSRM  `json:"srm"`                 // null: nothing was drawn by lot
	Models    []int       `json:"models"`              // versions that chose hours of optimised or preferred messages which were sent, ascending; empty: none did
	Note      string      `json:"note,omitempty"`      // what to know before reading the verdict
}

// NoModel is the note of a report on messages that no model planned.
const NoModel = "no model was active: optimised went out at the baseline time"

// TimingArm is what one arm of the experiment brought.
type TimingArm struct {
	Arm       kairos.Arm `json:"arm"`
	N         int64      `json:"n"`         // messages sent: accepted or unknown
	Responses int64      `json:"responses"` // messages responded to, each once
	Rate      *float64   `json:"rate"`      // responses over n; null when nothing was sent
}

// TimingLift compares optimised and preferred together with control; over a
// period it is the mean of the campaigns' lifts in the sense of Mantel and
// Haenszel.
type TimingLift struct {
	Estimate *float64    `json:"estimate"` // rate over control's rate - 1; null when control has no response
	Interval *[2]float64 `json:"interval"` // 95 %, of Estimate
	P        float64     `json:"p"`        // two-sided
}

// TimingSRM is the check for a sample ratio mismatch: whether the arms, as
// drawn, have the sizes that the experiment's shares ask for.
type TimingSRM struct {
	P  float64 `json:"p"`
	OK bool    `json:"ok"` // false: something treats the arms differently, and no lift may be believed
}

// Timing reports on one campaign; kairos.ErrNotFound when there is none.
func (a *Analysis) Timing(ctx context.Context, campaign kairos.ID) (Timing, error) {
	t := Timing{Campaign: campaign}
	err := pgx.BeginTxFunc(ctx, a.pool, snapshot(), func(tx pgx.Tx) error {
		spec, err := loadSpec(ctx, tx, campaign)
		if err != nil {
			return err
		}
		e := a.experimentOf(campaign, spec)
		if err := loadArms(ctx, tx, []*experiment{e}); err != nil {
			return err
		}
		return t.fill([]*experiment{e}, a.opts.MinLift)
	})
	if err != nil {
		return Timing{}, fmt.Errorf("report timing of campaign %s: %w", campaign, err)
	}
	return t, nil
}

// TimingOf reports on a period: all campaigns in mode optimised whose first
// message was sent at from or later and before until, each counted whole. To
// count messages by their own moment would break the comparison at the edges,
// where control's are in and later ones of the same draw are not. A zero from
// is since ever, a zero until is now. Errors: kairos.ErrInvalid (the period is
// empty).
func (a *Analysis) TimingOf(ctx context.Context, from, until time.Time) (Timing, error) {
	if until.IsZero() {
		until = a.clock.Now()
	}
	if !from.Before(until) {
		return Timing{}, kairos.Invalid("until", "must lie after from")
	}
	t := Timing{Until: until.UTC()}
	if !from.IsZero() {
		t.From = from.UTC()
	}
	err := pgx.BeginTxFunc(ctx, a.pool, snapshot(), func(tx pgx.Tx) error {
		experiments, err := a.loadOptimised(ctx, tx, from, until)
		if err != nil {
			return err
		}
		if err := loadArms(ctx, tx, experiments); err != nil {
			return err
		}
		began := experiments[:0]
		for _, e := range experiments {
			if !e.began.IsZero() && !e.began.Before(from) && e.began.Before(until) {
				began = append(began, e)
			}
		}
		t.Campaigns = len(began)
		return t.fill(began, a.opts.MinLift)
	})
	if err != nil {
		return Timing{}, fmt.Errorf("report timing from %s until %s: %w", from.Format(time.RFC3339), until.Format(time.RFC3339), err)
	}
	return t, nil
}

// fill computes the report on experiments whose arms are loaded.
func (t *Timing) fill(experiments []*experiment, minLift float64) error {
	t.Verdict, t.Arms, t.Models = VerdictNotEnoughData, []TimingArm{}, []int{}
	for _, arm := range []kairos.Arm{kairos.ArmControl, kairos.ArmExplore, kairos.ArmOptimised, kairos.ArmPreferred, kairos.ArmAll} {
		var n armCount
		meant := false
		for _, e := range experiments {
			n = n.plus(e.arms[arm])
			meant = meant || e.shares[arm] > 0
		}
		if meant || n.drawn > 0 || n.sent > 0 {
			t.Arms = append(t.Arms, TimingArm{Arm: arm, N: n.sent, Responses: n.responses, Rate: rate(n.responses, n.sent)})
		}
	}
	var err error
	if t.SRM, err = sampleRatio(experiments); err != nil {
		return err
	}
	var strata []stratum
	var chosen int64
	for _, e := range experiments {
		if !e.optimised {
			continue
		}
		s := stratum{e.arms[kairos.ArmOptimised].plus(e.arms[kairos.ArmPreferred]), e.arms[kairos.ArmControl]}
		strata, chosen = append(strata, s), chosen+s.treated.sent
		t.Models = append(t.Models, e.models...)
	}
	slices.Sort(t.Models)
	if t.Models = slices.Compact(t.Models); chosen > 0 && len(t.Models) == 0 {
		t.Note = NoModel
	}
	c, err := compareStrata(strata, minLift)
	if err != nil {
		return err
	}
	t.Verdict, t.Lift = c.verdict, c.lift
	if c.needed > 0 {
		t.Needed = &c.needed
	}
	return nil
}
