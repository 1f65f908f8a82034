package analysis

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/eventlog"
)

// Bounds of a page of events.
const (
	defaultEvents = 100
	MaxEvents     = 1_000
)

// tick is how often a follower looks for new events.
const tick = 250 * time.Millisecond

// EventQuery asks for a page of the log; zero fields don't narrow it.
type EventQuery struct {
	After        kairos.Cursor
	Kinds        []string
	Campaign     kairos.ID
	Contact      kairos.ID
	Notification kairos.ID
	Limit        int // default 100, at most MaxEvents
}

func (q EventQuery) filter() eventlog.Filter {
	return eventlog.Filter{Kinds: q.Kinds, Campaign: q.Campaign, Contact: q.Contact, Notification: q.Notification}
}

// Events returns the log's events after a cursor, in its order, and the cursor
// to go on from. next equals q.After when nothing was added to the log since.
// An event is seen once every transaction before it has ended.
func (a *Analysis) Events(ctx context.Context, q EventQuery) (events []kairos.Event, next kairos.Cursor, err error) {
	limit := q.Limit
	if limit <= 0 {
		limit = defaultEvents
	}
	limit = min(limit, MaxEvents)
	// One snapshot for both readings: a page that is not full goes on from the head.
	opts := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, a.pool, opts, func(tx pgx.Tx) error {
		events, err = eventlog.Read(ctx, tx, q.After, q.filter(), limit)
		if err != nil {
			return err
		}
		if len(events) == limit {
			next = events[limit-1].Cursor
			return nil
		}
		if next, err = eventlog.Head(ctx, tx); err != nil {
			return err
		}
		if !before(q.After, next) {
			next = q.After
		}
		return nil
	})
	if err != nil {
		return nil, kairos.Cursor{}, fmt.Errorf("list events: %w", err)
	}
	return events, next, nil
}

func before(a, b kairos.Cursor) bool {
	return a.XID < b.XID || a.XID == b.XID && a.Position < b.Position
}

// Head returns the cursor behind the newest event: where to follow from when
// only new ones are wanted.
func (a *Analysis) Head(ctx context.Context) (kairos.Cursor, error) {
	return eventlog.Head(ctx, a.pool)
}

// Follow yields the events after a cursor as they come, for as long as the
// caller takes them and ctx lasts. It ends with a pair that holds an error:
// Postgres' or, when ctx ended, its cause. q.Limit bounds how many are held in
// memory at once. New events show within 250 ms of being settled.
func (a *Analysis) Follow(ctx context.Context, q EventQuery) iter.Seq2[kairos.Event, error] {
	return func(yield func(kairos.Event, error) bool) {
		timer := time.NewTicker(tick)
		defer timer.Stop()
		for {
			events, next, err := a.Events(ctx, q)
			if err != nil {
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				yield(kairos.Event{}, err)
				return
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
			q.After = next
			if len(events) > 0 {
				continue
			}
			select {
			case <-ctx.Done():
				yield(kairos.Event{}, context.Cause(ctx))
				return
			case <-timer.C:
			}
		}
	}
}

// Timeline returns what the log says about a person, newest first. before is
// the cursor of the last event of the page before, zero for the first page;
// next is zero on the last page.
func (a *Analysis) Timeline(ctx context.Context, contact kairos.ID, before kairos.Cursor, limit int) (events []kairos.Event, next kairos.Cursor, err error) {
	if limit <= 0 {
		limit = defaultEvents
	}
	limit = min(limit, MaxEvents)
	rows, err := a.pool.Query(ctx, `
		SELECT id, kind, version, subject, key, occurred_at, recorded_at, campaign, contact, notification, ticket, data,
		       xid::text::bigint, position
		FROM events WHERE contact = $1 AND ($2::bigint = 0 OR position < $2)
		ORDER BY position DESC LIMIT $3`, contact, before.Position, limit+1)
	if err != nil {
		return nil, next, fmt.Errorf("read timeline: %w", err)
	}
	events, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (e kairos.Event, err error) {
		var data []byte
		var xid int64
		err = r.Scan(&e.ID, &e.Kind, &e.Version, &e.Subject, &e.Key, &e.OccurredAt, &e.RecordedAt, &e.Campaign, &e.Contact,
			&e.Notification, &e.Ticket, &data, &xid, &e.Cursor.Position)
		e.Cursor.XID, e.Data = uint64(xid), data
		return e, err
	})
	if err != nil {
		return nil, next, fmt.Errorf("read timeline: %w", err)
	}
	if len(events) > limit {
		events = events[:limit]
		next = events[limit-1].Cursor
	}
	return events, next, nil
}
