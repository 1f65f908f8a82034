package main

import (
	"context"
	"fmt"
	"time"

	"kairos"
)

// warmUp is how many people get a campaign before the measured one.
const warmUp = 64

// sendResult is what a campaign to everybody took.
type sendResult struct {
	Messages         int64   `json:"messages"`
	Seconds          float64 `json:"seconds"` // first to last message by the sink's clock
	PerSecond        float64 `json:"per_second"`
	LaunchToFirst    float64 `json:"launch_to_first_seconds"`
	LaunchToFinished float64 `json:"launch_to_finished_seconds"`
	FoldedSeconds    float64 `json:"folded_seconds"`
}

func (r *sendResult) words() string {
	return fmt.Sprintf("launch to first message %.2f s, to finished %.1f s, to the last event folded %.1f s", r.LaunchToFirst, r.LaunchToFinished, r.FoldedSeconds)
}

// warmOver sends a small campaign over a sink and a sender that are not
// measured, and reads what the sink kept.
func (w *world) warmOver(ctx context.Context, s *sink, kept any, env ...string) error {
	w.say("warming up")
	d, err := w.serve(ctx, "warm-delivery", "delivery", env...)
	if err != nil {
		return err
	}
	var people []kairos.ID
	if err := w.pool.QueryRow(ctx, `SELECT array_agg(id) FROM (SELECT id FROM contacts LIMIT $1) c`, warmUp).Scan(&people); err != nil {
		return fmt.Errorf("choose people: %w", err)
	}
	id, _, err := w.campaign(ctx, map[string]any{"audience": map[string]any{"contacts": people}})
	if err != nil {
		return err
	}
	if err := w.finished(ctx, id, time.Minute); err != nil {
		return err
	}
	var c clock
	if err := s.ask(ctx, "/clock", &c); err != nil {
		return err
	}
	if c.Total != len(people) {
		return fmt.Errorf("%d of %d messages came", c.Total, len(people))
	}
	if err := s.ask(ctx, "/kept", kept); err != nil {
		return err
	}
	if err := w.folded(ctx); err != nil {
		return err
	}
	if err := w.end(d); err != nil {
		return err
	}
	return w.end(s.process)
}

// finished waits for the end of a campaign without making it slower: its
// progress is counted by nobody meanwhile.
func (w *world) finished(ctx context.Context, id string, within time.Duration) error {
	return w.until(ctx, within, 50*time.Millisecond, "the campaign", func() (bool, string, error) {
		var state string
		err := w.pool.QueryRow(ctx, `SELECT state FROM campaigns WHERE id = $1`, id).Scan(&state)
		return state == "finished", state, err
	})
}

// send launches a campaign to everybody, n people, waits for its end and for
// the reports, and verifies that each got one message. name is the profiles'.
func (b *bench) send(ctx context.Context, w *world, s *sink, name string, n int, r *sendResult, used *metered) (kairos.ID, error) {
	if err := s.again(ctx); err != nil {
		return kairos.ID{}, err
	}
	if err := w.exec(ctx, "CHECKPOINT"); err != nil {
		return kairos.ID{}, err
	}
	profile := w.profile(ctx, name)
	m, got, err := w.watch(ctx)
	if err != nil {
		return kairos.ID{}, err
	}
	b.say("sending %d messages", n)
	text, launched, err := w.campaign(ctx, nil)
	if err != nil {
		return kairos.ID{}, err
	}
	if err := w.finished(ctx, text, time.Hour); err != nil {
		return kairos.ID{}, err
	}
	r.Messages, r.LaunchToFinished = int64(n), time.Since(launched).Seconds()
	var c clock
	if err := s.ask(ctx, "/clock", &c); err != nil {
		return kairos.ID{}, err
	}
	r.Seconds, r.PerSecond = c.Last.Sub(c.First).Seconds(), float64(c.Total)/c.Last.Sub(c.First).Seconds()
	r.LaunchToFirst = c.First.Sub(launched).Seconds()
	b.say("  %.0f messages/s; waiting for the fold", r.PerSecond)
	if err := w.folded(ctx); err != nil {
		return kairos.ID{}, err
	}
	r.FoldedSeconds = time.Since(launched).Seconds()
	m.end(got)
	*used = *got
	if err := profile.end(ctx); err != nil {
		return kairos.ID{}, err
	}
	if err := s.verify(ctx, n, 1); err != nil {
		return kairos.ID{}, err
	}
	id, err := kairos.ParseID(text)
	if err != nil {
		return id, err
	}
	return id, w.verifySent(ctx, id, int64(n))
}

// verifySent: the ledger says that each of n people got the campaign once, and
// the log tells each step once.
func (w *world) verifySent(ctx context.Context, campaign kairos.ID, n int64) error {
	_, p, err := w.state(ctx, campaign.String())
	if err != nil {
		return err
	}
	if p["accepted"] != n || p["total"] != n || p["pending"]+p["failed"]+p["unknown"] != 0 {
		return fmt.Errorf("verify: progress is %v", p)
	}
	var attempts, accepted, folded int64
	var steps []int64
	err = w.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM attempts WHERE campaign = $1), (SELECT count(*) FROM attempts WHERE campaign = $1 AND state = 'accepted'),
		       (SELECT array_agg(n) FROM (SELECT (SELECT count(DISTINCT notification) FROM events WHERE campaign = $1 AND kind = k) AS n
		        FROM unnest(array['notification.planned', 'notification.sent', 'notification.accepted']) AS k) x),
		       (SELECT coalesce(sum(uniques), 0) FROM rollups WHERE campaign = $1 AND step = 'sent')`, campaign).
		Scan(&attempts, &accepted, &steps, &folded)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if attempts != n || accepted != n || folded != n || len(steps) != 3 || steps[0] != n || steps[1] != n || steps[2] != n {
		return fmt.Errorf("verify: %d attempts, %d accepted, events %v, funnel says %d sent", attempts, accepted, steps, folded)
	}
	return nil
}
