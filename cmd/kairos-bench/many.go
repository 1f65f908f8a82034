package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"kairos"
)

// launchers is how many requests at once launch campaigns.
const launchers = 8

type manyResult struct {
	Campaigns int        `json:"campaigns"`
	Each      int        `json:"each"`
	Single    sendResult `json:"single"` // one campaign of as many
	PerSecond float64    `json:"per_second"`
	Seconds   float64    `json:"seconds"` // first launch to the last campaign's end
	Launching float64    `json:"launching_seconds"`
	First     figures    `json:"first_message"` // of each campaign, after its launch was answered
	Last      figures    `json:"last_message"`
	Ratio     float64    `json:"ratio"` // of the single one's messages a second
	SingleUse metered    `json:"single_usage"`
	metered
}

func (r *manyResult) tell(t *told) {
	n := r.Campaigns * r.Each
	t.row(fmt.Sprintf("%s campaigns at once, %s recipients each, SMTP", thousands(r.Campaigns), thousands(r.Each)),
		fmt.Sprintf("%s messages/s, %.1f s", round(r.PerSecond), r.Seconds),
		fmt.Sprintf("one campaign of %s: %s messages/s, %.1f s", thousands(n), round(r.Single.PerSecond), r.Single.LaunchToFinished), percent(r.Ratio))
	t.note("many: launched within %.1f s; after its launch a campaign's first message took %.1f s (median), %.1f s (p99), at most %.1f s; its last %.1f s (median), %.1f s (p99), at most %.1f s; "+
		"everybody got exactly one, sink and ledger say so.",
		r.Launching, r.First.P50/1000, r.First.P99/1000, r.First.Max/1000, r.Last.P50/1000, r.Last.P99/1000, r.Last.Max/1000)
	t.use("one campaign", int64(n), &r.SingleUse, false)
	t.use("many campaigns", int64(n), &r.metered, false)
}

// measureMany sends one large campaign, and then, in an installation of its
// own, the same number of messages as many campaigns that are launched at once.
func (b *bench) measureMany(ctx context.Context) error {
	r := &manyResult{Campaigns: b.sizes.Campaigns, Each: b.sizes.Each}
	n := r.Campaigns * r.Each
	err := b.on(ctx, func(w *world) error {
		s, err := w.readyToSend(ctx, n, 0)
		if err != nil {
			return err
		}
		_, err = b.send(ctx, w, s, "one", n, &r.Single, &r.SingleUse)
		return err
	})
	if err != nil {
		return err
	}
	err = b.on(ctx, func(w *world) error { return b.sendMany(ctx, w, r) })
	if err != nil {
		return err
	}
	r.Ratio = r.PerSecond / r.Single.PerSecond
	b.report.add("many", r)
	return nil
}

// readyToSend makes people and starts everything that sends to a sink.
func (w *world) readyToSend(ctx context.Context, people int, delay time.Duration) (*sink, error) {
	if err := w.front(ctx); err != nil {
		return nil, err
	}
	if err := w.people(ctx, people); err != nil {
		return nil, err
	}
	s, err := w.sink(ctx, "sink", 0, delay)
	if err != nil {
		return nil, err
	}
	_, err = w.serve(ctx, "delivery", "delivery", w.smtpTo(s)...)
	return s, err
}

func (b *bench) sendMany(ctx context.Context, w *world, r *manyResult) error {
	n := r.Campaigns * r.Each
	s, err := w.readyToSend(ctx, n, 0)
	if err != nil {
		return err
	}
	b.say("making %d campaigns", r.Campaigns)
	t, err := w.template(ctx)
	if err != nil {
		return err
	}
	people, err := w.ids(ctx, n)
	if err != nil {
		return err
	}
	drafts := make([]string, r.Campaigns)
	err = parallel(ctx, len(drafts), func(ctx context.Context, i int) (err error) {
		drafts[i], err = w.draft(ctx, t, map[string]any{"audience": map[string]any{"contacts": people[i*r.Each : (i+1)*r.Each]}})
		return err
	})
	if err != nil {
		return err
	}
	if err := w.exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	profile := w.profile(ctx, "many")
	m, used, err := w.watch(ctx)
	if err != nil {
		return err
	}
	b.say("launching them")
	began := time.Now()
	err = parallel(ctx, len(drafts), func(ctx context.Context, i int) error { return w.launch(ctx, drafts[i]) })
	if err != nil {
		return err
	}
	r.Launching = time.Since(began).Seconds()
	err = w.until(ctx, time.Hour, 100*time.Millisecond, "the campaigns", func() (bool, string, error) {
		open, err := w.count(ctx, `SELECT count(*) FROM campaigns WHERE state <> 'finished'`)
		return open == 0, fmt.Sprintf("%d are not finished", open), err
	})
	if err != nil {
		return err
	}
	r.Seconds = time.Since(began).Seconds()
	if err := w.folded(ctx); err != nil {
		return err
	}
	m.end(used)
	r.metered = *used
	if err := profile.end(ctx); err != nil {
		return err
	}
	var c clock
	if err := s.ask(ctx, "/clock", &c); err != nil {
		return err
	}
	r.PerSecond = float64(c.Total) / c.Last.Sub(c.First).Seconds()
	if err := s.verify(ctx, n, 1); err != nil {
		return err
	}
	return w.spread(ctx, r)
}

// spread reads from the ledger when each campaign began and ended, and that it
// holds everybody once.
func (w *world) spread(ctx context.Context, r *manyResult) error {
	rows, err := w.pool.Query(ctx, `
		SELECT count(*), count(*) FILTER (WHERE a.state = 'accepted'), count(DISTINCT a.notification),
		       extract(epoch FROM min(a.started_at) - c.launched_at)::float8, extract(epoch FROM max(a.ended_at) - c.launched_at)::float8
		FROM campaigns c JOIN attempts a ON a.campaign = c.id GROUP BY c.id`)
	if err != nil {
		return fmt.Errorf("read ledger: %w", err)
	}
	defer rows.Close()
	var firsts, lasts []time.Duration
	for rows.Next() {
		var attempts, accepted, people int
		var first, last float64
		if err := rows.Scan(&attempts, &accepted, &people, &first, &last); err != nil {
			return fmt.Errorf("read ledger: %w", err)
		}
		if attempts != r.Each || accepted != r.Each || people != r.Each {
			return fmt.Errorf("verify: a campaign has %d attempts, %d accepted, of %d people", attempts, accepted, people)
		}
		firsts, lasts = append(firsts, seconds(first)), append(lasts, seconds(last))
	}
	if len(firsts) != r.Campaigns {
		return fmt.Errorf("verify: the ledger knows %d campaigns", len(firsts))
	}
	r.First, r.Last = figuresOf(firsts), figuresOf(lasts)
	return rows.Err()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// ids of the first n people of the audience, in its order.
func (w *world) ids(ctx context.Context, n int) (all []kairos.ID, err error) {
	err = w.pool.QueryRow(ctx, `
		SELECT array_agg(id ORDER BY n) FROM (SELECT id, substr(external_id, 2)::int AS n FROM contacts) c WHERE n < $1`, n).Scan(&all)
	if err == nil && len(all) != n {
		err = fmt.Errorf("there are only %d", len(all))
	}
	if err != nil {
		return nil, fmt.Errorf("choose people: %w", err)
	}
	return all, nil
}

// parallel does n things, a few at a time.
func parallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(launchers)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	return g.Wait()
}
