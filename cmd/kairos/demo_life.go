package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"

	"kairos"
)

// report hands events to the platform as a shop's server does.
func (w *town) report(ctx context.Context, batch []map[string]any) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for len(batch) > 0 {
		n := min(len(batch), 1000)
		part := batch[:n]
		batch = batch[n:]
		g.Go(func() error {
			var got struct {
				Rejected int `json:"rejected"`
				Results  []struct {
					Error string `json:"error"`
				} `json:"results"`
			}
			if err := w.api.post(ctx, "/v1/events", map[string]any{"events": part}, &got); err != nil {
				return fmt.Errorf("report events: %w", err)
			}
			if got.Rejected == 0 {
				return nil
			}
			for _, r := range got.Results {
				if r.Error != "" {
					return fmt.Errorf("report events: %d refused: %s", got.Rejected, r.Error)
				}
			}
			return fmt.Errorf("report events: %d refused", got.Rejected)
		})
	}
	return g.Wait()
}

// history reports how people were active in the weeks before the first mail;
// it returns the number of sessions.
func (w *town) history(ctx context.Context, begin time.Time, days int) (int, error) {
	total := 0
	for d := -days; d < 0; d++ {
		from := begin.AddDate(0, 0, d)
		events := w.active(from, from, from.Add(24*time.Hour))
		total += len(events)
		if err := w.report(ctx, events); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// active returns the sessions of the day that begins at day, those that lie
// in [from, until).
func (w *town) active(day, from, until time.Time) []map[string]any {
	var events []map[string]any
	for i := range w.world.people {
		for _, at := range w.world.sessions(i, day) {
			if at.Before(from) || !at.Before(until) {
				continue
			}
			kind := "session.started"
			if at.Unix()%3 == 0 {
				kind = kairos.PageViewed
			}
			events = append(events, map[string]any{"kind": kind, "external_id": fmt.Sprintf("p%d", i), "occurred_at": at.Format(time.RFC3339)})
		}
	}
	return events
}

// shop lets a few people buy without any mail, the held out among them: the
// shop's till reports them by its own customer numbers. It is what the
// incremental return is compared with. Who has read a mail lately is left to
// the mails: such a purchase would be credited to one.
func (w *town) shop(ctx context.Context, day int) error {
	now := w.clock.Now()
	var events []map[string]any
	w.mu.Lock()
	for i := range w.world.people {
		r := w.world.source(i, 5, uint64(day))
		if r.Float64() < 0.004 && now.Sub(w.touch[i]) > 2*attributionWindow {
			events = append(events, map[string]any{
				"kind": kairos.PaymentReceived, "external_id": fmt.Sprintf("p%d", i), "key": fmt.Sprintf("till-%d-%d", i, day),
				"amount": price(r), "currency": "EUR", "occurred_at": now.Format(time.RFC3339Nano),
			})
		}
	}
	w.mu.Unlock()
	return w.report(ctx, events)
}

// wishes lets people say when they would like to hear from the shop, and when
// not; it returns how many did either.
func (w *town) wishes(ctx context.Context) (prefer, quiet int, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i := range w.world.people {
		p := &w.world.people[i]
		body := map[string]any{}
		if p.prefers >= 0 {
			prefer++
			body["preferred_hours"] = []map[string]any{{"from": clockTime(p.prefers), "until": clockTime(p.prefers + 3)}}
		}
		if p.quiet {
			quiet++
			body["quiet_hours"] = map[string]any{"from": "22:00", "until": "07:00"}
		}
		if len(body) == 0 {
			continue
		}
		g.Go(func() error {
			var found struct {
				Items []struct {
					ID string `json:"id"`
				} `json:"items"`
			}
			if err := w.api.get(ctx, "/v1/contacts?external_id="+url.QueryEscape(fmt.Sprintf("p%d", i)), &found); err != nil {
				return err
			}
			if len(found.Items) != 1 {
				return fmt.Errorf("p%d is known %d times", i, len(found.Items))
			}
			return w.api.do(ctx, http.MethodPut, "/v1/contacts/"+found.Items[0].ID+"/preferences", body, "", nil)
		})
	}
	return prefer, quiet, g.Wait()
}

func clockTime(hour int) string { return fmt.Sprintf("%02d:00", hour%24) }
