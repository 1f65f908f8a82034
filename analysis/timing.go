package analysis

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// Timing tells whether the moments chosen for each person brought more
// responses than the baseline time. A response is a human click or anything
// beyond it: a page viewed, a call to action, an offer answered, a payment or
// another event of the campaign's goal that is attributed to the message. An
// open alone is none, and what machines do never is.
type Timing struct {
	Campaign kairos.ID   `json:"campaign"`
	Verdict  string      `json:"verdict"` // of optimised against control
	Needed   *int64      `json:"needed"`  // messages that the smaller of the two arms still lacks; null: enough, or nothing can be said
	Arms     []TimingArm `json:"arms"`
	Lift     *TimingLift `json:"lift"` // null: nothing to compare
	SRM      *TimingSRM  `json:"srm"`  // null: nothing was drawn by lot
}

// TimingArm is what one arm of the experiment brought.
type TimingArm struct {
	Arm       kairos.Arm `json:"arm"`
	N         int64      `json:"n"`         // messages sent: accepted or unknown
	Responses int64      `json:"responses"` // messages responded to, each once
	Rate      *float64   `json:"rate"`      // responses over n; null when nothing was sent
}

// TimingLift compares optimised with control.
type TimingLift struct {
	Estimate *float64    `json:"estimate"` // rate over control's rate - 1; null when control has no response
	Interval *[2]float64 `json:"interval"` // 95 %, of Estimate
	P        float64     `json:"p"`        // two-sided
}

// TimingSRM is the check for a sample ratio mismatch: whether the arms have
// the sizes that the experiment's shares ask for.
type TimingSRM struct {
	P  float64 `json:"p"`
	OK bool    `json:"ok"` // false: something treats the arms differently, and no lift may be believed
}

// Timing reports on one campaign; kairos.ErrNotFound when there is none.
func (a *Analysis) Timing(ctx context.Context, campaign kairos.ID) (Timing, error) {
	t := Timing{Campaign: campaign, Verdict: VerdictNotEnoughData, Arms: []TimingArm{}}
	err := pgx.BeginTxFunc(ctx, a.pool, snapshot(), func(tx pgx.Tx) error {
		spec, err := loadSpec(ctx, tx, campaign)
		if err != nil {
			return err
		}
		arms, err := loadArms(ctx, tx, campaign, a.rulesOf(spec).goal)
		if err != nil {
			return err
		}
		return t.fill(spec, arms, a.opts.MinLift)
	})
	if err != nil {
		return Timing{}, fmt.Errorf("report timing of campaign %s: %w", campaign, err)
	}
	return t, nil
}

// armCount is what became of those drawn into an arm.
type armCount struct {
	drawn           int64 // planned, or held out
	sent, responses int64
}

// loadArms counts a campaign's arms: sizes from the rollups, responses from the
// journeys, since no sum of steps tells how many people did any of them.
func loadArms(ctx context.Context, q db, campaign kairos.ID, goal string) (map[kairos.Arm]armCount, error) {
	rows, err := q.Query(ctx, `
		SELECT r.arm, r.drawn, r.sent, coalesce(j.responses, 0)
		FROM (SELECT arm, coalesce(sum(uniques) FILTER (WHERE step IN ($2, $3)), 0)::bigint AS drawn,
		             coalesce(sum(uniques) FILTER (WHERE step = $4), 0)::bigint AS sent
		      FROM rollups WHERE campaign = $1 GROUP BY arm) r
		LEFT JOIN (SELECT arm, count(*) AS responses FROM journeys j
		           WHERE campaign = $1 AND sent_at IS NOT NULL
		             AND (clicked_at IS NOT NULL
		                  OR state ?| ARRAY['more_clicks', 'viewed', 'cta', 'offer_accepted', 'offer_declined']
		                  OR EXISTS (SELECT FROM conversions c WHERE c.notification = j.notification AND c.attributed_n > 0
		                             AND (c.currency <> '' OR $5)))
		           GROUP BY arm) j USING (arm)`,
		campaign, StepPlanned, StepHeldOut, StepSent, goal != kairos.NotificationOpened)
	if err != nil {
		return nil, fmt.Errorf("load arms: %w", err)
	}
	arms := map[kairos.Arm]armCount{}
	var arm kairos.Arm
	var n armCount
	_, err = pgx.ForEachRow(rows, []any{&arm, &n.drawn, &n.sent, &n.responses}, func() error {
		arms[arm] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load arms: %w", err)
	}
	return arms, nil
}

func (t *Timing) fill(spec kairos.CampaignSpec, arms map[kairos.Arm]armCount, minLift float64) error {
	shares := sharesOf(spec)
	for _, arm := range []kairos.Arm{kairos.ArmControl, kairos.ArmExplore, kairos.ArmOptimised, kairos.ArmPreferred, kairos.ArmAll} {
		n := arms[arm]
		if _, meant := shares[arm]; !meant && n.drawn == 0 && n.sent == 0 {
			continue
		}
		t.Arms = append(t.Arms, TimingArm{Arm: arm, N: n.sent, Responses: n.responses, Rate: rate(n.responses, n.sent)})
	}
	var err error
	if t.SRM, err = sampleRatio(shares, arms); err != nil || spec.Schedule.Mode != kairos.ModeOptimised {
		return err
	}
	optimised, control := arms[kairos.ArmOptimised], arms[kairos.ArmControl]
	c, err := compareRates(optimised, control, minLift)
	if err != nil {
		return err
	}
	t.Verdict, t.Lift = c.verdict, c.lift
	if c.needed > 0 {
		t.Needed = &c.needed
	}
	return nil
}
