package batch

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// Doorbell is a batch that is to be rung for.
type Doorbell struct {
	kairos.Ref
	// Ahead of others: somebody has begun it (it was put back, or its holder fell
	// silent), or it is the first of a campaign that has nothing under way.
	Ahead bool
}

// Refs returns the doorbells' batches.
func Refs(bells []Doorbell) []kairos.Ref {
	refs := make([]kairos.Ref, len(bells))
	for i, b := range bells {
		refs[i] = b.Ref
	}
	return refs
}

// Due moves up to limit planned batches of a kind whose slot has come to
// queued and returns them for ringing; window bounds how many batches of the
// kind may be queued or running at once. Campaigns take turns: the one that has
// the fewest queued or running goes first, with its oldest. Batches of campaigns
// that are not running wait. Any number of processes may call it at once.
func Due(ctx context.Context, db DB, kind string, now time.Time, window int) ([]Doorbell, error) {
	rows, err := db.Query(ctx, `
		WITH live AS MATERIALIZED (SELECT campaign FROM batches WHERE kind = $1 AND state IN ('queued', 'running')),
		oldest AS MATERIALIZED ( -- more than are wanted, so that campaigns can take turns
			SELECT id, campaign, priority, slot FROM batches b
			WHERE kind = $1 AND state = 'planned' AND slot <= $2
			  AND (campaign IS NULL OR EXISTS (SELECT FROM campaigns c WHERE c.id = b.campaign AND c.state IN ('running', 'scheduled')))
			ORDER BY slot, id LIMIT $3::int * 16
		), head AS (
			SELECT * FROM oldest
			UNION -- where one campaign's may fill all of that, the next one of each
			SELECT next.* FROM campaigns c CROSS JOIN LATERAL (
				SELECT id, campaign, priority, slot FROM batches b
				WHERE b.campaign = c.id AND b.kind = $1 AND b.state = 'planned' AND b.slot <= $2 ORDER BY b.slot, b.id LIMIT 1) next
			WHERE c.state IN ('running', 'scheduled') AND (SELECT count(*) FROM oldest) >= $3::int * 16
		), turn AS (
			SELECT id, priority, slot, coalesce(l.n, 0) + row_number() OVER (PARTITION BY campaign ORDER BY slot, id) AS turn
			FROM head LEFT JOIN (SELECT campaign, count(*) AS n FROM live GROUP BY campaign) l USING (campaign)
		), pick AS (
			SELECT b.id, t.turn = 1 AND b.campaign IS NOT NULL AS fresh
			FROM batches b JOIN turn t USING (id)
			WHERE b.state = 'planned'
			ORDER BY t.priority, t.turn, t.slot, b.id
			LIMIT greatest(0, $3::int - (SELECT count(*) FROM live))
			FOR UPDATE OF b SKIP LOCKED
		)
		UPDATE batches b SET state = 'queued', queued_at = clock_timestamp() FROM pick WHERE b.id = pick.id
		RETURNING b.id, b.epoch, b.tries > 0 OR pick.fresh`, kind, now, window)
	if err != nil {
		return nil, fmt.Errorf("queue due batches: %w", err)
	}
	bells, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (b Doorbell, err error) {
		err = r.Scan(&b.Batch, &b.Epoch, &b.Ahead)
		return b, err
	})
	if err != nil {
		return nil, fmt.Errorf("queue due batches: %w", err)
	}
	return bells, nil
}

// Next returns the first slot after now, and not after until, of a planned batch
// of any of the kinds; ok is false where there is none.
func Next(ctx context.Context, db DB, kinds []string, now, until time.Time) (slot time.Time, ok bool, err error) {
	var first *time.Time
	err = db.QueryRow(ctx, `
		SELECT min(b.slot) FROM unnest($1::text[]) AS kind CROSS JOIN LATERAL (
			SELECT slot FROM batches WHERE batches.kind = kind.kind AND state = 'planned' AND slot > $2 AND slot <= $3 ORDER BY slot LIMIT 1) b`,
		kinds, now, until).Scan(&first)
	if err != nil || first == nil {
		return slot, false, err
	}
	return *first, true, nil
}

// Requeue takes back what was queued but not claimed for longer than age (a
// doorbell may be lost with Redis): planned again under a new epoch. Zero age
// takes back everything. Returns how many.
func Requeue(ctx context.Context, db DB, age time.Duration) (int64, error) {
	tag, err := db.Exec(ctx, `
		UPDATE batches SET state = 'planned', epoch = epoch + 1
		WHERE state = 'queued' AND queued_at <= clock_timestamp() - $1::interval`, age)
	if err != nil {
		return 0, fmt.Errorf("requeue batches: %w", err)
	}
	return tag.RowsAffected(), nil
}

// Expired lists running batches of some kinds, or of all, whose lease ran out,
// oldest first.
func Expired(ctx context.Context, db DB, limit int, kinds ...string) ([]kairos.Ref, error) {
	rows, err := db.Query(ctx, `
		SELECT id, epoch FROM batches WHERE state = 'running' AND lease_until < clock_timestamp()
		  AND (cardinality($2::text[]) = 0 OR kind = ANY ($2)) ORDER BY lease_until LIMIT $1`, limit, append([]string{}, kinds...))
	if err != nil {
		return nil, fmt.Errorf("list expired batches: %w", err)
	}
	return pgx.CollectRows(rows, func(r pgx.CollectableRow) (ref kairos.Ref, err error) {
		err = r.Scan(&ref.Batch, &ref.Epoch)
		return ref, err
	})
}

// Bounds of Revive.
const (
	queuedFor  = 60 * time.Second // a doorbell that nobody heard
	maxRevived = 200              // batches a call
)

// Revive takes up what fell silent: batches of any kind that were rung for and
// not claimed within a minute, and running ones whose lease ran out, but for
// the kinds of except, whose holders leave more behind than a batch. Each
// becomes planned under a new epoch. Any number of processes may call it.
func Revive(ctx context.Context, db DB, except ...string) error {
	_, err := Requeue(ctx, db, queuedFor)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, `
		UPDATE batches b SET state = 'planned', epoch = b.epoch + 1, owner = NULL, lease_until = NULL, error = 'its holder fell silent'
		FROM (SELECT id FROM batches WHERE state = 'running' AND lease_until < clock_timestamp() AND kind <> ALL ($1)
		      ORDER BY lease_until LIMIT $2 FOR UPDATE SKIP LOCKED) e
		WHERE b.id = e.id`, append([]string{}, except...), maxRevived)
	if err != nil {
		return fmt.Errorf("revive batches: %w", err)
	}
	return nil
}

// Reissue puts an expired batch back in the caller's transaction: planned at
// once under a new epoch. false: it was extended, finished or reissued
// meanwhile. The row stays locked until the commit, so the former holder's
// Hold and Finish wait and then fail.
func Reissue(ctx context.Context, tx pgx.Tx, ref kairos.Ref) (bool, error) {
	tag, err := tx.Exec(ctx, `
		UPDATE batches SET state = 'planned', epoch = epoch + 1, owner = NULL, lease_until = NULL,
		       error = 'its holder fell silent'
		WHERE id = $1 AND epoch = $2 AND state = 'running' AND lease_until < clock_timestamp()`, ref.Batch, ref.Epoch)
	if err != nil {
		return false, fmt.Errorf("reissue batch %s: %w", ref.Batch, err)
	}
	return tag.RowsAffected() == 1, nil
}

// Unqueue takes back batches whose doorbell could not be rung: planned again
// under a new epoch.
func Unqueue(ctx context.Context, db DB, refs []kairos.Ref) error {
	ids, epochs := make([]kairos.ID, len(refs)), make([]int32, len(refs))
	for i, r := range refs {
		ids[i], epochs[i] = r.Batch, r.Epoch
	}
	_, err := db.Exec(ctx, `
		UPDATE batches b SET state = 'planned', epoch = b.epoch + 1
		FROM unnest($1::uuid[], $2::int[]) AS r(id, epoch)
		WHERE b.id = r.id AND b.epoch = r.epoch AND b.state = 'queued'`, ids, epochs)
	if err != nil {
		return fmt.Errorf("unqueue batches: %w", err)
	}
	return nil
}
