package creation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

// Tick is the stage's periodic work, for the leader, each second or so: it moves
// scheduled campaigns on to running when their first moment has come, running
// ones to finished when nobody is left to be written to, finished ones back to
// running when somebody is after all, and ends imports whose receiver died. It
// is cheap when there is nothing to do.
func (c *Creation) Tick(ctx context.Context) error {
	now := c.clock.Now()
	_, err := c.pool.Exec(ctx, `
		UPDATE campaigns SET state = 'running', updated_at = $1
		WHERE state = 'scheduled' AND coalesce((spec->'schedule'->>'at')::timestamptz, launched_at) <= $1`, now)
	if err != nil {
		err = fmt.Errorf("start scheduled campaigns: %w", err)
	}
	return errors.Join(err, c.reopenCampaigns(ctx, now), c.finishCampaigns(ctx, now), c.endOrphanedImports(ctx))
}

// reopenCampaigns takes finished campaigns up again that have something to send:
// an unknown attempt turned out not to have been sent (its sender had been
// stopped, or an operator says so and wants it repeated). Nobody claims a
// batch of a finished campaign, so without this the person would be forgotten.
func (c *Creation) reopenCampaigns(ctx context.Context, now time.Time) error {
	err := pg.InTx(ctx, c.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE campaigns SET state = 'running', finished_at = NULL, updated_at = $1
			WHERE state = 'finished' AND kind = 'campaign'
			  AND id IN (SELECT campaign FROM batches WHERE campaign IS NOT NULL AND state IN ('planned', 'queued', 'running'))
			RETURNING id, ticket`, now)
		if err != nil {
			return err
		}
		var events []kairos.Event
		e := kairos.Event{Kind: kairos.CampaignReopened, Key: now.Format(time.RFC3339Nano), OccurredAt: now}
		_, err = pgx.ForEachRow(rows, []any{&e.Campaign, &e.Ticket}, func() error {
			events = append(events, e)
			return nil
		})
		if err != nil || len(events) == 0 {
			return err
		}
		_, err = eventlog.Append(ctx, tx, events...)
		return err
	})
	if err != nil {
		return fmt.Errorf("reopen campaigns: %w", err)
	}
	return nil
}

// finishCampaigns ends the campaigns whose every recipient is in a final or an
// unknown state. Those that still have open batches are passed over by an index;
// the notifications of the others are looked at one campaign at a time.
func (c *Creation) finishCampaigns(ctx context.Context, now time.Time) error {
	rows, err := c.pool.Query(ctx, `
		SELECT id FROM campaigns c WHERE state = 'running' AND kind = 'campaign' AND expanded_at IS NOT NULL
		  AND NOT EXISTS (SELECT FROM batches b WHERE b.campaign = c.id AND b.state IN ('planned', 'queued', 'running'))
		ORDER BY id LIMIT 100`)
	if err != nil {
		return fmt.Errorf("list campaigns to finish: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
	if err != nil {
		return fmt.Errorf("list campaigns to finish: %w", err)
	}
	var errs []error
	for _, id := range ids {
		if err := c.finishCampaign(ctx, id, now); err != nil {
			errs = append(errs, fmt.Errorf("finish campaign %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}

func (c *Creation) finishCampaign(ctx context.Context, id kairos.ID, now time.Time) error {
	return pg.InTx(ctx, c.pool, func(tx pgx.Tx) error {
		var ticket kairos.ID
		err := tx.QueryRow(ctx, `
			UPDATE campaigns SET state = 'finished', finished_at = $2, updated_at = $2
			WHERE id = $1 AND state = 'running' AND expanded_at IS NOT NULL
			  AND NOT EXISTS (SELECT FROM batches WHERE campaign = $1 AND state IN ('planned', 'queued', 'running'))
			  AND NOT EXISTS (SELECT FROM notifications WHERE campaign = $1 AND state = 'planned')
			RETURNING ticket`, id, now).Scan(&ticket)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		_, err = eventlog.Append(ctx, tx, kairos.Event{
			Kind: kairos.CampaignFinished, OccurredAt: now, Campaign: id, Ticket: ticket,
		})
		return err
	})
}
