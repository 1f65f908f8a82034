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

const (
	day       = 24 * time.Hour
	foldLag   = time.Hour     // for the log to be folded
	quiet     = 30 * day      // between two alarms about people's hours
	diaryDays = 90            // shown
	minPerDay = int64(fewest) // in either arm; thinner days are merged into the next
)

// watch is what drift is measured against, and how far it has come.
type watch struct {
	Drift
	Lift  float64   `json:"lift"`       // over control, in the trial
	Error float64   `json:"lift_error"` // standard error of 1 + Lift
	Known bool      `json:"lift_known"`
	Then  []float64 `json:"best_hours"` // people by best hour when it was promoted
}

// newWatch begins the watch over a model as it is promoted. What it is expected
// to add is what its trial showed over control; where it was tried against the
// baseline, that is control too.
func newWatch(m *record, then []float64) *watch {
	w := &watch{Drift: Drift{Threshold: dto.DriftThreshold}, Then: then}
	if m.Canary == nil {
		return w
	}
	treated, control := m.Canary.Candidate, m.Canary.Control
	if m.Parent == nil {
		control.N, control.Responses = control.N+m.Canary.Current.N, control.Responses+m.Canary.Current.Responses
	}
	if treated.Responses == 0 || control.Responses == 0 {
		return w
	}
	x1, n1, x0, n0 := float64(treated.Responses), float64(treated.N), float64(control.Responses), float64(control.N)
	ratio := x1 / n1 / (x0 / n0)
	w.Lift, w.Known = ratio-1, true
	w.Error = ratio * math.Sqrt(math.Max(0, 1/x1-1/n1+1/x0-1/n0))
	return w
}

// residual is how far a day's model arm lies from control's with the expected
// lift, in standard errors; the lift's own is among them, so that a day is
// never surer than the trial was. NaN: nothing can be said.
func (w *watch) residual(model, control dto.Arm) float64 {
	if !w.Known || model.N == 0 || control.N == 0 {
		return math.NaN()
	}
	p1, p0, ratio := model.Rate(), control.Rate(), 1+w.Lift
	v := p1*(1-p1)/float64(model.N) + ratio*ratio*p0*(1-p0)/float64(control.N) + p0*p0*w.Error*w.Error
	if !(v > 0) {
		return math.NaN()
	}
	return (p1 - ratio*p0) / math.Sqrt(v)
}

// diary is one day of the active model, in numbers.
type diary struct {
	day            time.Time
	model, control dto.Arm
}

// watchDrift writes the days that have matured since the last one into the
// active model's diary and rings when the lift has fallen.
func (r *Registry) watchDrift(ctx context.Context) error {
	err := pg.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		if err := lockRegistry(ctx, tx); err != nil {
			return err
		}
		m, err := holding(ctx, tx, Active, "FOR UPDATE")
		if err != nil || m == nil || m.ActiveAt == nil {
			return err
		}
		if m.watch == nil {
			m.watch = newWatch(m, nil)
		}
		from, to, carried, err := r.dueDays(ctx, tx, m)
		if err != nil || !from.Before(to) {
			return err
		}
		days, err := r.countDays(ctx, tx, m.Version, from, to)
		if err != nil {
			return err
		}
		return r.writeDiary(ctx, tx, m, days, carried)
	})
	if err != nil {
		return fmt.Errorf("watch drift: %w", err)
	}
	return nil
}

// dueDays returns the days [from, to) to be written and what days too thin to
// be judged left over.
func (r *Registry) dueDays(ctx context.Context, tx pgx.Tx, m *record) (from, to time.Time, carried diary, err error) {
	var last *time.Time
	err = tx.QueryRow(ctx, `
		SELECT max(day), coalesce(sum(n) FILTER (WHERE open), 0)::bigint, coalesce(sum(responses) FILTER (WHERE open), 0)::bigint,
		       coalesce(sum(control_n) FILTER (WHERE open), 0)::bigint, coalesce(sum(control_responses) FILTER (WHERE open), 0)::bigint
		FROM (SELECT *, day > coalesce((SELECT max(day) FROM timing_days WHERE model = $1 AND residual IS NOT NULL), '-infinity') AS open
		      FROM timing_days WHERE model = $1) d`, m.Version).
		Scan(&last, &carried.model.N, &carried.model.Responses, &carried.control.N, &carried.control.Responses)
	if err != nil {
		return from, to, carried, fmt.Errorf("load diary: %w", err)
	}
	from = m.ActiveAt.UTC().Truncate(day)
	if last != nil && !last.Before(from) {
		from = last.Add(day)
	}
	return from, r.clock.Now().Add(-r.opts.ResponseWindow - foldLag).UTC().Truncate(day), carried, nil
}

// countDays counts what was sent on each day of [from, to): the model's
// messages and control's of the same campaigns.
func (r *Registry) countDays(ctx context.Context, db batch.DB, version int, from, to time.Time) ([]diary, error) {
	days := make([]diary, int(to.Sub(from)/day))
	for i := range days {
		days[i].day = from.Add(time.Duration(i) * day)
	}
	rows, err := db.Query(ctx, `
		SELECT floor(extract(epoch FROM j.sent_at - $3::timestamptz) / 86400)::int, j.arm = 'control',
		       count(*), count(*) FILTER (WHERE `+respondedSQL+`)
		FROM experiments e JOIN journeys j ON j.campaign = e.campaign
		WHERE e.model = $2 AND j.sent_at >= $3 AND j.sent_at < $4
		  AND (j.arm = 'control' OR j.arm IN ('optimised', 'preferred') AND j.model = $2)
		GROUP BY 1, 2`, r.opts.ResponseWindow, version, from, to)
	if err != nil {
		return nil, fmt.Errorf("count days: %w", err)
	}
	var i int
	var control bool
	var a dto.Arm
	_, err = pgx.ForEachRow(rows, []any{&i, &control, &a.N, &a.Responses}, func() error {
		if control {
			days[i].control = a
		} else {
			days[i].model = a
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count days: %w", err)
	}
	return days, nil
}

func (r *Registry) writeDiary(ctx context.Context, tx pgx.Tx, m *record, days []diary, sum diary) error {
	ph := dto.PageHinkley{Level: m.watch.Level, Days: m.watch.Days}
	rang := false
	for _, d := range days {
		sum.model.N, sum.model.Responses = sum.model.N+d.model.N, sum.model.Responses+d.model.Responses
		sum.control.N, sum.control.Responses = sum.control.N+d.control.N, sum.control.Responses+d.control.Responses
		var residual *float64
		level := ph.Level
		if z := m.watch.residual(sum.model, sum.control); min(sum.model.N, sum.control.N) >= minPerDay && !math.IsNaN(z) {
			residual, sum = &z, diary{}
			level = ph.After(z) // what the watch sees, also on the day it rings and starts anew
			rang = ph.Add(z) || rang
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO timing_days (model, day, n, responses, control_n, control_responses, residual, level)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			m.Version, d.day, d.model.N, d.model.Responses, d.control.N, d.control.Responses, residual, level)
		if err != nil {
			return fmt.Errorf("write diary: %w", err)
		}
	}
	m.watch.Level, m.watch.Days = ph.Level, ph.Days
	if rang {
		return r.ring(ctx, tx, m, fmt.Sprintf("The lift over the usual time has fallen below the %.0f %% that its trial showed, and stays there.", 100*m.watch.Lift))
	}
	return saveWatch(ctx, tx, m)
}

func saveWatch(ctx context.Context, tx pgx.Tx, m *record) error {
	if _, err := tx.Exec(ctx, `UPDATE timing_models SET drift = $2 WHERE version = $1`, m.Version, m.watch); err != nil {
		return fmt.Errorf("store drift: %w", err)
	}
	return nil
}

// ring raises the alarm and asks for a training, unless one is under way or a
// trial is. The caller holds the registry's lock.
func (r *Registry) ring(ctx context.Context, tx pgx.Tx, m *record, reason string) error {
	now := r.clock.Now()
	m.watch.AlarmAt, m.watch.Reason = &now, reason
	if err := saveWatch(ctx, tx, m); err != nil {
		return err
	}
	if err := decide(ctx, tx, m.Version, Decision{now, "drifted", kairosItself, reason}, kairos.ModelDrifted, nil); err != nil {
		return err
	}
	busy, err := records(ctx, tx, `WHERE state IN ('training', 'canary', 'candidate') LIMIT 1`)
	if err != nil || len(busy) > 0 {
		return err
	}
	_, err = r.request(ctx, tx, By{kairosItself, fmt.Sprintf("Model %d drifted. %s", m.Version, reason)})
	return err
}

// compareHours compares the active model's best hours with those at its
// promotion, after a scoring.
func (r *Registry) compareHours(ctx context.Context, tx pgx.Tx, m *record) error {
	now, err := bestHours(ctx, tx, m.Version)
	if err != nil || now == nil {
		return err
	}
	if m.watch == nil {
		m.watch = newWatch(m, nil)
	}
	if m.watch.Then == nil { // never scored before
		m.watch.Then = now
		return saveWatch(ctx, tx, m)
	}
	s, err := dto.PSI(m.watch.Then, now)
	if err != nil {
		return fmt.Errorf("compare best hours: %w", err)
	}
	m.watch.Stability = &s
	if s.Alarm && (m.watch.AlarmAt == nil || r.clock.Now().Sub(*m.watch.AlarmAt) > quiet) {
		return r.ring(ctx, tx, m, fmt.Sprintf("People's best hours have moved since it was promoted (stability index %.2f, alarm above %.2f).", s.Index, s.Threshold))
	}
	return saveWatch(ctx, tx, m)
}

// loadDiary reads the newest days, oldest first.
func loadDiary(ctx context.Context, db batch.DB, version int) ([]Day, error) {
	rows, err := db.Query(ctx, `
		SELECT to_char(day, 'YYYY-MM-DD'), n, responses, control_n, control_responses, residual, level
		FROM (SELECT * FROM timing_days WHERE model = $1 ORDER BY day DESC LIMIT $2) d ORDER BY day`, version, diaryDays)
	if err != nil {
		return nil, fmt.Errorf("load diary: %w", err)
	}
	days, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Day])
	if err != nil {
		return nil, fmt.Errorf("load diary: %w", err)
	}
	return days, nil
}
