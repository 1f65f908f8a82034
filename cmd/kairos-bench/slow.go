package main

import (
	"context"
	"fmt"
	"time"
)

// slowSink is how long the slow sink takes for a message.
const slowSink = 5 * time.Millisecond

type slowResult struct {
	Connections int `json:"connections"`
	sendResult
	Bound float64 `json:"bound_per_second"` // connections / delay
	Bare  float64 `json:"bare_per_second"`  // a pipelining client at the same sink
	Ratio float64 `json:"ratio"`            // of the bound
	metered
}

func (s *slowResult) tell(t *told) {
	t.row(fmt.Sprintf("SMTP campaign of %s, the sink takes %s for each", thousands(s.Messages), slowSink),
		fmt.Sprintf("%s messages/s", round(s.PerSecond)),
		fmt.Sprintf("%d connections / %s = %s; bare pipelined client %s", s.Connections, slowSink, round(s.Bound), round(s.Bare)), percent(s.Ratio))
	t.note("slow: %s; everybody got exactly one, ledger and log say so.", s.words())
	t.use("slow with fold", s.Messages, &s.metered, false)
}

// measureSlow sends a campaign over a sink that takes its time for every
// message: then only the connections count.
func (b *bench) measureSlow(ctx context.Context, w *world) error {
	n := b.sizes.Slow
	if err := w.front(ctx); err != nil {
		return err
	}
	if err := w.people(ctx, n); err != nil {
		return err
	}
	sample, err := w.warm(ctx)
	if err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	s, err := w.sink(ctx, "sink", 0, slowSink)
	if err != nil {
		return err
	}
	r := &slowResult{Connections: b.Connections, Bound: float64(b.Connections) / slowSink.Seconds()}
	b.say("a bare client over %d connections, %s for each message", b.Connections, slowSink)
	if r.Bare, err = b.ceiling(ctx, s, n, sample[0].Raw, pipelined); err != nil {
		return fmt.Errorf("pipelined client: %w", err)
	}
	if _, err := w.serve(ctx, "delivery", "delivery", w.smtpTo(s)...); err != nil {
		return err
	}
	if _, err = b.send(ctx, w, s, "slow", n, &r.sendResult, &r.metered); err != nil {
		return err
	}
	r.Ratio = r.PerSecond / r.Bound
	b.report.add("slow", r)
	return nil
}
