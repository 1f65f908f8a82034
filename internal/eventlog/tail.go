package eventlog

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// Filter narrows a reading; zero fields don't.
type Filter struct {
	Kinds        []string
	Campaign     kairos.ID
	Contact      kairos.ID
	Notification kairos.ID

	// Facts leaves out what names the record itself: ID, Version, Subject and
	// Ticket stay zero. For readers that take in all of the log.
	Facts bool
}

// rareSQL is the condition of the index events_rare: kinds with a reader of
// their own, which would otherwise pass over all that is sent and clicked.
const rareSQL = `kind IN ('contact.erased', 'contact.preferred')`

// onlyRare reports whether the index events_rare holds all that the filter lets in.
func (f Filter) onlyRare() bool {
	for _, kind := range f.Kinds {
		if kind != kairos.ContactErased && kind != kairos.ContactPreferred {
			return false
		}
	}
	return len(f.Kinds) > 0
}

// DB is a pool, a connection or a transaction.
type DB interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Read returns up to limit settled events after the cursor, in the log's
// order. Settled: every transaction at or before theirs has ended.
func Read(ctx context.Context, db DB, after kairos.Cursor, f Filter, limit int) (events []kairos.Event, err error) {
	bound, err := settled(ctx, db)
	if err != nil {
		return nil, err
	}
	return readBelow(ctx, db, after, bound, f, limit)
}

// settled returns the oldest transaction that may still be open: everything
// below it has ended, and is seen by every later statement.
func settled(ctx context.Context, db DB) (bound uint64, err error) {
	err = db.QueryRow(ctx, `SELECT pg_snapshot_xmin(pg_current_snapshot())`).Scan(&bound)
	if err != nil {
		return 0, fmt.Errorf("read the log's settled end: %w", err)
	}
	return bound, nil
}

func readBelow(ctx context.Context, db DB, after kairos.Cursor, bound uint64, f Filter, limit int) (events []kairos.Event, err error) {
	kinds := f.Kinds
	if kinds == nil {
		kinds = []string{}
	}
	columns, rare := columnsRead, ""
	if f.Facts {
		columns = columnsOfFacts
	}
	if f.onlyRare() {
		rare = ` AND ` + rareSQL
	}
	events, err = collect(db.Query(ctx, `
		SELECT `+columns+` FROM events
		WHERE xid < $8 AND (xid, position) > ($1::xid8, $2)
		  AND (cardinality($3::text[]) = 0 OR kind = ANY ($3))`+rare+`
		  AND ($4::uuid IS NULL OR campaign = $4) AND ($5::uuid IS NULL OR contact = $5) AND ($6::uuid IS NULL OR notification = $6)
		ORDER BY events.xid, events.position LIMIT $7`,
		after.XID, after.Position, kinds, f.Campaign, f.Contact, f.Notification, limit, bound))
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return events, nil
}

// Head returns the cursor behind the newest settled event.
func Head(ctx context.Context, db DB) (c kairos.Cursor, err error) {
	err = db.QueryRow(ctx, `
		SELECT xid, position FROM events WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
		ORDER BY events.xid DESC, events.position DESC LIMIT 1`).Scan(&c.XID, &c.Position)
	if errors.Is(err, pgx.ErrNoRows) {
		return kairos.Cursor{}, nil
	}
	if err != nil {
		return c, fmt.Errorf("read head of the log: %w", err)
	}
	return c, nil
}

// Tail hands the next events after a named reader's own cursor to fn in a
// transaction, and moves the cursor in the same transaction: what fn writes
// with tx and the place in the log commit together, so each event counts once.
// Two processes with one reader name take turns. It returns how many events
// were read; fewer than limit means that the reader is at the end, and what its
// filter left out is never looked at again.
func Tail(ctx context.Context, pool interface {
	Begin(context.Context) (pgx.Tx, error)
}, reader string, f Filter, limit int, fn func(ctx context.Context, tx pgx.Tx, events []kairos.Event) error) (n int, err error) {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("tail %s: %w", reader, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, `
		INSERT INTO event_cursors (reader, xid, position) VALUES ($1, '0', 0) ON CONFLICT DO NOTHING`, reader); err != nil {
		return 0, fmt.Errorf("tail %s: %w", reader, err)
	}
	var at kairos.Cursor
	err = tx.QueryRow(ctx, `SELECT xid, position FROM event_cursors WHERE reader = $1 FOR UPDATE`, reader).Scan(&at.XID, &at.Position)
	if err != nil {
		return 0, fmt.Errorf("tail %s: %w", reader, err)
	}
	bound, err := settled(ctx, tx)
	if err != nil {
		return 0, err
	}
	events, err := readBelow(ctx, tx, at, bound, f, limit)
	if err != nil {
		return 0, err
	}
	var last kairos.Cursor
	switch n := len(events); {
	case n == limit && n > 0:
		last = events[n-1].Cursor
	case n == 0:
		var more bool // that the filter left out; without any there is nothing to write
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM events WHERE xid < $3 AND (xid, position) > ($1::xid8, $2))`,
			at.XID, at.Position, bound).Scan(&more)
		if err != nil || !more {
			return 0, err
		}
		fallthrough
	default:
		last = kairos.Cursor{XID: bound - 1, Position: math.MaxInt64}
	}
	if len(events) > 0 {
		if err := fn(ctx, tx, events); err != nil {
			return 0, fmt.Errorf("tail %s: %w", reader, err)
		}
	}
	if _, err := tx.Exec(ctx, `
		UPDATE event_cursors SET xid = $2, position = $3, updated_at = clock_timestamp() WHERE reader = $1`,
		reader, last.XID, last.Position); err != nil {
		return 0, fmt.Errorf("tail %s: %w", reader, err)
	}
	if err := tx.Commit(ctx); err != nil {
		return 0, fmt.Errorf("tail %s: %w", reader, err)
	}
	return len(events), nil
}

// Drain is Tail, chunk after chunk of at most 1,000 events, until the reader is
// at the end.
func Drain(ctx context.Context, pool interface {
	Begin(context.Context) (pgx.Tx, error)
}, reader string, f Filter, fn func(ctx context.Context, tx pgx.Tx, events []kairos.Event) error) error {
	const chunk = 1000
	for {
		if n, err := Tail(ctx, pool, reader, f, chunk, fn); err != nil || n < chunk {
			return err
		}
	}
}

// Reset puts a reader back to the start of the log, in the transaction that
// clears what it had built: a rebuild by replay.
func Reset(ctx context.Context, tx pgx.Tx, reader string) error {
	_, err := tx.Exec(ctx, `UPDATE event_cursors SET xid = '0', position = 0 WHERE reader = $1`, reader)
	if err != nil {
		return fmt.Errorf("reset reader %s: %w", reader, err)
	}
	return nil
}
