// Package batch keeps the units of work in Postgres. Work of any stage is cut
// into batches; a queue only rings a doorbell that names one.
//
// Takes: new batches inside the transaction of the result that caused them.
// Gives: a claim to whoever presents the right epoch first, for as long as the
// lease is extended.
// Owns: the table batches.
// Promises: at most one holder acts on a batch at a time; a holder whose lease
// ran out finds out when it tries to finish (ErrFenced); nothing here knows
// asynq or Redis.
// Fails: with wrapped Postgres errors; a batch that is stale, paused,
// cancelled or taken is not an error but "no claim".
package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kairos"
)

// ErrFenced reports that the caller no longer holds the batch: its lease ran
// out and it was issued again, or it was cancelled. Roll back and drop it.
var ErrFenced = errors.New("batch is no longer held")

// Priorities; lower goes first.
const (
	Urgent = 1
	Normal = 5
)

// Batch is one unit of work.
type Batch struct {
	ID       kairos.ID
	Kind     string
	Campaign kairos.ID // zero: not of a campaign; never held back by its state
	Channel  kairos.Channel
	Priority int16     // zero: Normal
	Slot     time.Time // domain time before which it is not queued
	Lo, Hi   kairos.ID // delivery: the notifications lo <= id <= hi
	Size     int       // recipients or rows, for balancing
	Payload  any       // marshalled as JSON; nil: none
	Ticket   kairos.ID
}

// DB is a pool, a connection or a transaction.
type DB interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Insert adds planned batches in the caller's transaction: they exist if and
// only if the result that caused them does. A batch whose ID exists already is
// left alone, so a deterministic ID makes a repeat harmless. It returns the
// references to ring after the commit.
func Insert(ctx context.Context, tx pgx.Tx, batches ...Batch) ([]kairos.Ref, error) {
	if len(batches) == 0 {
		return nil, nil
	}
	n := len(batches)
	ids, kinds, campaigns, channels := make([]kairos.ID, n), make([]string, n), make([]kairos.ID, n), make([]string, n)
	priorities, slots, los, his := make([]int16, n), make([]time.Time, n), make([]kairos.ID, n), make([]kairos.ID, n)
	sizes, payloads, tickets := make([]int32, n), make([]*string, n), make([]kairos.ID, n)
	refs := make([]kairos.Ref, n)
	for i, b := range batches {
		if b.ID.IsZero() {
			b.ID = kairos.NewID()
		}
		if b.Priority == 0 {
			b.Priority = Normal
		}
		if b.Payload != nil {
			raw, err := json.Marshal(b.Payload)
			if err != nil {
				return nil, fmt.Errorf("insert batch: marshal payload: %w", err)
			}
			s := string(raw)
			payloads[i] = &s
		}
		ids[i], kinds[i], campaigns[i], channels[i] = b.ID, b.Kind, b.Campaign, string(b.Channel)
		priorities[i], slots[i], los[i], his[i] = b.Priority, b.Slot, b.Lo, b.Hi
		sizes[i], tickets[i] = int32(b.Size), b.Ticket
		refs[i] = kairos.Ref{Batch: b.ID, Epoch: 1}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO batches (id, kind, campaign, channel, priority, slot, lo, hi, size, payload, ticket)
		SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::smallint[], $6::timestamptz[],
		                     $7::uuid[], $8::uuid[], $9::int[], $10::jsonb[], $11::uuid[])
		ON CONFLICT (id) DO NOTHING`,
		ids, kinds, campaigns, channels, priorities, slots, los, his, sizes, payloads, tickets)
	if err != nil {
		return nil, fmt.Errorf("insert batches: %w", err)
	}
	return refs, nil
}

// Claimed is a batch in the hands of its holder.
type Claimed struct {
	kairos.Ref
	Kind     string
	Campaign kairos.ID
	Channel  kairos.Channel
	Slot     time.Time
	Lo, Hi   kairos.ID
	Size     int
	Payload  json.RawMessage
	Ticket   kairos.ID
	Tries    int // this claim included
	Owner    string
}

// Into unmarshals the payload.
func (c *Claimed) Into(v any) error {
	if err := json.Unmarshal(c.Payload, v); err != nil {
		return fmt.Errorf("batch %s: read payload: %w", c.Batch, err)
	}
	return nil
}

// Claim takes the batch for owner until now + lease (machine time). It returns
// nil without error when there is nothing to do: the reference is stale, the
// batch is taken or over, or its campaign is neither running nor scheduled. owner names the
// process, unique among all that live.
func Claim(ctx context.Context, db DB, ref kairos.Ref, owner string, lease time.Duration) (*Claimed, error) {
	c := &Claimed{Ref: ref, Owner: owner}
	err := db.QueryRow(ctx, `
		UPDATE batches b SET state = 'running', owner = $3, tries = tries + 1,
		       lease_until = clock_timestamp() + $4::interval
		WHERE id = $1 AND epoch = $2 AND state = 'queued'
		  AND (campaign IS NULL OR EXISTS (SELECT FROM campaigns c WHERE c.id = b.campaign AND c.state IN ('running', 'scheduled')))
		RETURNING kind, campaign, channel, slot, lo, hi, size, payload, ticket, tries`,
		ref.Batch, ref.Epoch, owner, lease).
		Scan(&c.Kind, &c.Campaign, &c.Channel, &c.Slot, &c.Lo, &c.Hi, &c.Size, &c.Payload, &c.Ticket, &c.Tries)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("claim batch %s: %w", ref.Batch, err)
	}
	return c, nil
}

// Extend prolongs the lease; ErrFenced tells that the batch is no longer held.
func Extend(ctx context.Context, db DB, ref kairos.Ref, owner string, lease time.Duration) error {
	tag, err := db.Exec(ctx, `
		UPDATE batches SET lease_until = clock_timestamp() + $4::interval
		WHERE id = $1 AND epoch = $2 AND state = 'running' AND owner = $3`, ref.Batch, ref.Epoch, owner, lease)
	return fenced(tag, err, "extend batch", ref)
}

// Hold is the fence inside a longer transaction: it locks the batch's row, so
// that whoever issues it again waits for the commit, and fails with ErrFenced
// when it has been already.
func Hold(ctx context.Context, tx pgx.Tx, ref kairos.Ref) error {
	tag, err := tx.Exec(ctx, `
		SELECT FROM batches WHERE id = $1 AND epoch = $2 AND state = 'running' FOR NO KEY UPDATE`, ref.Batch, ref.Epoch)
	return fenced(tag, err, "hold batch", ref)
}

// Finish ends the batch in the transaction of its result.
func Finish(ctx context.Context, db DB, ref kairos.Ref) error {
	tag, err := db.Exec(ctx, `
		UPDATE batches SET state = 'done', finished_at = clock_timestamp(), lease_until = NULL
		WHERE id = $1 AND epoch = $2 AND state = 'running'`, ref.Batch, ref.Epoch)
	return fenced(tag, err, "finish batch", ref)
}

// Defer puts a running batch back: planned again under a new epoch, not before
// slot (domain time). cause is kept for the operator and may be nil.
func Defer(ctx context.Context, db DB, ref kairos.Ref, slot time.Time, cause error) error {
	tag, err := db.Exec(ctx, `
		UPDATE batches SET state = 'planned', epoch = epoch + 1, slot = $3, lease_until = NULL, owner = NULL,
		       error = coalesce($4, error)
		WHERE id = $1 AND epoch = $2 AND state = 'running'`, ref.Batch, ref.Epoch, slot, text(cause))
	return fenced(tag, err, "defer batch", ref)
}

// Rearm plans a batch that is over once more, under a new epoch: work that
// comes again and again has one row. One that is not over is left alone.
func Rearm(ctx context.Context, db DB, id kairos.ID, slot time.Time) error {
	_, err := db.Exec(ctx, `
		UPDATE batches SET state = 'planned', epoch = epoch + 1, slot = $2, tries = 0, owner = NULL,
		       lease_until = NULL, finished_at = NULL, error = NULL
		WHERE id = $1 AND state IN ('done', 'cancelled')`, id, slot)
	if err != nil {
		return fmt.Errorf("rearm batch %s: %w", id, err)
	}
	return nil
}

// CancelCampaign ends every open batch of a campaign; running ones are fenced
// off at their next step.
func CancelCampaign(ctx context.Context, tx pgx.Tx, campaign kairos.ID) error {
	_, err := tx.Exec(ctx, `
		UPDATE batches SET state = 'cancelled', epoch = epoch + 1, finished_at = clock_timestamp(), lease_until = NULL
		WHERE campaign = $1 AND state IN ('planned', 'queued', 'running')`, campaign)
	if err != nil {
		return fmt.Errorf("cancel batches of campaign %s: %w", campaign, err)
	}
	return nil
}

// TakeCancelled hands up to limit cancelled batches of notifications to the
// caller's transaction, which marks their notifications, and closes them.
// Batches that were planned for a cancelled campaign after its cancellation (a
// retry of what was in flight) are cancelled first.
func TakeCancelled(ctx context.Context, tx pgx.Tx, limit int) ([]Batch, error) {
	_, err := tx.Exec(ctx, `
		UPDATE batches b SET state = 'cancelled', epoch = epoch + 1, finished_at = clock_timestamp()
		FROM campaigns c WHERE c.id = b.campaign AND c.state = 'cancelled' AND b.state IN ('planned', 'queued')`)
	if err != nil {
		return nil, fmt.Errorf("cancel late batches: %w", err)
	}
	rows, err := tx.Query(ctx, `
		UPDATE batches SET state = 'done', error = 'cancelled' WHERE id IN (
			SELECT id FROM batches WHERE state = 'cancelled' AND lo IS NOT NULL LIMIT $1 FOR UPDATE SKIP LOCKED)
		RETURNING id, campaign, lo, hi`, limit)
	if err != nil {
		return nil, fmt.Errorf("take cancelled batches: %w", err)
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (b Batch, err error) {
		err = r.Scan(&b.ID, &b.Campaign, &b.Lo, &b.Hi)
		return b, err
	})
}

func fenced(tag pgconn.CommandTag, err error, what string, ref kairos.Ref) error {
	if err != nil {
		return fmt.Errorf("%s %s: %w", what, ref.Batch, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("%s %s: %w", what, ref.Batch, ErrFenced)
	}
	return nil
}

func text(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	return &s
}
