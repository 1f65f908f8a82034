package orchestration

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/pg"
)

// Sweep marks what had been planned of cancelled campaigns as cancelled, batch
// by batch. A notification whose attempt is in flight is left to its outcome.
func (o *Orchestration) Sweep(ctx context.Context) error {
	for {
		var swept int
		err := pg.InTx(ctx, o.pool, func(tx pgx.Tx) error {
			cancelled, err := batch.TakeCancelled(ctx, tx, 50)
			if err != nil {
				return err
			}
			swept = len(cancelled)
			ids, campaigns := make([]kairos.ID, swept), make([]kairos.ID, swept)
			los, his := make([]kairos.ID, swept), make([]kairos.ID, swept)
			for i, b := range cancelled {
				ids[i], campaigns[i], los[i], his[i] = b.ID, b.Campaign, b.Lo, b.Hi
			}
			_, err = tx.Exec(ctx, `
				UPDATE notifications n SET state = 'cancelled', reason = 'cancelled', done_at = $5
				FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS b(id, campaign, lo, hi)
				WHERE n.campaign = b.campaign AND n.id BETWEEN b.lo AND b.hi AND n.batch = b.id AND n.state = 'planned'
				  AND NOT EXISTS (SELECT FROM attempts a WHERE a.notification = n.id AND a.campaign = n.campaign AND a.live)`,
				ids, campaigns, los, his, o.clock.Now())
			return err
		})
		if err != nil {
			return fmt.Errorf("sweep cancelled campaigns: %w", err)
		}
		if swept == 0 {
			return nil
		}
	}
}
