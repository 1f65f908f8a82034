package orchestration

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

// NotifyInput is one transactional message.
type NotifyInput struct {
	Campaign kairos.ID      // the transactional campaign of its purpose, template and month
	Contact  kairos.ID      // whom
	Key      string         // the message's own key: the same key twice is one message. Empty: made up
	Data     map[string]any // values for the template
}

// Notify plans one message for now, ahead of campaigns. created is false when
// the key was known; the earlier notification's id is returned then. A person
// who can't be written to gets a skipped notification with its reason.
func (o *Orchestration) Notify(ctx context.Context, in NotifyInput, ticket kairos.Ticket) (id kairos.ID, created bool, err error) {
	c, err := o.campaign(ctx, in.Campaign)
	if err != nil {
		return id, false, err
	}
	now := o.clock.Now()
	c.start = now
	c.spec.Schedule = kairos.Schedule{Mode: kairos.ModeNow}
	c.experiment.Experiment = sharesOf(&c.spec, 0)
	people, err := o.people(ctx, c, `SELECT $1::uuid AS id`, in.Contact)
	if err != nil {
		return id, false, err
	}
	p := &people[0]
	if p.missing {
		return id, false, fmt.Errorf("contact %s: %w", in.Contact, kairos.ErrNotFound)
	}
	data, err := json.Marshal(in.Data)
	if err != nil {
		return id, false, kairos.Invalid("data", "is no JSON object")
	}
	if in.Key == "" {
		in.Key = kairos.NewID().String()
	}
	loc, known := o.zones.find(p.zone)
	r := row{contact: p.id, decision: decide(c, p, loc, known, now)}
	rows := []row{r}
	batches := cut(c, rows, 1, ticket.ID)
	for i := range batches {
		batches[i].Kind, batches[i].Priority = kairos.KindUrgent, batch.Urgent
	}
	err = pg.InTx(ctx, o.pool, func(tx pgx.Tx) error {
		created = false
		if !ticket.ID.IsZero() {
			if err := eventlog.PutTicket(ctx, tx, ticket); err != nil {
				return err
			}
			c.ticket = ticket.ID
		}
		tag, err := tx.Exec(ctx, `
			INSERT INTO notifications (id, campaign, contact, step, batch, channel, state, reason, arm, propensity, eligible,
			                           slot, zone, planned_at, decided_at, model, data)
			VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17) ON CONFLICT (campaign, contact, step) DO NOTHING`,
			rows[0].values(c.id, in.Key, now, data)...)
		if err != nil {
			return fmt.Errorf("insert notification: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return tx.QueryRow(ctx, `SELECT id FROM notifications WHERE campaign = $1 AND contact = $2 AND step = $3`,
				c.id, p.id, in.Key).Scan(&id)
		}
		id, created = rows[0].id, true
		if _, err := eventlog.Append(ctx, tx, eventsOf(c, rows, now)...); err != nil {
			return err
		}
		_, err = batch.Insert(ctx, tx, batches...)
		return err
	})
	if err != nil {
		return kairos.ID{}, false, fmt.Errorf("plan message: %w", err)
	}
	return id, created, nil
}
