package main

import (
	"context"
	"fmt"
	"math"
	"time"
)

type planResult struct {
	Rows              int64   `json:"rows"`
	ByModel           int64   `json:"by_model"` // whose hour the model chose
	Batches           int64   `json:"batches"`
	InBatches         int64   `json:"in_batches"`
	LaunchAnswer      float64 `json:"launch_answer_seconds"` // until POST launch was answered
	Seconds           float64 `json:"seconds"`               // launch to the last notification planned
	FoldedSeconds     float64 `json:"folded_seconds"`        // launch to the last event folded
	RowsPerSecond     float64 `json:"rows_per_second"`
	CopySeconds       float64 `json:"copy_seconds"`        // of the notifications
	CopyEventsSeconds float64 `json:"copy_events_seconds"` // of their events
	Ratio             float64 `json:"ratio"`
	RatioBoth         float64 `json:"ratio_with_events"`
	DatabaseBefore    int64   `json:"database_before_bytes"`
	DatabaseAfter     int64   `json:"database_after_bytes"`
	WAL               int64   `json:"wal_bytes"`
	metered
}

func (p *planResult) tell(t *told) {
	t.row(fmt.Sprintf("plan of %s, optimised with a model, holdout, control and explore", thousands(p.Rows)),
		fmt.Sprintf("%s/s (%.1f s)", round(p.RowsPerSecond), p.Seconds),
		fmt.Sprintf("bare COPY of the notifications %.1f s, and of their events %.1f s", p.CopySeconds, p.CopyEventsSeconds),
		fmt.Sprintf("%s, %s", percent(p.Ratio), percent(p.RatioBoth)))
	t.note("plan: launch answered after %.2f s, all events folded after %.1f s; %s batches; Redis used_memory %s before, %s at its peak; database %s to %s, WAL %s.",
		p.LaunchAnswer, p.FoldedSeconds, thousands(p.Batches), size(p.RedisBefore), size(p.RedisPeak), size(p.DatabaseBefore), size(p.DatabaseAfter), size(p.WAL))
	t.use("plan with fold", p.Rows, &p.metered, false)
}

// measurePlan launches a campaign whose moments lie ahead for all contacts:
// its audience is cut and planned at once, nothing is sent.
func (b *bench) measurePlan(ctx context.Context, w *world) error {
	if err := w.front(ctx); err != nil {
		return err
	}
	if err := w.folded(ctx); err != nil {
		return err
	}
	if err := w.model(ctx); err != nil {
		return err
	}
	r := &planResult{}
	size := func(into *int64) (err error) {
		*into, err = w.count(ctx, `SELECT pg_database_size(current_database())`)
		return err
	}
	var wal int64
	if err := size(&r.DatabaseBefore); err != nil {
		return err
	}
	wal, err := w.count(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint`)
	if err != nil {
		return err
	}
	profile := w.profile(ctx, "plan")
	m, used, err := w.watch(ctx)
	if err != nil {
		return err
	}
	b.say("planning %d notifications", b.Contacts)
	id, answer, took, launched, err := w.planAhead(ctx)
	if err != nil {
		return err
	}
	r.LaunchAnswer = answer.Seconds()
	b.say("  planned in %s; waiting for the fold", took.Round(time.Millisecond))
	if err := w.folded(ctx); err != nil {
		return err
	}
	r.FoldedSeconds = time.Since(launched).Seconds()
	m.end(used)
	if err := profile.end(ctx); err != nil {
		return err
	}
	var after int64
	if after, err = w.count(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint`); err != nil {
		return err
	}
	if err := size(&r.DatabaseAfter); err != nil {
		return err
	}
	r.WAL, r.metered = after-wal, *used
	if err := b.verifyPlan(ctx, w, id, r); err != nil {
		return err
	}
	b.say("copying the same rows")
	where := fmt.Sprintf("WHERE campaign = '%s'", id)
	rows, err := w.bareCopy(ctx, "notifications", where, r.Rows)
	if err != nil {
		return err
	}
	events, err := w.bareCopy(ctx, "events", where+" AND kind LIKE 'notification.%'", r.Rows)
	if err != nil {
		return err
	}
	r.Seconds, r.RowsPerSecond = took.Seconds(), float64(r.Rows)/took.Seconds()
	r.CopySeconds, r.CopyEventsSeconds = rows.Seconds(), events.Seconds()
	r.Ratio, r.RatioBoth = rows.Seconds()/took.Seconds(), (rows+events).Seconds()/took.Seconds()
	b.report.add("plan", r)
	return nil
}

// planAhead launches a campaign whose moments lie ahead to everybody and waits
// until all are planned. answer is when the launch was answered, took when the
// last one was planned.
func (w *world) planAhead(ctx context.Context) (id string, answer, took time.Duration, launched time.Time, err error) {
	// A quarter of an hour ahead is when a campaign's audience is cut.
	id, launched, err = w.campaign(ctx, map[string]any{
		"schedule":   map[string]any{"mode": "optimised", "at": time.Now().Add(14*time.Minute + 30*time.Second), "window": "24h"},
		"experiment": map[string]any{"holdout": 0.05, "control": 0.2, "explore": 0.1},
	})
	if err != nil {
		return id, 0, 0, launched, err
	}
	answer = time.Since(launched)
	err = w.until(ctx, time.Hour, 100*time.Millisecond, "planning", func() (bool, string, error) {
		n, err := w.count(ctx, `SELECT count(*) FROM batches WHERE campaign = $1 AND kind = 'orchestration.plan' AND state = 'done'`, id)
		if err != nil {
			return false, "", err
		}
		open, err := w.count(ctx, `
			SELECT (SELECT count(*) FROM batches WHERE campaign = $1 AND kind IN ('orchestration.plan', 'creation.expand') AND state IN ('planned', 'queued', 'running'))
			     + (SELECT count(*) FROM campaigns WHERE id = $1 AND expanded_at IS NULL)`, id)
		return open == 0, fmt.Sprintf("%d pages", n), err
	})
	return id, answer, time.Since(launched), launched, err
}

// verifyPlan: everybody has one row and one event, the arms have their shares,
// everything lies ahead, and a batch holds each planned one.
func (b *bench) verifyPlan(ctx context.Context, w *world, id string, r *planResult) error {
	var distinct, early, events, held, explore, control, planned int64
	err := w.pool.QueryRow(ctx, `
		SELECT count(*), count(DISTINCT contact), count(*) FILTER (WHERE planned_at < now()), count(*) FILTER (WHERE state = 'held_out'),
		       count(*) FILTER (WHERE model IS NOT NULL), count(*) FILTER (WHERE arm = 'explore'), count(*) FILTER (WHERE arm = 'control'), count(*) FILTER (WHERE state = 'planned'),
		       (SELECT count(*) FROM events WHERE campaign = $1 AND kind IN ('notification.planned', 'notification.held_out', 'notification.skipped')),
		       (SELECT coalesce(sum(size), 0) FROM batches WHERE campaign = $1 AND kind = 'delivery.send'),
		       (SELECT count(*) FROM batches WHERE campaign = $1 AND kind = 'delivery.send')
		FROM notifications WHERE campaign = $1`, id).
		Scan(&r.Rows, &distinct, &early, &held, &r.ByModel, &explore, &control, &planned, &events, &r.InBatches, &r.Batches)
	if err != nil {
		return fmt.Errorf("verify plan: %w", err)
	}
	n := float64(b.Contacts)
	near := func(got int64, share float64) bool { // a lot has drawn them
		return abs(float64(got)/n-share) < 0.001+5*math.Sqrt(share*(1-share)/n)
	}
	if r.Rows != int64(b.Contacts) || distinct != r.Rows || early != 0 || events != r.Rows || r.InBatches != planned ||
		!near(r.ByModel, .65) || !near(held, .05) || !near(explore, .1) || !near(control, .2) {
		return fmt.Errorf("verify plan: %d rows for %d people, %d early, %d events, %d planned and %d in batches, held out %d, explore %d, control %d, by the model %d",
			r.Rows, distinct, early, events, planned, r.InBatches, held, explore, control, r.ByModel)
	}
	return nil
}

func abs(v float64) float64 { return max(v, -v) }
