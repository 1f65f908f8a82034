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

// hookPage is how many events of the log a turn reads at once.
const hookPage = 500

// DistributeTask is the doorbell of one subscription: its batch has its id.
type DistributeTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (DistributeTask) Kind() string { return kairos.KindDistribute }

// armSubscriptions plans the batches of subscriptions that have events to
// come and whose pause is over.
func (a *Analysis) armSubscriptions(ctx context.Context) error {
	now := a.clock.Now()
	rows, err := a.pool.Query(ctx, `
		SELECT s.id, s.xid::text::bigint, s.position, b.id IS NOT NULL FROM subscriptions s LEFT JOIN batches b ON b.id = s.id
		WHERE s.state = 'active' AND s.next_at <= $1 AND (b.id IS NULL OR b.state IN ('done', 'cancelled'))`, now)
	if err != nil {
		return fmt.Errorf("look for subscriptions: %w", err)
	}
	type idle struct {
		id    kairos.ID
		at    kairos.Cursor
		known bool
	}
	idles, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (s idle, err error) {
		var xid int64
		err = r.Scan(&s.id, &xid, &s.at.Position, &s.known)
		s.at.XID = uint64(xid)
		return s, err
	})
	if err != nil || len(idles) == 0 {
		return wrap("look for subscriptions", err)
	}
	head, err := eventlog.Head(ctx, a.pool)
	if err != nil {
		return fmt.Errorf("look for subscriptions: %w", err)
	}
	return wrap("plan subscriptions", pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		for _, s := range idles {
			var err error
			switch {
			case !before(s.at, head):
			case s.known:
				err = batch.Rearm(ctx, tx, s.id, now)
			default:
				_, err = batch.Insert(ctx, tx, batch.Batch{ID: s.id, Kind: kairos.KindDistribute, Slot: now})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Distribute posts the log's new events to one subscription, in the log's
// order, one at a time, until the log's end, a failure, or for Options.Turn
// (a post under way is awaited). No transaction is open during a post; the
// place in the log moves after it, so a post whose holder died is repeated
// with the same webhook-id.
func (a *Analysis) Distribute(ctx context.Context, task DistributeTask) ([]kairos.Task, error) {
	claim, err := batch.Claim(ctx, a.pool, task.Ref, a.opts.Owner, batch.Lease)
	if claim == nil || err != nil {
		return nil, err
	}
	held, stop := batch.Keep(ctx, a.pool, task.Ref, a.opts.Owner, batch.Lease)
	defer stop()
	err = a.turn(held, task.Ref)
	if err == nil || errors.Is(err, batch.ErrFenced) || errors.Is(context.Cause(held), batch.ErrFenced) {
		return nil, nil
	}
	slot, cause := a.clock.Now(), error(nil)
	if ctx.Err() == nil { // else the process stops: somebody else goes on at once
		slot, cause = slot.Add(retry), err
		a.opts.Log.Warn("web hook put off", "stage", "analysis", "subscription", task.Batch, "err", err)
	}
	put, end := context.WithTimeout(context.WithoutCancel(ctx), batch.Lease)
	defer end()
	if derr := unlessFenced(batch.Defer(put, a.pool, task.Ref, slot, cause)); derr != nil {
		return nil, fmt.Errorf("distribute events: %w", errors.Join(err, derr))
	}
	return nil, nil
}

// turn works on one subscription and ends its batch, unless it returns an
// error.
func (a *Analysis) turn(held context.Context, ref kairos.Ref) error {
	until := time.Now().Add(a.opts.Turn)
	s, err := a.Subscription(held, ref.Batch)
	if errors.Is(err, kairos.ErrNotFound) || err == nil && (s.State != SubscriptionActive || s.NextAt.After(a.clock.Now())) {
		return batch.Finish(held, a.pool, ref)
	}
	if err != nil {
		return err
	}
	for {
		events, next, err := a.Events(held, EventQuery{After: s.cursor, Limit: hookPage})
		if err != nil {
			return err
		}
		at := s.cursor
		wanted := make([]kairos.Event, 0, len(events))
		for i := range events {
			if s.wants(events[i].Kind) {
				wanted = append(wanted, events[i])
			}
		}
		behind := map[kairos.ID]background{}
		if len(wanted) > 0 {
			if behind, err = a.backgrounds(held, wanted); err != nil {
				return err
			}
		}
		for i := range wanted {
			e := &wanted[i]
			if !time.Now().Before(until) {
				return batch.Defer(held, a.pool, ref, a.clock.Now(), nil)
			}
			o := a.post(held, &s, e, behind[e.ID])
			if held.Err() != nil && !o.delivered() { // cut off here: nothing the receiver did
				return context.Cause(held)
			}
			goOn, err := a.settle(context.WithoutCancel(held), ref, &s, e, o)
			if err != nil || !goOn {
				return err
			}
			at = e.Cursor
		}
		if before(at, next) {
			same, err := a.pass(held, ref, &s, next)
			if err != nil {
				return err
			}
			if !same { // changed or removed meanwhile: begin anew with what it is now
				return batch.Finish(held, a.pool, ref)
			}
		}
		switch {
		case len(events) < hookPage:
			return batch.Finish(held, a.pool, ref)
		case !time.Now().Before(until):
			return batch.Defer(held, a.pool, ref, a.clock.Now(), nil)
		}
	}
}

// pass moves the subscription's place over events it did not ask for, unless
// somebody changed what it asks for.
func (a *Analysis) pass(ctx context.Context, ref kairos.Ref, s *Subscription, to kairos.Cursor) (same bool, err error) {
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if err := batch.Hold(ctx, tx, ref); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `UPDATE subscriptions SET xid = $2::text::xid8, position = $3 WHERE id = $1 AND version = $4`,
			s.ID, fmt.Sprint(to.XID), to.Position, s.version)
		same = tag.RowsAffected() == 1
		return err
	})
	s.cursor = to
	return same, wrap("move place of subscription", err)
}

// settle writes down what became of a post, and reports whether the turn goes
// on. When it does not, the batch has ended.
func (a *Analysis) settle(ctx context.Context, ref kairos.Ref, s *Subscription, e *kairos.Event, o outcome) (goOn bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, batch.Lease)
	defer cancel()
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		if err := batch.Hold(ctx, tx, ref); err != nil {
			return err
		}
		d := o.delivery(e)
		var to *kairos.Cursor
		if o.delivered() {
			to = &e.Cursor
		}
		version, err := a.record(ctx, tx, s.ID, &d, to)
		if errors.Is(err, pgx.ErrNoRows) { // removed meanwhile
			return batch.Finish(ctx, tx, ref)
		}
		if err != nil {
			return err
		}
		if !o.delivered() {
			if err := a.fail(ctx, tx, s.ID, d.Number, o); err != nil {
				return err
			}
			return batch.Finish(ctx, tx, ref)
		}
		s.cursor = e.Cursor
		if goOn = version == s.version; !goOn { // somebody changed it: begin anew with what it is now
			return batch.Finish(ctx, tx, ref)
		}
		return nil
	})
	return goOn, wrap("settle web hook", err)
}

// fail counts a failure: the next attempt waits, or there is none any more.
func (a *Analysis) fail(ctx context.Context, tx pgx.Tx, id kairos.ID, number int64, o outcome) error {
	now := a.clock.Now()
	var failures int
	var since time.Time
	err := tx.QueryRow(ctx, `
		UPDATE subscriptions SET failures = failures + 1, failing_since = coalesce(failing_since, $2)
		WHERE id = $1 RETURNING failures, failing_since`, id, now).Scan(&failures, &since)
	if err != nil {
		return err
	}
	reason := ""
	switch {
	case o.gone():
		reason = receiverGone
	case now.Sub(since) >= a.opts.Patience:
		reason = receiverFailing
	}
	if reason == "" {
		_, err = tx.Exec(ctx, `UPDATE subscriptions SET next_at = $2 WHERE id = $1`, id, now.Add(max(pauseAfter(id, failures), o.after)))
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE subscriptions SET state = 'disabled', reason = $2, updated_at = $3 WHERE id = $1 AND state = 'active'`, id, reason, now); err != nil {
		return err
	}
	_, err = eventlog.Append(ctx, tx, kairos.Event{Kind: subscriptionDisabled, Subject: id, Key: fmt.Sprint(number), OccurredAt: now,
		Data: []byte(`{"reason":"` + reason + `"}`)})
	a.opts.Log.Warn("web hook disabled", "stage", "analysis", "subscription", id, "reason", reason)
	return err
}
