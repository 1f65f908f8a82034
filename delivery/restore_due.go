package delivery

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/pg"
)

// decideChunk is how many notifications one transaction decides about.
const decideChunk = 5000

// decideDue makes unknown, or skips, a campaign's notifications that are still
// planned and were due at a moment; nil: all of them. Each transaction does a
// chunk and counts it, so a repeat goes on with the rest.
func (d *Delivery) decideDue(ctx context.Context, freeze, campaign kairos.ID, at *time.Time, due string) error {
	after := kairos.ID{}
	for {
		var last kairos.ID
		err := pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error {
			n, end, err := d.decideSome(ctx, tx, campaign, after, at, due)
			if err != nil || end.IsZero() {
				return err
			}
			last = end
			_, err = tx.Exec(ctx, `
				UPDATE freezes SET doubtful = doubtful + CASE WHEN due = 'unknown' THEN $2 ELSE 0 END,
				       skipped = skipped + CASE WHEN due = 'skip' THEN $2 ELSE 0 END WHERE id = $1`, freeze, n)
			return err
		})
		if err != nil {
			return fmt.Errorf("decide about due notifications: %w", err)
		}
		if last.IsZero() {
			return nil
		}
		after = last
	}
}

// decideSome decides about the next chunk after a place and returns how many
// it decided about and the last one it looked at.
func (d *Delivery) decideSome(ctx context.Context, tx pgx.Tx, campaign, after kairos.ID, at *time.Time, due string) (n int, last kairos.ID, err error) {
	if due == DueSkip {
		return d.skipSome(ctx, tx, campaign, after, at)
	}
	now := d.clock.Now()
	rows, err := tx.Query(ctx, `
		WITH due AS MATERIALIZED (
			SELECT n.id, n.contact, n.batch FROM notifications n
			WHERE n.campaign = $1 AND n.id > $2 AND n.state = 'planned' AND ($3::timestamptz IS NULL OR n.planned_at <= $3)
			ORDER BY n.id LIMIT $4 FOR UPDATE
		), opened AS (
			INSERT INTO attempts (notification, number, campaign, batch, epoch, provider, state, started_at)
			SELECT d.id, 1 + coalesce((SELECT max(a.number) FROM attempts a WHERE a.notification = d.id AND a.campaign = $1), 0),
			       $1, coalesce(d.batch, d.id), 0, 'restored', 'sending', $5 FROM due d
			ON CONFLICT DO NOTHING
			RETURNING notification, number
		)
		SELECT d.id, d.contact, coalesce(o.number, 0) FROM due d LEFT JOIN opened o ON o.notification = d.id ORDER BY d.id`,
		campaign, zeroID(after), at, decideChunk, now)
	if err != nil {
		return 0, last, err
	}
	var all []ending
	end := ending{provider: "restored", trigger: senderSilent, note: kairos.StateUnknown}
	end.result.Detail = "it was due before the database was restored"
	_, err = pgx.ForEachRow(rows, []any{&end.id, &end.contact, &end.number}, func() error {
		last = end.id
		if end.number > 0 { // else a live attempt speaks for it
			all = append(all, end)
		}
		return nil
	})
	if err != nil || len(all) == 0 {
		return 0, last, err
	}
	if err := d.write(ctx, tx, &endings{campaign: campaign, at: now, all: all}, nil); err != nil {
		return 0, last, err
	}
	return len(all), last, d.alreadyWitnessed(ctx, tx, campaign, all, now)
}

// alreadyWitnessed settles what has just become unknown and has been heard of
// before: the events that came in while delivery was frozen, or that the
// backup held already.
func (d *Delivery) alreadyWitnessed(ctx context.Context, tx pgx.Tx, campaign kairos.ID, all []ending, now time.Time) error {
	ids := make([]kairos.ID, len(all))
	byID := make(map[kairos.ID]ending, len(all))
	for i, e := range all {
		ids[i], byID[e.id] = e.id, e
	}
	rows, err := tx.Query(ctx, `
		SELECT e.subject, min(e.kind) FROM events e WHERE e.subject = ANY ($1::uuid[]) AND e.kind = ANY ($2) GROUP BY 1 ORDER BY 1`, ids, evidence)
	if err != nil {
		return fmt.Errorf("look for evidence: %w", err)
	}
	var seen []ending
	var id kairos.ID
	var kind string
	_, err = pgx.ForEachRow(rows, []any{&id, &kind}, func() error {
		e := byID[id]
		e.trigger, e.note, e.evidence, e.result = evidenceSeen, kairos.StateAccepted, kind, Result{}
		seen = append(seen, e)
		return nil
	})
	if err != nil {
		return fmt.Errorf("look for evidence: %w", err)
	}
	return d.write(ctx, tx, &endings{campaign: campaign, at: now, all: seen}, nil)
}

func (d *Delivery) skipSome(ctx context.Context, tx pgx.Tx, campaign, after kairos.ID, at *time.Time) (n int, last kairos.ID, err error) {
	now := d.clock.Now()
	rows, err := tx.Query(ctx, `
		UPDATE notifications n SET state = 'skipped', reason = $5, done_at = $6 FROM (
			SELECT id FROM notifications p WHERE campaign = $1 AND id > $2 AND state = 'planned' AND ($3::timestamptz IS NULL OR planned_at <= $3)
			  AND NOT EXISTS (SELECT FROM attempts a WHERE a.notification = p.id AND a.campaign = $1 AND a.live)
			ORDER BY id LIMIT $4 FOR UPDATE) d
		WHERE n.id = d.id AND n.campaign = $1
		RETURNING n.id, n.contact`, campaign, zeroID(after), at, decideChunk, string(reasonRestored), now)
	if err != nil {
		return 0, last, err
	}
	e := endings{campaign: campaign, at: now}
	var events []kairos.Event
	var id, contact kairos.ID
	_, err = pgx.ForEachRow(rows, []any{&id, &contact}, func() error {
		if bytes.Compare(last[:], id[:]) < 0 {
			last = id
		}
		events = append(events, e.skippedEvent(id, contact, reasonRestored))
		return nil
	})
	if err != nil {
		return 0, last, err
	}
	return len(events), last, d.write(ctx, tx, &e, events)
}

// unhold decides about the people of campaigns that were being planned when
// delivery froze, as soon as all of them are planned, and lets these campaigns
// go on. Which of these people had been planned and written to before the loss
// the restored database can't tell, so all of them are treated as due. The
// reconciler calls it.
func (d *Delivery) unhold(ctx context.Context) error {
	rows, err := d.pool.Query(ctx, `
		SELECT f.id, c.id, f.due FROM freezes f CROSS JOIN LATERAL unnest(f.held) AS h(id) JOIN campaigns c ON c.id = h.id
		WHERE f.due IS NOT NULL AND f.due <> 'send' AND (c.state IN ('cancelled', 'finished', 'failed') OR NOT `+beingPlanned+`)`)
	if err != nil {
		return fmt.Errorf("list held campaigns: %w", err)
	}
	type held struct {
		freeze, campaign kairos.ID
		due              string
	}
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (h held, err error) {
		err = r.Scan(&h.freeze, &h.campaign, &h.due)
		return h, err
	})
	if err != nil {
		return fmt.Errorf("list held campaigns: %w", err)
	}
	for _, h := range all {
		if err := d.decideDue(ctx, h.freeze, h.campaign, nil, h.due); err != nil {
			return fmt.Errorf("campaign %s: %w", h.campaign, err)
		}
		if _, err := d.pool.Exec(ctx, `UPDATE freezes SET held = array_remove(held, $2) WHERE id = $1`, h.freeze, h.campaign); err != nil {
			return fmt.Errorf("let campaign %s go on: %w", h.campaign, err)
		}
	}
	return nil
}
