package analysis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/eventlog"
)

// reader is the fold's name among the readers of the log.
const reader = "analysis.fold"

// foldBatch is the one batch of the fold. It is planned anew, under a new
// epoch, whenever the log has moved.
const foldBatch = "00000000-0000-7000-8000-0000000f01d0"

// retry is how soon a fold that met trouble is tried again.
const retry = 2 * time.Second

// FoldTask is the doorbell of the fold.
type FoldTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (FoldTask) Kind() string { return kairos.KindFold }

// Arm plans the fold's batch when the log has moved since the last fold ended,
// and those of the subscriptions that have events to come. Cheap enough for
// every second; any number of processes may call it.
func (a *Analysis) Arm(ctx context.Context) error {
	return errors.Join(a.armFold(ctx), a.armSubscriptions(ctx))
}

func (a *Analysis) armFold(ctx context.Context) error {
	var known, moved bool
	err := a.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM batches WHERE id = $1),
		       EXISTS (SELECT FROM batches WHERE id = $1 AND state IN ('done', 'cancelled'))
		       AND EXISTS (SELECT FROM events WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
		                   AND (xid, position) > (coalesce((SELECT xid FROM event_cursors WHERE reader = $2), '0'::xid8),
		                                          coalesce((SELECT position FROM event_cursors WHERE reader = $2), 0)))`,
		kairos.MustID(foldBatch), reader).Scan(&known, &moved)
	if err != nil {
		return fmt.Errorf("look for new events: %w", err)
	}
	if known && !moved {
		return nil
	}
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if !known {
			_, err := batch.Insert(ctx, tx, batch.Batch{ID: kairos.MustID(foldBatch), Kind: kairos.KindFold, Slot: a.clock.Now()})
			return err
		}
		return batch.Rearm(ctx, tx, kairos.MustID(foldBatch), a.clock.Now())
	})
	if err != nil {
		return fmt.Errorf("plan fold: %w", err)
	}
	return nil
}

// Fold takes the log's new events in until its end, or for Options.Turn; then
// the batch is planned again at once. Between its transactions it rests as long
// as Options.Lag allows.
func (a *Analysis) Fold(ctx context.Context, task FoldTask) ([]kairos.Task, error) {
	claim, err := batch.Claim(ctx, a.pool, task.Ref, a.opts.Owner, batch.Lease)
	if claim == nil || err != nil {
		return nil, err
	}
	held, stop := batch.Keep(ctx, a.pool, task.Ref, a.opts.Owner, batch.Lease)
	defer stop()
	until := time.Now().Add(a.opts.Turn)
	for {
		began, behind := time.Now(), time.Duration(0)
		n, err := eventlog.Tail(held, a.pool, reader, eventlog.Filter{Facts: true}, a.opts.Chunk,
			func(ctx context.Context, tx pgx.Tx, events []kairos.Event) (err error) {
				if err := batch.Hold(ctx, tx, task.Ref); err != nil {
					return err
				}
				if behind, err = age(ctx, tx, &events[len(events)-1]); err != nil {
					return err
				}
				return a.fold(ctx, tx, events)
			})
		took := time.Since(began)
		switch {
		case err == nil && n < min(a.opts.Chunk, busy):
			return nil, unlessFenced(batch.Finish(ctx, a.pool, task.Ref))
		case err == nil && time.Now().Before(until):
			rest(held, pause(a.opts.Lag, behind+took, took, n == a.opts.Chunk))
		case err == nil:
			return nil, unlessFenced(batch.Defer(ctx, a.pool, task.Ref, a.clock.Now(), nil))
		case errors.Is(err, batch.ErrFenced), errors.Is(context.Cause(held), batch.ErrFenced):
			return nil, nil
		default:
			put, end := context.WithTimeout(context.WithoutCancel(ctx), batch.Lease)
			defer end()
			if derr := unlessFenced(batch.Defer(put, a.pool, task.Ref, a.clock.Now().Add(retry), err)); derr != nil {
				return nil, fmt.Errorf("fold events: %w", errors.Join(err, derr))
			}
			if ctx.Err() == nil { // a stop is no trouble
				a.opts.Log.Warn("fold put off", "stage", "analysis", "err", err)
			}
			return nil, nil
		}
	}
}

func unlessFenced(err error) error {
	if errors.Is(err, batch.ErrFenced) {
		return nil
	}
	return err
}

// Rebuild forgets all that was folded and replays the log. Reports made
// meanwhile see a part. Events in partitions that were detached are not there
// to be replayed.
func (a *Analysis) Rebuild(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		// The cursor's row first, as the fold does: it waits for us or we for it.
		if _, err := tx.Exec(ctx, `SELECT FROM event_cursors WHERE reader = $1 FOR UPDATE`, reader); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `TRUNCATE journeys, actions, rollups, arms, revenue, conversions, profiles`); err != nil {
			return err
		}
		return eventlog.Reset(ctx, tx, reader)
	})
	if err != nil {
		return fmt.Errorf("clear rollups: %w", err)
	}
	for {
		n, err := eventlog.Tail(ctx, a.pool, reader, eventlog.Filter{Facts: true}, a.opts.Chunk, a.fold)
		if err != nil {
			return fmt.Errorf("replay events: %w", err)
		}
		if n < a.opts.Chunk {
			return nil
		}
	}
}
