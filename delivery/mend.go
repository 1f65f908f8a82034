package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/batch"
)

// mend follows a marking whose outcome is unclear (the connection broke in the
// commit). The batch is given back first, which waits for a commit under way
// and fences off any that is still to come; what the ledger then holds of this
// epoch beside the windows we know was opened by that marking, and we know
// that nothing of it was sent.
func (r *run) mend(v verdict) error {
	d, b := r.d, r.b
	err := d.retrying(r.ctx, func(ctx context.Context) error {
		err := batch.Defer(ctx, d.pool, b.Ref, v.later, v.cause)
		if errors.Is(err, batch.ErrFenced) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return d.retrying(r.ctx, func(ctx context.Context) error {
		e := endingsOf(b, d.clock.Now())
		rows, err := d.pool.Query(ctx, `
			SELECT notification, number FROM attempts
			WHERE campaign = $1 AND notification BETWEEN $2 AND $3 AND batch = $4 AND epoch = $5
			  AND state IN ('sending', 'unknown') AND NOT notification = ANY ($6::uuid[])`,
			b.Campaign, b.Lo, b.Hi, b.Batch, b.Epoch, r.opened)
		if err != nil {
			return fmt.Errorf("read unclear marking: %w", err)
		}
		again := kairos.NewID()
		var end ending
		_, err = pgx.ForEachRow(rows, []any{&end.id, &end.number}, func() error {
			end.trigger, end.note, end.retry = neverSent, kairos.StatePlanned, again
			end.result.Detail = "the marking's outcome was unclear"
			e.retry(again, end.id, v.later)
			e.all = append(e.all, end)
			return nil
		})
		if err != nil {
			return fmt.Errorf("read unclear marking: %w", err)
		}
		if len(e.all) == 0 {
			return nil
		}
		e.sort()
		return d.settle(ctx, e)
	})
}

// adopt brings planned notifications in line with an attempt of theirs that is
// live: one that a former holder left as sending is unknown, and what an
// attempt says its notification says. The caller holds the fence.
func (d *Delivery) adopt(ctx context.Context, tx pgx.Tx, campaign kairos.ID, ids []kairos.ID, now time.Time) error {
	silent, err := d.openAttempts(ctx, tx, campaign, `a.notification = ANY ($2::uuid[]) AND a.state = 'sending'`, ids)
	if err != nil {
		return err
	}
	if err := d.silence(ctx, tx, campaign, silent, now); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		UPDATE notifications n SET state = a.state, done_at = $3 FROM attempts a
		WHERE n.campaign = $1 AND n.id = ANY ($2::uuid[]) AND n.state = 'planned'
		  AND a.campaign = $1 AND a.notification = n.id AND a.state IN ('accepted', 'unknown')`, campaign, ids, now)
	if err != nil {
		return fmt.Errorf("adopt notifications: %w", err)
	}
	return nil
}

// openAttempts reads attempts of a campaign as endings to be decided.
func (d *Delivery) openAttempts(ctx context.Context, tx pgx.Tx, campaign kairos.ID, where string, args ...any) ([]ending, error) {
	rows, err := tx.Query(ctx, `
		SELECT a.notification, a.number, a.provider, coalesce(n.contact, '00000000-0000-0000-0000-000000000000')
		FROM attempts a LEFT JOIN notifications n ON n.id = a.notification AND n.campaign = $1
		WHERE a.campaign = $1 AND `+where+` ORDER BY a.notification FOR UPDATE OF a`, append([]any{campaign}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	var all []ending
	var end ending
	_, err = pgx.ForEachRow(rows, []any{&end.id, &end.number, &end.provider, &end.contact}, func() error {
		all = append(all, end)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	return all, nil
}

// silence makes attempts unknown whose sender fell silent.
func (d *Delivery) silence(ctx context.Context, tx pgx.Tx, campaign kairos.ID, all []ending, now time.Time) error {
	if len(all) == 0 {
		return nil
	}
	for i := range all {
		all[i].trigger, all[i].note = senderSilent, kairos.StateUnknown
		all[i].result.Detail = "the sender fell silent"
	}
	err := d.write(ctx, tx, &endings{campaign: campaign, at: now, all: all}, nil)
	return err
}
