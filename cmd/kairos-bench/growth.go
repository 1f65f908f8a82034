package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// growthSendMost is the largest audience that growth sends to.
const growthSendMost = 1_000_000

// step is what one stage of a campaign's life took for each of its people.
type step struct {
	Name string  `json:"name"`
	CPU  float64 `json:"cpu_us"` // of Kairos, Postgres and Redis, for each
	Wall float64 `json:"wall_us"`
	metered
}

type growthSize struct {
	Contacts int    `json:"contacts"`
	Steps    []step `json:"steps"`
}

type growthResult []growthSize

func (all growthResult) tell(t *told) {
	for _, g := range all {
		var cpu, wall, of []string
		for i, s := range g.Steps {
			cpu, wall = append(cpu, fmt.Sprintf("%s %.0f", s.Name, s.CPU)), append(wall, fmt.Sprintf("%s %.0f", s.Name, s.Wall))
			of = append(of, percent(s.CPU/all[0].Steps[i].CPU))
			t.use(fmt.Sprintf("%s of %s", s.Name, thousands(g.Contacts)), int64(g.Contacts), &s.metered, false)
		}
		t.row(fmt.Sprintf("growth: %s contacts", thousands(g.Contacts)),
			fmt.Sprintf("µs of CPU for each: %s; µs of time: %s", strings.Join(cpu, ", "), strings.Join(wall, ", ")),
			"CPU of the smallest size", strings.Join(of, ", "))
	}
	for i, name := range []string{"import", "plan", "send"} {
		least, last, at := 0.0, 0.0, 0
		for _, g := range all {
			if i >= len(g.Steps) {
				continue
			}
			last, at = g.Steps[i].CPU, g.Contacts
			if least == 0 || last < least {
				least = last
			}
		}
		verdict := "within 20 % of the cheapest size: flat"
		if last > 1.2*least {
			verdict = "more than 20 % above the cheapest size"
		}
		t.note("growth, %s: %.0f µs of CPU for each of %s, %.0f µs at the cheapest size, %s; what small sizes cost above is fixed.",
			name, last, thousands(at), least, verdict)
	}
}

// measureGrowth imports, plans and sends for audiences of growing size, each in
// an installation of its own.
func (b *bench) measureGrowth(ctx context.Context) error {
	var all growthResult
	for _, n := range b.sizes.Growth {
		g := growthSize{Contacts: n}
		err := b.on(ctx, func(w *world) error { return b.grow(ctx, w, &g) })
		if err != nil {
			return fmt.Errorf("%d contacts: %w", n, err)
		}
		all = append(all, g)
	}
	b.report.add("growth", all)
	return nil
}

func (b *bench) grow(ctx context.Context, w *world, g *growthSize) error {
	n := g.Contacts
	if err := w.front(ctx); err != nil {
		return err
	}
	measure := func(name string, do func() (time.Duration, error)) error {
		b.say("%s of %d", name, n)
		if err := w.exec(ctx, "CHECKPOINT"); err != nil {
			return err
		}
		m, used, err := w.watch(ctx)
		if err != nil {
			return err
		}
		took, err := do()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		m.end(used)
		s := step{Name: name, Wall: took.Seconds() * 1e6 / float64(n), metered: *used}
		for _, u := range used.Usage {
			if u.Name != "bench" && u.Name != "sink" {
				s.CPU += u.CPU * 1e6 / float64(n)
			}
		}
		g.Steps = append(g.Steps, s)
		return nil
	}
	err := measure("import", func() (time.Duration, error) {
		in, err := w.load(ctx, n)
		return in.took, err
	})
	if err != nil {
		return err
	}
	if err := w.exec(ctx, "ANALYZE contacts"); err != nil {
		return err
	}
	err = measure("plan", func() (time.Duration, error) {
		id, _, took, _, err := w.planAhead(ctx)
		if err == nil {
			err = w.folded(ctx)
		}
		if err == nil {
			err = w.allPlanned(ctx, id, n)
		}
		return took, err
	})
	if err != nil || n > growthSendMost {
		return err
	}
	s, err := w.sink(ctx, "sink", 0, 0)
	if err != nil {
		return err
	}
	if _, err := w.serve(ctx, "delivery", "delivery", w.smtpTo(s)...); err != nil {
		return err
	}
	return measure("send", func() (time.Duration, error) {
		var r sendResult
		_, err := b.send(ctx, w, s, "growth", n, &r, new(metered))
		return seconds(r.LaunchToFinished), err
	})
}

// allPlanned: everybody has one notification of the campaign.
func (w *world) allPlanned(ctx context.Context, campaign string, n int) error {
	rows, err := w.count(ctx, `SELECT count(DISTINCT contact) FROM notifications WHERE campaign = $1`, campaign)
	if err == nil && rows != int64(n) {
		err = fmt.Errorf("verify: %d people are planned, not %d", rows, n)
	}
	return err
}
