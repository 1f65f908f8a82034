package main

import (
	"context"
	"fmt"
	"time"

	"kairos"
	"kairos/delivery/deliverytest"
)

type smtpResult struct {
	SinkDelay    time.Duration `json:"sink_delay_ns,omitempty"`
	LetterBytes  int64         `json:"letter_bytes"`
	MessageBytes int64         `json:"message_bytes"`
	Connections  int           `json:"connections"`
	sendResult
	Pipelined      float64 `json:"pipelined_per_second"`
	PipelinedAfter float64 `json:"pipelined_after_per_second"`
	LockStep       float64 `json:"lock_step_per_second"`
	Ratio          float64 `json:"ratio"` // of the mean of the pipelined ceilings
	metered
}

func (s *smtpResult) tell(t *told) {
	slow := ""
	if s.SinkDelay > 0 {
		slow = fmt.Sprintf(", the sink takes %s for each", s.SinkDelay)
	}
	t.row(fmt.Sprintf("SMTP campaign of %s, %s of HTML, 3 links, pixel%s", thousands(s.Messages), size(s.LetterBytes), slow),
		fmt.Sprintf("%s messages/s", round(s.PerSecond)),
		fmt.Sprintf("sink: pipelined %s before, %s after; lock-step %s", round(s.Pipelined), round(s.PipelinedAfter), round(s.LockStep)), percent(s.Ratio))
	t.note("smtp: %s; messages of %s over %d connections; everybody got exactly one, ledger and log say so.", s.words(), size(s.MessageBytes), s.Connections)
	t.use("smtp with fold", s.Messages, &s.metered, false)
}

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
	s, err := w.sink(ctx, "sink", 0, b.SinkDelay)
	if err != nil {
		return nil, err
	}
	r := &smtpResult{SinkDelay: b.SinkDelay, Connections: b.Connections, MessageBytes: int64(len(sample[0].Raw)), LetterBytes: int64(len(letter()))}
	ceiling := func(into *float64, how bareClient) (err error) {
		*into, err = b.ceiling(ctx, s, b.Messages, sample[0].Raw, how)
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
	if out.campaign, err = b.send(ctx, w, s, "smtp", b.Messages, &r.sendResult, &r.metered); err != nil {
		return nil, err
	}
	if err := ceiling(&r.PipelinedAfter, pipelined); err != nil {
		return nil, fmt.Errorf("pipelined client: %w", err)
	}
	r.Ratio = r.PerSecond / ((r.Pipelined + r.PipelinedAfter) / 2)
	b.report.add("smtp", r)
	return out, nil
}

func (w *world) smtpTo(s *sink) []string {
	return []string{"KAIROS_EMAIL_PROVIDER=smtp", fmt.Sprintf("KAIROS_SMTP_URL=smtp://%s?connections=%d", s.at.SMTP, w.Connections)}
}

// warm sends a small campaign over a sink that keeps the messages and a sender
// that is not measured. It returns them.
func (w *world) warm(ctx context.Context) (kept []deliverytest.Mail, err error) {
	s, err := w.sink(ctx, "warm-sink", warmUp, 0)
	if err != nil {
		return nil, err
	}
	return kept, w.warmOver(ctx, s, &kept, w.smtpTo(s)...)
}
