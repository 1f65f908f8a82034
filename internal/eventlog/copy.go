package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kairos"
)

// copyFrom is the number of events from which a COPY is worth its savepoint.
const copyFrom = 256

var copied = []string{
	"id", "kind", "version", "subject", "key", "occurred_at", "day", "campaign", "contact", "notification", "ticket", "data",
}

// appendCopy copies events that are all new. A repeat among them fails the
// whole of it and leaves the transaction as it was.
func appendCopy(ctx context.Context, tx pgx.Tx, events []kairos.Event) (n int64, err error) {
	point, err := tx.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("copy %d events: %w", len(events), err)
	}
	i, row := -1, make([]any, len(copied))
	n, err = point.CopyFrom(ctx, pgx.Identifier{"events"}, copied, pgx.CopyFromFunc(func() ([]any, error) {
		if i++; i == len(events) {
			return nil, nil
		}
		e := &events[i]
		if e.ID.IsZero() {
			e.ID = kairos.NewID()
		}
		var data any
		if len(e.Data) > 0 {
			data = string(e.Data)
		}
		row[0], row[1], row[2], row[3], row[4] = e.ID, e.Kind, max(e.Version, 1), e.About(), e.Key
		row[5], row[6] = e.OccurredAt, e.OccurredAt.UTC().Truncate(24*time.Hour)
		row[7], row[8], row[9], row[10], row[11] = e.Campaign, e.Contact, e.Notification, e.Ticket, data
		return row, nil
	}))
	if err != nil {
		return 0, errors.Join(fmt.Errorf("copy %d events: %w", len(events), err), point.Rollback(ctx))
	}
	if err := point.Commit(ctx); err != nil {
		return 0, fmt.Errorf("copy %d events: %w", len(events), err)
	}
	return n, nil
}

// isRepeat reports whether a fact was in the log already (unique_violation).
func isRepeat(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "23505"
}
