package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	costContacts = 20_000 // import, plan
	costMessages = 3_000  // of a campaign; each has three links
)

// costBench is a bench whose installations do nothing by the clock.
func costBench(ctx context.Context) (*bench, error) {
	c := &cli{Only: []string{"import"}, Connections: 10, sizes: tiny, inMemory: true,
		Postgres: map[string]string{"autovacuum": "off", "checkpoint_timeout": "1h", "full_page_writes": "off"}}
	if err := c.defaults(); err != nil {
		return nil, err
	}
	return newBench(ctx, c)
}

func (w *world) costsOfImport(ctx context.Context, into map[string]cost) (err error) {
	into["import"], err = w.cost(ctx, costContacts, func() error { return w.front(ctx) }, func() error {
		_, err := w.load(ctx, costContacts)
		return err
	})
	return wrap("import", err)
}

// costsOfStages measures an import, and a plan for its people.
func (w *world) costsOfStages(ctx context.Context, into map[string]cost) (err error) {
	if err := w.costsOfImport(ctx, into); err != nil {
		return err
	}
	if err := w.exec(ctx, "ANALYZE contacts"); err != nil {
		return err
	}
	into["plan"], err = w.cost(ctx, costContacts, func() error { return w.front(ctx) }, func() error {
		_, _, _, _, err := w.planAhead(ctx)
		return err
	})
	return wrap("plan", err)
}

// costsOfJourney measures a campaign over SMTP, the clicks on its links, and a
// campaign in SendGrid's format.
func (w *world) costsOfJourney(ctx context.Context, into map[string]cost) (err error) {
	if err := w.people(ctx, costMessages); err != nil {
		return err
	}
	var s *sink
	sending := func(env func(*sink) []string, args ...string) func() error {
		return func() (err error) {
			if err = w.front(ctx); err != nil {
				return err
			}
			if s, err = w.sinkOf(ctx, "sink", args...); err != nil {
				return err
			}
			_, err = w.serve(ctx, "delivery", "delivery", env(s)...)
			return err
		}
	}
	smtp := sending(w.smtpTo, "sink", "0", "0s")
	c, out := &sent{}, &sendResult{}
	if into["smtp"], err = w.cost(ctx, costMessages, smtp, func() (err error) {
		c.campaign, err = w.send(ctx, w, s, "smtp", costMessages, out, &metered{})
		return err
	}); err != nil {
		return fmt.Errorf("smtp: %w", err)
	}
	if into["clicks"], err = w.costOfClicks(ctx, c, s); err != nil {
		return fmt.Errorf("clicks: %w", err)
	}
	into["sendgrid"], err = w.cost(ctx, costMessages, sending(gridTo, "grid", "fast"), func() error {
		_, err := w.send(ctx, w, s, "sendgrid", costMessages, out, &metered{})
		return err
	})
	return wrap("sendgrid", err)
}

// costOfClicks measures each link of a campaign followed once. Who reads the
// log begins when all of them are in it: how many clicks of a person it would
// meet at once depends on the clock otherwise.
func (w *world) costOfClicks(ctx context.Context, c *sent, s *sink) (cost, error) {
	links, err := w.links(ctx, c, clicking)
	if err != nil {
		return nil, err
	}
	front := func() error {
		_, err := w.serve(ctx, "front", "api,track")
		return err
	}
	return w.cost(ctx, len(links), front, func() error {
		if _, err := (requests{w.listen, links, http.StatusFound}).each(ctx, 16); err != nil {
			return err
		}
		err := w.until(ctx, 5*time.Minute, 50*time.Millisecond, "the shipper", func() (bool, string, error) {
			age, err := w.spoolAge(ctx)
			return age == 0, fmt.Sprintf("the oldest hit waits for %.0f s", age), err
		})
		if err != nil {
			return err
		}
		n, err := w.count(ctx, `SELECT count(*) FROM events WHERE campaign = $1 AND kind = $2`, c.campaign, clicking.event)
		if err != nil {
			return err
		}
		if n != int64(len(links)) {
			return fmt.Errorf("verify: %d clicks are in the log, not %d", n, len(links))
		}
		if _, err := w.serve(ctx, "stages", "creation,orchestration,analysis"); err != nil {
			return err
		}
		_, err = w.serve(ctx, "delivery", "delivery", w.smtpTo(s)...)
		return err
	})
}

// each asks for every path once.
func (r requests) each(ctx context.Context, connections int) (*driven, error) {
	return r.drive(ctx, connections, func(d *driving, conn *rawConn, _ int) (took []time.Duration, err error) {
		for i := d.next.Add(1) - 1; i < int64(len(r.paths)) && ctx.Err() == nil; i = d.next.Add(1) - 1 {
			t, err := d.hit(conn, i, time.Now())
			if err != nil {
				return nil, err
			}
			took = append(took, t)
		}
		return took, nil
	})
}
