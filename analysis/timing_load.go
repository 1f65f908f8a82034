package analysis

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// experiment is one campaign's part in a timing report.
type experiment struct {
	campaign  kairos.ID
	optimised bool                   // its schedule's mode
	shares    map[kairos.Arm]float64 // of all people
	arms      map[kairos.Arm]armCount
	models    []int     // that chose hours of messages which were sent
	began     time.Time // when the first message was sent; zero: none was
}

// armCount is what became of those drawn into an arm.
type armCount struct {
	drawn           int64 // planned, or held out
	sent, responses int64
}

func (n armCount) plus(m armCount) armCount {
	return armCount{n.drawn + m.drawn, n.sent + m.sent, n.responses + m.responses}
}

func (a *Analysis) experimentOf(campaign kairos.ID, spec kairos.CampaignSpec) *experiment {
	return &experiment{campaign: campaign, optimised: spec.Schedule.Mode == kairos.ModeOptimised,
		shares: sharesOf(spec.Schedule.Mode, spec.Shares()), arms: map[kairos.Arm]armCount{}}
}

// loadOptimised returns the campaigns in mode optimised that may have begun to
// send in a period.
func (a *Analysis) loadOptimised(ctx context.Context, q db, from, until time.Time) ([]*experiment, error) {
	rows, err := q.Query(ctx, `
		SELECT id, spec FROM campaigns
		WHERE spec->'schedule'->>'mode' = $1 AND created_at < $3 AND (finished_at IS NULL OR finished_at >= $2) ORDER BY id`,
		kairos.ModeOptimised, from, until)
	if err != nil {
		return nil, fmt.Errorf("load campaigns: %w", err)
	}
	var experiments []*experiment
	var id kairos.ID
	var raw []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &raw}, func() error {
		spec, err := kairos.ParseSpec(raw)
		if err != nil { // the others' report must not suffer
			a.opts.Log.Error("spec not read, campaign left out", "stage", "analysis", "campaign", id, "err", err)
			return nil
		}
		experiments = append(experiments, a.experimentOf(id, spec))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load campaigns: %w", err)
	}
	return experiments, nil
}

// loadArms fills experiments in: shares as they were fixed when the first page
// was planned, sizes from the rollups, what was sent and responded to from the
// arms, since no sum of steps tells how many people did any of them. None of it
// grows with the number of messages.
func loadArms(ctx context.Context, q db, experiments []*experiment) error {
	campaigns := make([]kairos.ID, len(experiments))
	at := make(map[kairos.ID]*experiment, len(experiments))
	for i, e := range experiments {
		campaigns[i], at[e.campaign] = e.campaign, e
	}
	collect := func(dst []any, each func(), sql string, args ...any) error {
		rows, err := q.Query(ctx, sql, args...)
		if err == nil {
			_, err = pgx.ForEachRow(rows, dst, func() error { each(); return nil })
		}
		if err != nil {
			return fmt.Errorf("load arms: %w", err)
		}
		return nil
	}
	var id kairos.ID
	var arm kairos.Arm
	var shares kairos.Experiment
	err := collect([]any{&id, &shares.Holdout, &shares.Control, &shares.Explore}, func() {
		mode := kairos.ModeNow // any without a choice of hours
		if at[id].optimised {
			mode = kairos.ModeOptimised
		}
		at[id].shares = sharesOf(mode, shares)
	}, `SELECT campaign, holdout, control, explore FROM experiments WHERE campaign = ANY ($1)`, campaigns)
	if err != nil {
		return err
	}
	var drawn int64
	err = collect([]any{&id, &arm, &drawn}, func() {
		at[id].arms[arm] = armCount{drawn: drawn}
	}, `SELECT campaign, arm, sum(uniques)::bigint FROM rollups WHERE campaign = ANY ($1) AND step IN ($2, $3) GROUP BY campaign, arm`,
		campaigns, StepPlanned, StepHeldOut)
	if err != nil {
		return err
	}
	return loadArmRows(ctx, q, campaigns, func(r armRow) {
		e := at[r.campaign]
		e.arms[r.arm] = e.arms[r.arm].plus(armCount{sent: r.sent, responses: r.responses})
		if r.model != 0 && (r.arm == kairos.ArmOptimised || r.arm == kairos.ArmPreferred) && !slices.Contains(e.models, r.model) {
			e.models = append(e.models, r.model)
		}
		if e.began.IsZero() || r.began.Before(e.began) {
			e.began = r.began
		}
	})
}
