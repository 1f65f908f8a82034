package timing

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/dto"
	"kairos/internal/batch"
	"kairos/internal/pg"
)

// Bounds of a trial.
const (
	leastLift   = 0.05 // smaller ones are not worth the messages it takes to see them
	mostLift    = 0.5  // more is never expected
	leastPerArm = 1000 // what the log promised may be its luck
)

// queueForTrial makes a candidate the one that goes on trial next: people are
// scored first, then it takes the place if that is free. Other candidates are
// older and give way. The caller holds the registry's lock.
func (r *Registry) queueForTrial(ctx context.Context, tx pgx.Tx, version int) error {
	now := r.clock.Now()
	others, err := records(ctx, tx, `WHERE state = 'candidate' AND version <> $1 ORDER BY version FOR UPDATE`, version)
	if err != nil {
		return err
	}
	for _, m := range others {
		d := Decision{now, "rejected", kairosItself, fmt.Sprintf("Model %d was trained on more recent data.", version)}
		if err := r.end(ctx, tx, m.Version, Rejected, d, kairos.ModelRejected); err != nil {
			return err
		}
	}
	onTrial, err := holding(ctx, tx, OnTrial, "")
	if err != nil || onTrial != nil {
		return err
	}
	return plan(ctx, tx, kairos.KindScore, version, now)
}

// startTrial puts a scored candidate on trial when the place is free.
func (r *Registry) startTrial(ctx context.Context, tx pgx.Tx, m *record) error {
	now := r.clock.Now()
	onTrial, err := holding(ctx, tx, OnTrial, "")
	if err != nil || onTrial != nil {
		return err
	}
	rate, err := r.currentRate(ctx, tx, m)
	if err != nil {
		return err
	}
	// What the log promises, less a standard error: also where the figure is too
	// uncertain to be shown, for then it takes off the more.
	lift := leastLift
	if o := m.OffPolicy; o != nil && o.Model.Effective > 0 && rate > 0 {
		lift = (o.Model.DR.Value-o.Model.DR.SE)/rate - 1
	}
	lift = math.Min(math.Max(lift, leastLift), mostLift)
	c := &Canary{
		Share: r.opts.CanaryShare, Since: now, ExpectedLift: lift, NeededPerArm: max(leastPerArm, dto.ArmSize(math.Max(rate, 1e-6), lift)),
		Candidate: Arm{Arm: "candidate"}, Current: Arm{Arm: "current"}, Control: Arm{Arm: string(kairos.ArmControl)},
	}
	reason := fmt.Sprintf("On trial with %.0f %% of the optimised messages, against %s; %s on each side show a lift of %.0f %%.",
		100*c.Share, opponent(m), plural(c.NeededPerArm, "message", "messages"), 100*lift)
	_, err = tx.Exec(ctx, `UPDATE timing_models SET state = 'canary', canary = $2, canary_at = $3, reason = $4 WHERE version = $1`,
		m.Version, c, now, reason)
	if err != nil {
		return fmt.Errorf("start trial: %w", err)
	}
	return decide(ctx, tx, m.Version, Decision{now, "canary", kairosItself, reason}, kairos.ModelOnTrial, map[string]any{"share": c.Share})
}

// currentRate is what messages bring without the candidate: the active model's
// value, or what control brought, or where there is too little of it what a
// random hour brings.
func (r *Registry) currentRate(ctx context.Context, tx pgx.Tx, m *record) (float64, error) {
	o := m.OffPolicy
	if o != nil && o.Current != nil && !o.Current.DR.Refused {
		return o.Current.DR.Value, nil
	}
	now := r.clock.Now()
	var control dto.Arm
	err := tx.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE `+respondedSQL+`)
		FROM experiments e JOIN journeys j ON j.campaign = e.campaign AND j.arm = 'control'
		WHERE e.decided_at >= $2 AND j.sent_at < $3`,
		r.opts.ResponseWindow, now.Add(-r.opts.History), now.Add(-r.opts.ResponseWindow)).Scan(&control.N, &control.Responses)
	switch {
	case err != nil:
		return 0, fmt.Errorf("count control: %w", err)
	case control.N >= 500 && control.Responses > 0:
		return control.Rate(), nil
	case o != nil && o.Baseline.SNIPS.Value > 0:
		return o.Baseline.SNIPS.Value, nil
	}
	return 1e-6, nil
}

// followTrial counts the trial's arms and judges it once, when both have what
// they need.
func (r *Registry) followTrial(ctx context.Context) error {
	err := pg.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		m, err := holding(ctx, tx, OnTrial, "FOR UPDATE")
		if err != nil || m == nil || m.Canary == nil || m.Canary.Done {
			return err
		}
		now := r.clock.Now()
		arms, err := r.countTrial(ctx, tx, m.Version, now)
		if err != nil {
			return err
		}
		c := m.Canary
		c.Candidate, c.Current, c.Control = armOf("candidate", arms.Candidate), armOf("current", arms.Current), armOf(string(kairos.ArmControl), arms.control)
		c.Progress = math.Min(1, float64(min(c.Candidate.N, c.Current.N))/float64(c.NeededPerArm))
		if c.Lift, _, err = compare(arms.Candidate, arms.Current); err != nil {
			return err
		}
		if c.Progress < 1 {
			_, err = tx.Exec(ctx, `UPDATE timing_models SET canary = $2 WHERE version = $1`, m.Version, c)
			return err
		}
		gate, err := arms.Check(c.Share)
		if err != nil {
			return err
		}
		c.Done, c.Pass, c.JudgedAt, c.Reason = true, gate.Pass, &now, judgement(m, gate)
		_, err = tx.Exec(ctx, `UPDATE timing_models SET canary = $2, reason = $3 WHERE version = $1`, m.Version, c, c.Reason)
		if err != nil {
			return err
		}
		err = decide(ctx, tx, m.Version, Decision{now, "judged", kairosItself, c.Reason}, kairos.ModelJudged, map[string]any{"pass": c.Pass})
		if err != nil || c.Pass {
			return err
		}
		return r.end(ctx, tx, m.Version, Rejected, Decision{now, "rejected", kairosItself, c.Reason}, kairos.ModelRejected)
	})
	if err != nil {
		return fmt.Errorf("follow trial: %w", err)
	}
	return nil
}

// trialArms is what a trial's arms brought.
type trialArms struct {
	dto.Canary
	control dto.Arm
}

// countTrial counts the messages of the trial's campaigns that have matured as
// a whole: the arms of a campaign go out at different hours, so while it runs
// the sizes of what has matured say nothing about how people were divided.
func (r *Registry) countTrial(ctx context.Context, db batch.DB, version int, now time.Time) (a trialArms, err error) {
	rows, err := db.Query(ctx, `
		SELECT CASE WHEN j.arm = 'control' THEN 'control' WHEN j.model = $2 THEN 'candidate' ELSE 'current' END,
		       count(*), count(*) FILTER (WHERE `+respondedSQL+`),
		       count(*) FILTER (WHERE j.state ? 'unsubscribed'), count(*) FILTER (WHERE j.state ? 'complained')
		FROM experiments e JOIN journeys j ON j.campaign = e.campaign AND j.arm IN ('optimised', 'control')
		WHERE e.canary = $2 AND j.sent_at < $3
		  AND NOT EXISTS (SELECT FROM journeys w WHERE w.campaign = e.campaign AND w.starts_at >= $3) GROUP BY 1`, r.opts.ResponseWindow, version, now.Add(-r.opts.ResponseWindow))
	if err != nil {
		return a, fmt.Errorf("count trial: %w", err)
	}
	var name string
	var n, responses, left, angry int64
	_, err = pgx.ForEachRow(rows, []any{&name, &n, &responses, &left, &angry}, func() error {
		switch name {
		case "control":
			a.control = dto.Arm{N: n, Responses: responses}
		case "candidate":
			a.Candidate, a.CandidateLeavers, a.CandidateAngry = dto.Arm{N: n, Responses: responses}, dto.Arm{N: n, Responses: left}, dto.Arm{N: n, Responses: angry}
		default:
			a.Current, a.CurrentLeavers, a.CurrentAngry = dto.Arm{N: n, Responses: responses}, dto.Arm{N: n, Responses: left}, dto.Arm{N: n, Responses: angry}
		}
		return nil
	})
	if err != nil {
		return a, fmt.Errorf("count trial: %w", err)
	}
	return a, nil
}

func armOf(name string, a dto.Arm) Arm {
	arm := Arm{Arm: name, N: a.N, Responses: a.Responses}
	if a.N > 0 {
		rate := a.Rate()
		arm.Rate = &rate
	}
	return arm
}

// fewest is the size of an arm below which nothing is said about it.
const fewest = 30

// compare returns the lift of treated over control, nil when one of them is
// empty, and how many messages the smaller of the two lacks, nil: none.
func compare(treated, control dto.Arm) (*Lift, *int64, error) {
	if treated.N == 0 || control.N == 0 {
		return nil, nil, nil
	}
	l, err := dto.Compare(treated, control, dto.LiftOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("compare arms: %w", err)
	}
	lift := &Lift{P: l.P, Verdict: string(l.Verdict)}
	if control.Responses > 0 {
		lift.Estimate, lift.Interval = &l.Relative, &[2]float64{l.RelativeLow, l.RelativeHigh}
	}
	if min(treated.N, control.N) < fewest {
		lift.Verdict = string(dto.TooFew)
	}
	if lift.Verdict != string(dto.TooFew) || l.Needed == 0 {
		return lift, nil, nil
	}
	return lift, &l.Needed, nil
}
