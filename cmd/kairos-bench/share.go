package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// shared is one kind of work by one process and by two.
type shared struct {
	What  string  `json:"what"`
	Unit  string  `json:"unit"`
	Items int64   `json:"items"`
	One   float64 `json:"one_per_second"`
	Two   float64 `json:"two_per_second"`
	Ratio float64 `json:"ratio"`

	ItemsTwo int64   `json:"items_two"`
	UseOne   metered `json:"one_usage"`
	UseTwo   metered `json:"two_usage"`
}

type shareResult []*shared

func (all shareResult) tell(t *told) {
	for _, s := range all {
		t.row(fmt.Sprintf("two processes, %s", s.What), fmt.Sprintf("%s %s/s", round(s.Two), s.Unit),
			fmt.Sprintf("one process: %s/s", round(s.One)), percent(s.Ratio))
		t.use("one process, "+s.What, s.Items, &s.UseOne, true)
		t.use("two processes, "+s.What, s.ItemsTwo, &s.UseTwo, true)
	}
	t.note("share: Kairos, Postgres, sink and client have the same cores; where those are full, a second process can add nothing.")
}

// measureShare sends with one sender and then with two, to a slow sink and to a
// fast one, and clicks on one collector and then on two. Everything else is the
// same installation.
func (b *bench) measureShare(ctx context.Context) error {
	var all shareResult
	err := b.on(ctx, func(w *world) error {
		s, _, err := b.shareSenders(ctx, w, b.sizes.Slow, slowSink)
		all = append(all, s)
		return err
	})
	if err != nil {
		return fmt.Errorf("senders, slow sink: %w", err)
	}
	err = b.on(ctx, func(w *world) error {
		s, c, err := b.shareSenders(ctx, w, b.Messages, 0)
		if err != nil {
			return fmt.Errorf("senders, fast sink: %w", err)
		}
		all = append(all, s)
		if s, err = b.shareCollectors(ctx, w, c); err != nil {
			return fmt.Errorf("collectors: %w", err)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range all {
		s.Ratio = s.Two / s.One
	}
	b.report.add("share", all)
	return nil
}

func (b *bench) shareSenders(ctx context.Context, w *world, n int, delay time.Duration) (*shared, *sent, error) {
	r := &shared{What: "SMTP, sink as fast as it can", Unit: "messages", Items: int64(n), ItemsTwo: int64(n)}
	if delay > 0 {
		r.What = fmt.Sprintf("SMTP, sink takes %s, %d connections each", delay, b.Connections)
	}
	s, err := w.readyToSend(ctx, n, delay)
	if err != nil {
		return nil, nil, err
	}
	if err := w.warmSenders(ctx); err != nil {
		return nil, nil, err
	}
	c := &sent{}
	var took sendResult
	if c.campaign, err = b.send(ctx, w, s, "send-by-1", n, &took, &r.UseOne); err != nil {
		return nil, nil, err
	}
	r.One = took.PerSecond
	if _, err := w.serve(ctx, "delivery-2", "delivery", w.smtpTo(s)...); err != nil {
		return nil, nil, err
	}
	if err := w.warmSenders(ctx); err != nil {
		return nil, nil, err
	}
	if _, err = b.send(ctx, w, s, "send-by-2", n, &took, &r.UseTwo); err != nil {
		return nil, nil, err
	}
	r.Two = took.PerSecond
	return r, c, nil
}

// warmSenders sends a little, so that neither measurement has a first time.
func (w *world) warmSenders(ctx context.Context) error {
	people, err := w.ids(ctx, warmUp)
	if err != nil {
		return err
	}
	id, _, err := w.campaign(ctx, map[string]any{"audience": map[string]any{"contacts": people}})
	if err != nil {
		return err
	}
	if err := w.finished(ctx, id, time.Minute); err != nil {
		return err
	}
	return w.folded(ctx)
}

func (b *bench) shareCollectors(ctx context.Context, w *world, c *sent) (*shared, error) {
	const connections = 128
	paths, err := w.links(ctx, c, clicking)
	if err != nil {
		return nil, err
	}
	lasting := time.Duration(b.Seconds) * time.Second
	r := &shared{What: fmt.Sprintf("clicks, %d connections in all", connections), Unit: "durable 302"}
	measure := func(addrs []string) (*clickResult, error) {
		b.say("clicks for %s over %d connections, %d collectors", lasting, connections, len(addrs))
		one := &clickResult{What: fmt.Sprintf("clicks-by-%d", len(addrs)), Connections: connections}
		return one, b.hits(ctx, w, c.campaign, clicking, one, func() (*driven, error) {
			return together(len(addrs), func(i int) (*driven, error) {
				mine := paths[len(paths)*i/len(addrs) : len(paths)*(i+1)/len(addrs)]
				return requests{addrs[i], mine, http.StatusFound}.closed(ctx, connections/len(addrs), lasting)
			})
		})
	}
	one, err := measure([]string{w.listen})
	if err != nil {
		return nil, err
	}
	r.One, r.Items, r.UseOne = one.Click.PerSecond, one.Acknowledged, one.metered
	second, err := w.serve(ctx, "collector", "track")
	if err != nil {
		return nil, err
	}
	w.collectors = append(w.collectors, second.URL)
	two, err := measure([]string{w.listen, strings.TrimPrefix(second.URL, "http://")})
	if err != nil {
		return nil, err
	}
	r.Two, r.ItemsTwo, r.UseTwo = two.Click.PerSecond, two.Acknowledged, two.metered
	return r, nil
}

// together runs n drives at once and adds up what they saw. The CPU is this
// process's over all of them: each saw the same.
func together(n int, drive func(i int) (*driven, error)) (*driven, error) {
	all := make([]*driven, n)
	var g errgroup.Group
	for i := range n {
		g.Go(func() (err error) {
			all[i], err = drive(i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	sum := all[0]
	for _, d := range all[1:] {
		sum.took, sum.alike = slices.Concat(sum.took, d.took), sum.alike+d.alike
		sum.lasted, sum.cpu = max(sum.lasted, d.lasted), max(sum.cpu, d.cpu)
	}
	return sum, nil
}
