package main

import (
	"context"
	"fmt"
	"time"

	"kairos"
	"kairos/delivery/deliverytest"
)

// warmUp is how many people get a campaign before the measured one.
const warmUp = 64

// sent is a campaign that has gone out.
type sent struct {
	campaign kairos.ID
	sample   [][]byte // raw messages of the warm-up
}

// measureSMTP sends one campaign to everybody over a sink in a process of its
// own, between two measurements of what that sink takes from bare clients.
func (b *bench) measureSMTP(ctx context.Context, w *world) (*sent, error) {
	if err := w.front(ctx); err != nil {
		return nil, err
	}
	if err := w.people(ctx, b.Messages); err != nil {
		return nil, err
	}
	sample, err := w.warm(ctx)
	if err != nil {
		return nil, fmt.Errorf("warm up: %w", err)
	}
	s, err := w.sink(ctx, "sink", 0)
	if err != nil {
		return nil, err
	}
	r := &smtpResult{SinkDelay: b.SinkDelay, Messages: int64(b.Messages), Connections: b.Connections, MessageBytes: int64(len(sample[0].Raw)), LetterBytes: int64(len(letter()))}
	ceiling := func(into *float64, how func(context.Context, string, []byte, int, int) error) (err error) {
		*into, err = b.ceiling(ctx, s, sample[0].Raw, how)
		return err
	}
	b.say("the sink's ceiling: bare clients over %d connections", b.Connections)
	if err := ceiling(&r.LockStep, lockStep); err != nil {
		return nil, fmt.Errorf("lock-step client: %w", err)
	}
	if err := ceiling(&r.Pipelined, pipelined); err != nil {
		return nil, fmt.Errorf("pipelined client: %w", err)
	}
	if _, err := w.serve(ctx, "delivery", "delivery", w.smtpTo(s)...); err != nil {
		return nil, err
	}
	out := &sent{}
	for _, m := range sample {
		out.sample = append(out.sample, m.Raw)
	}
	if out.campaign, err = b.send(ctx, w, s, r); err != nil {
		return nil, err
	}
	if err := b.verifySMTP(ctx, w, s, out.campaign); err != nil {
		return nil, err
	}
	if err := ceiling(&r.PipelinedAfter, pipelined); err != nil {
		return nil, fmt.Errorf("pipelined client: %w", err)
	}
	r.Ratio = r.PerSecond / ((r.Pipelined + r.PipelinedAfter) / 2)
	b.report.SMTP = r
	return out, nil
}

func (w *world) smtpTo(s *sink) []string {
	return []string{"KAIROS_EMAIL_PROVIDER=smtp", fmt.Sprintf("KAIROS_SMTP_URL=smtp://%s?connections=%d", s.at.SMTP, w.Connections)}
}

// warm sends a small campaign over a sink that keeps the messages and a sender
// that is not measured. It returns them.
func (w *world) warm(ctx context.Context) (kept []deliverytest.Mail, err error) {
	w.say("warming up")
	s, err := w.sink(ctx, "warm-sink", warmUp)
	if err != nil {
		return nil, err
	}
	d, err := w.serve(ctx, "warm-delivery", "delivery", w.smtpTo(s)...)
	if err != nil {
		return nil, err
	}
	var people []kairos.ID
	if err := w.pool.QueryRow(ctx, `SELECT array_agg(id) FROM (SELECT id FROM contacts LIMIT $1) c`, warmUp).Scan(&people); err != nil {
		return nil, fmt.Errorf("choose people: %w", err)
	}
	id, _, err := w.campaign(ctx, map[string]any{"audience": map[string]any{"contacts": people}})
	if err != nil {
		return nil, err
	}
	if err := w.finished(ctx, id, time.Minute); err != nil {
		return nil, err
	}
	if err := s.ask(ctx, "/kept", &kept); err != nil {
		return nil, err
	}
	if len(kept) != len(people) {
		return nil, fmt.Errorf("%d of %d messages came", len(kept), len(people))
	}
	if err := w.folded(ctx); err != nil {
		return nil, err
	}
	if err := w.end(d); err != nil {
		return nil, err
	}
	return kept, w.end(s.process)
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

// send launches the campaign and waits for its end and for the reports.
func (b *bench) send(ctx context.Context, w *world, s *sink, r *smtpResult) (kairos.ID, error) {
	if err := s.again(ctx); err != nil {
		return kairos.ID{}, err
	}
	if err := w.exec(ctx, "CHECKPOINT"); err != nil {
		return kairos.ID{}, err
	}
	profile := w.profile(ctx, "smtp")
	m, used, err := w.watch(ctx)
	if err != nil {
		return kairos.ID{}, err
	}
	b.say("sending %d messages", b.Messages)
	text, launched, err := w.campaign(ctx, nil)
	if err != nil {
		return kairos.ID{}, err
	}
	if err := w.finished(ctx, text, time.Hour); err != nil {
		return kairos.ID{}, err
	}
	r.LaunchToFinished = time.Since(launched).Seconds()
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
	m.end(used)
	r.metered = *used
	if err := profile.end(ctx); err != nil {
		return kairos.ID{}, err
	}
	return kairos.ParseID(text)
}

// verifySMTP: the sink took one message for each person and no other, the
// ledger says so, and the log tells each step once.
func (b *bench) verifySMTP(ctx context.Context, w *world, s *sink, campaign kairos.ID) error {
	got := map[string]int{}
	if err := s.ask(ctx, "/recipients", &got); err != nil {
		return err
	}
	for i := range b.Messages {
		if got[email(i)] != 1 {
			return fmt.Errorf("verify: %d messages for %s", got[email(i)], email(i))
		}
	}
	if len(got) != b.Messages {
		return fmt.Errorf("verify: %d people got mail, not %d", len(got), b.Messages)
	}
	_, p, err := w.state(ctx, campaign.String())
	if err != nil {
		return err
	}
	n := int64(b.Messages)
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
