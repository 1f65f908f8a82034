package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/pg"
)

// Bounds of one call of Reconcile.
const (
	maxExpired = 200  // batches
	maxAged    = 1000 // attempts
	maxHealed  = 1000 // notifications

	sweepPeriod  = 6 // calls between looks at cancelled batches
	healPeriod   = 30 * time.Second
	warnPeriod   = time.Minute      // between reminders of a freeze
	cancelledFor = 15 * time.Minute // how far back these looks go, but for the first
	inFlightFor  = 30 * time.Second // how long a cancelled batch's last calls may take
)

// Reconcile takes up what fell silent; the leader calls it every five seconds.
// It issues sending batches again whose lease ran out (batch.Revive does so with
// all others), makes unknown what
// their holders left as sending, abandons marketing messages that have been
// unknown too long, and gives planned notifications without a batch a new one.
// Each call does a bounded amount and may be repeated or run twice at once.
func (d *Delivery) Reconcile(ctx context.Context) error {
	d.ticks.Lock()
	tick := d.ticks.n
	d.ticks.n++
	all := !d.ticks.swept
	heal := time.Since(d.ticks.lastHeal) > healPeriod
	if heal {
		d.ticks.lastHeal = time.Now()
	}
	d.ticks.Unlock()

	errs := []error{d.warnFrozen(ctx), d.unhold(ctx), d.expired(ctx), d.abandon(ctx)}
	if tick%sweepPeriod == 0 {
		err := d.cancelled(ctx, all)
		errs = append(errs, err)
		if err == nil {
			d.ticks.Lock()
			d.ticks.swept = true
			d.ticks.Unlock()
		}
	}
	if heal {
		errs = append(errs, d.heal(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("reconcile: %w", err)
	}
	if _, err := d.pool.Exec(ctx, `UPDATE delivery_state SET reconciled_at = clock_timestamp()`); err != nil {
		return fmt.Errorf("reconcile: note its end: %w", err)
	}
	return nil
}

// warnFrozen reminds the log, now and then, why nothing is sent.
func (d *Delivery) warnFrozen(ctx context.Context) error {
	f, err := d.Frozen(ctx)
	if err != nil || f == nil {
		return err
	}
	d.ticks.Lock()
	due := time.Since(d.ticks.lastWarn) > warnPeriod
	if due {
		d.ticks.lastWarn = time.Now()
	}
	d.ticks.Unlock()
	if due {
		d.opts.Log.Warn("delivery is frozen: nothing is sent until `kairos restore release`", "cause", f.Cause, "since", f.FrozenAt)
	}
	return nil
}

// expired issues batches again whose holders fell silent.
func (d *Delivery) expired(ctx context.Context) error {
	refs, err := batch.Expired(ctx, d.pool, maxExpired, kairos.KindSend, kairos.KindUrgent)
	if err != nil {
		return err
	}
	var errs []error
	for _, ref := range refs {
		err := pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error {
			ok, err := batch.Reissue(ctx, tx, ref)
			if err != nil || !ok {
				return err
			}
			return d.sweep(ctx, tx, ref)
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("take over batch %s: %w", ref.Batch, err))
		}
	}
	return errors.Join(errs...)
}

// sweep makes unknown what the holders of a batch up to an epoch left as
// sending. The caller has locked the batch and ended the epoch, so no attempt
// of it can appear any more.
func (d *Delivery) sweep(ctx context.Context, tx pgx.Tx, ref kairos.Ref) error {
	var campaign, lo, hi kairos.ID
	err := tx.QueryRow(ctx, `SELECT campaign, lo, hi FROM batches WHERE id = $1`, ref.Batch).Scan(&campaign, &lo, &hi)
	if err != nil {
		return fmt.Errorf("read batch: %w", err)
	}
	silent, err := d.openAttempts(ctx, tx, campaign,
		`a.notification BETWEEN $2 AND $3 AND a.batch = $4 AND a.epoch <= $5 AND a.state = 'sending'`, lo, hi, ref.Batch, ref.Epoch)
	if err != nil {
		return err
	}
	return d.silence(ctx, tx, campaign, silent, d.clock.Now())
}

// cancelled ends what a campaign's cancellation left: attempts of a sender
// that was killed just then, and batches that came into being just after.
func (d *Delivery) cancelled(ctx context.Context, all bool) error {
	since := cancelledFor
	if all {
		since = 10 * 365 * 24 * time.Hour
	}
	rows, err := d.pool.Query(ctx, `
		SELECT b.id, b.epoch FROM batches b
		WHERE b.state = 'cancelled' AND b.owner IS NOT NULL AND b.kind = ANY ($1)
		  AND b.finished_at BETWEEN clock_timestamp() - $2::interval AND clock_timestamp() - $3::interval
		  AND EXISTS (SELECT FROM attempts a WHERE a.campaign = b.campaign AND a.notification BETWEEN b.lo AND b.hi
		              AND a.batch = b.id AND a.state = 'sending')
		LIMIT $4`, []string{kairos.KindSend, kairos.KindUrgent}, since, inFlightFor, maxExpired)
	if err != nil {
		return fmt.Errorf("list cancelled batches: %w", err)
	}
	refs, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (ref kairos.Ref, err error) {
		err = r.Scan(&ref.Batch, &ref.Epoch)
		return ref, err
	})
	if err != nil {
		return fmt.Errorf("list cancelled batches: %w", err)
	}
	for _, ref := range refs {
		if err := pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error { return d.sweep(ctx, tx, ref) }); err != nil {
			return fmt.Errorf("end attempts of cancelled batch %s: %w", ref.Batch, err)
		}
	}
	rows, err = d.pool.Query(ctx, `
		SELECT DISTINCT b.campaign FROM batches b JOIN campaigns c ON c.id = b.campaign
		WHERE b.state IN ('planned', 'queued', 'running') AND c.state = 'cancelled' LIMIT $1`, maxExpired)
	if err != nil {
		return fmt.Errorf("list cancelled campaigns: %w", err)
	}
	campaigns, err := pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
	if err != nil {
		return fmt.Errorf("list cancelled campaigns: %w", err)
	}
	for _, c := range campaigns {
		if err := pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error { return batch.CancelCampaign(ctx, tx, c) }); err != nil {
			return err
		}
	}
	return nil
}

// abandon gives up marketing messages that have been unknown too long.
func (d *Delivery) abandon(ctx context.Context) error {
	now := d.clock.Now()
	return pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT a.campaign, a.notification, a.number, a.provider, n.contact
			FROM attempts a JOIN campaigns c ON c.id = a.campaign JOIN notifications n ON n.id = a.notification AND n.campaign = a.campaign
			WHERE a.doubtful AND a.started_at < $1 AND coalesce(c.spec ->> 'purpose', '') <> 'transactional'
			ORDER BY a.campaign, a.notification LIMIT $2 FOR UPDATE OF a SKIP LOCKED`, now.Add(-d.opts.UnknownAge), maxAged)
		if err != nil {
			return fmt.Errorf("list old unknowns: %w", err)
		}
		var groups []*endings
		var campaign kairos.ID
		end := ending{trigger: tooOld, note: kairos.StateFailed, reason: kairos.ReasonAbandoned, evidence: "age", by: facts{Actor: "system"}}
		_, err = pgx.ForEachRow(rows, []any{&campaign, &end.id, &end.number, &end.provider, &end.contact}, func() error {
			if len(groups) == 0 || groups[len(groups)-1].campaign != campaign {
				groups = append(groups, &endings{campaign: campaign, at: now})
			}
			g := groups[len(groups)-1]
			g.all = append(g.all, end)
			return nil
		})
		if err != nil {
			return fmt.Errorf("list old unknowns: %w", err)
		}
		for _, g := range groups {
			if err := d.write(ctx, tx, g, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// heal gives planned notifications that no open batch holds a batch. There
// should be none; what there is, is logged.
func (d *Delivery) heal(ctx context.Context) error {
	now := d.clock.Now()
	rows, err := d.pool.Query(ctx, `
		SELECT c.id, c.kind FROM campaigns c WHERE c.state = 'running'
		  AND NOT EXISTS (SELECT FROM batches b WHERE b.campaign = c.id AND b.state IN ('planned', 'queued', 'running'))`)
	if err != nil {
		return fmt.Errorf("list campaigns without batches: %w", err)
	}
	type idle struct {
		id   kairos.ID
		kind string
	}
	campaigns, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (c idle, err error) {
		err = r.Scan(&c.id, &c.kind)
		return c, err
	})
	if err != nil {
		return fmt.Errorf("list campaigns without batches: %w", err)
	}
	for _, c := range campaigns {
		kind, oldest := kairos.KindSend, kairos.ID{}
		if c.kind == "transactional" { // one that never ends: only the last days are looked at
			kind = kairos.KindUrgent
			oldest = floor(now.Add(-72 * time.Hour))
		}
		n, err := d.healCampaign(ctx, c.id, kind, oldest, now)
		if err != nil {
			return fmt.Errorf("heal campaign %s: %w", c.id, err)
		}
		if n > 0 {
			d.opts.Log.Warn("planned notifications had no batch", "campaign", c.id, "count", n)
		}
	}
	return nil
}

func (d *Delivery) healCampaign(ctx context.Context, campaign kairos.ID, kind string, oldest kairos.ID, now time.Time) (n int, err error) {
	id := kairos.NewID()
	err = pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error {
		var channel *string
		var lo, hi *kairos.ID
		err := tx.QueryRow(ctx, `
			WITH lost AS (
				SELECT n.id, n.campaign FROM notifications n
				WHERE n.campaign = $1 AND n.state = 'planned' AND n.id >= $2
				  AND NOT EXISTS (SELECT FROM batches b WHERE b.id = n.batch AND b.state IN ('planned', 'queued', 'running'))
				ORDER BY n.id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
			), moved AS (
				UPDATE notifications n SET batch = $4 FROM lost WHERE n.id = lost.id AND n.campaign = $1 RETURNING n.id, n.channel
			)
			SELECT count(*), min(channel), (array_agg(id ORDER BY id))[1], (array_agg(id ORDER BY id DESC))[1] FROM moved`,
			campaign, zeroID(oldest), maxHealed, id).Scan(&n, &channel, &lo, &hi)
		if err != nil || n == 0 {
			return err
		}
		_, err = batch.Insert(ctx, tx, batch.Batch{ID: id, Kind: kind, Campaign: campaign, Channel: kairos.Channel(*channel),
			Priority: priorityOf(kind), Slot: now, Lo: *lo, Hi: *hi, Size: n})
		return err
	})
	return n, err
}

// floor is the smallest version 7 id of a moment.
func floor(at time.Time) kairos.ID {
	var id kairos.ID
	ms := uint64(max(at.UnixMilli(), 0))
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}

// zeroID is an id as text: the zero ID itself would be NULL.
func zeroID(id kairos.ID) string { return id.String() }
