package main

import (
	"context"
	"fmt"
	"slices"
)

// peaks are the local hours at which the groups of the bench's model are busiest.
var peaks = [...]int{8, 12, 18, 21}

// model puts an active timing model into the registry, with an order of hours of
// their own for all people: what training and scoring would leave there. Its
// figures mean nothing; planning reads as much for it as for a real one.
func (w *world) model(ctx context.Context) error {
	w.say("a model with an order of hours for everybody")
	orders := make([][]byte, len(peaks))
	for i, p := range peaks {
		orders[i] = order(p)
	}
	var version int
	err := w.pool.QueryRow(ctx, `
		INSERT INTO timing_models (state, code, seed, requested_by, request_reason, verdict, hours, created_at, trained_at, active_at, scored_at)
		VALUES ('active', 'bench', 1, 'bench', 'to plan with', 'clusters', $1, now(), now(), now(), now()) RETURNING version`, orders[0]).Scan(&version)
	if err != nil {
		return fmt.Errorf("make model: %w", err)
	}
	_, err = w.pool.Exec(ctx, `
		INSERT INTO timing_scores (model, contact, cluster, hours)
		SELECT $1, id, k, ($2::bytea[])[k + 1] FROM (SELECT id, (hashtext(id::text) & 65535) % $3 AS k FROM contacts) c`, version, orders, len(orders))
	if err != nil {
		return fmt.Errorf("give people their hours: %w", err)
	}
	return w.exec(ctx, "ANALYZE timing_scores", "CHECKPOINT")
}

// order is the 24 hours by their distance from the peak.
func order(peak int) []byte {
	hours := make([]byte, 24)
	for h := range hours {
		hours[h] = byte(h)
	}
	far := func(h byte) int { d := (int(h) - peak + 24) % 24; return min(d, 24-d) }
	slices.SortStableFunc(hours, func(a, b byte) int { return far(a) - far(b) })
	return hours
}
