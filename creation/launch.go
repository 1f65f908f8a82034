package creation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/eventlog"
)

// lead is how long before its first moment a campaign's audience is cut.
const lead = 15 * time.Minute

// start is the first moment of a schedule launched at now.
func start(s kairos.Schedule, now time.Time) time.Time {
	if s.At != nil && s.At.After(now) {
		return *s.At
	}
	return now
}

// Launch fixes a draft's content and audience and sets it going. A campaign that
// is going already is returned as it is.
func (c *Creation) Launch(ctx context.Context, id kairos.ID, ticket kairos.Ticket) (Campaign, error) {
	now := c.clock.Now()
	return c.act(ctx, id, ticket, now, action{
		verb: "launched", from: []string{kairos.Draft}, done: []string{kairos.Scheduled, kairos.Running}, kind: kairos.CampaignLaunched,
		do: func(ctx context.Context, tx pgx.Tx, p *Campaign, ticket kairos.ID) error {
			if err := p.stillTimely(now); err != nil {
				return err
			}
			version, err := c.checkReferences(ctx, tx, &p.Spec)
			if err != nil {
				return err
			}
			a, err := audienceOf(ctx, tx, p.Spec.Audience, now)
			if err != nil {
				return err
			}
			size, err := a.count(ctx, tx)
			if err != nil {
				return err
			}
			first := start(p.Spec.Schedule, now)
			state, slot := kairos.Running, first.Add(-lead)
			if first.After(now) {
				state = kairos.Scheduled
			}
			if slot.Before(now) {
				slot = now
			}
			_, err = tx.Exec(ctx, `
				UPDATE campaigns SET state = $2, template_version = $3, audience_size = $4, ticket = $5, launched_at = $6, updated_at = $6
				WHERE id = $1`, id, state, version, size, ticket, now)
			if err != nil {
				return fmt.Errorf("launch campaign %s: %w", id, err)
			}
			_, err = batch.Insert(ctx, tx, batch.Batch{
				Kind: kairos.KindExpand, Campaign: id, Slot: slot, Payload: expandPayload{}, Ticket: ticket,
			})
			return err
		},
	})
}

// stillTimely refuses a draft whose times have passed since it was made.
func (p *Campaign) stillTimely(now time.Time) error {
	if at := p.Spec.Schedule.At; at != nil && at.Add(time.Duration(p.Spec.Schedule.Window)).Before(now) {
		return kairos.Invalid("schedule.at", "has passed by more than the window")
	}
	if p.Spec.Latest != nil && !p.Spec.Latest.After(now) {
		return kairos.Invalid("latest", "must lie in the future")
	}
	return nil
}

// Pause stops a campaign: nothing more of it is claimed until it is resumed.
func (c *Creation) Pause(ctx context.Context, id kairos.ID, ticket kairos.Ticket) (Campaign, error) {
	now := c.clock.Now()
	return c.act(ctx, id, ticket, now, action{
		verb: "paused", from: []string{kairos.Scheduled, kairos.Running}, done: []string{kairos.Paused}, kind: kairos.CampaignPaused,
		do: func(ctx context.Context, tx pgx.Tx, _ *Campaign, _ kairos.ID) error {
			return setState(ctx, tx, id, kairos.Paused, now)
		},
	})
}

// Resume lets a paused campaign go on.
func (c *Creation) Resume(ctx context.Context, id kairos.ID, ticket kairos.Ticket) (Campaign, error) {
	now := c.clock.Now()
	return c.act(ctx, id, ticket, now, action{
		verb: "resumed", from: []string{kairos.Paused}, done: []string{kairos.Scheduled, kairos.Running}, kind: kairos.CampaignResumed,
		do: func(ctx context.Context, tx pgx.Tx, p *Campaign, _ kairos.ID) error {
			state := kairos.Running
			if p.Kind == KindCampaign && start(p.Spec.Schedule, now).After(now) {
				state = kairos.Scheduled
			}
			return setState(ctx, tx, id, state, now)
		},
	})
}

// Cancel ends a campaign: what has not been sent never will be.
func (c *Creation) Cancel(ctx context.Context, id kairos.ID, ticket kairos.Ticket) (Campaign, error) {
	now := c.clock.Now()
	return c.act(ctx, id, ticket, now, action{
		verb: "cancelled", from: []string{kairos.Draft, kairos.Scheduled, kairos.Running, kairos.Paused},
		done: []string{kairos.Cancelled}, kind: kairos.CampaignCancelled,
		do: func(ctx context.Context, tx pgx.Tx, _ *Campaign, _ kairos.ID) error {
			if err := setState(ctx, tx, id, kairos.Cancelled, now); err != nil {
				return err
			}
			return batch.CancelCampaign(ctx, tx, id)
		},
	})
}

// action is one edge of the state machine.
type action struct {
	verb string   // past participle, for the error
	from []string // states it may be taken in
	done []string // states in which a repeat finds nothing to do
	kind string   // of the event
	do   func(ctx context.Context, tx pgx.Tx, p *Campaign, ticket kairos.ID) error
}

func (c *Creation) act(ctx context.Context, id kairos.ID, ticket kairos.Ticket, now time.Time, a action) (Campaign, error) {
	return c.inCampaignTx(ctx, func(tx pgx.Tx) (Campaign, error) {
		p, err := readCampaign(ctx, tx, id, "FOR NO KEY UPDATE")
		if err != nil {
			return Campaign{}, err
		}
		if slices.Contains(a.done, p.State) {
			return p, nil
		}
		if !slices.Contains(a.from, p.State) {
			return Campaign{}, conflict("campaign is %s, cannot be %s", p.State, a.verb)
		}
		ticket = completeTicket(ticket, &p.Spec, now)
		if err := eventlog.PutTicket(ctx, tx, ticket); err != nil {
			return Campaign{}, err
		}
		if err := a.do(ctx, tx, &p, ticket.ID); err != nil {
			return Campaign{}, err
		}
		_, err = eventlog.Append(ctx, tx, kairos.Event{
			Kind: a.kind, Key: kairos.NewID().String(), OccurredAt: now, Campaign: id, Ticket: ticket.ID,
		})
		if err != nil {
			return Campaign{}, err
		}
		return readCampaign(ctx, tx, id, "")
	})
}

func setState(ctx context.Context, tx pgx.Tx, id kairos.ID, state string, now time.Time) error {
	_, err := tx.Exec(ctx, `
		UPDATE campaigns SET state = $2, updated_at = $3, finished_at = CASE WHEN $2 = 'cancelled' THEN $3 ELSE finished_at END
		WHERE id = $1`, id, state, now)
	if err != nil {
		return fmt.Errorf("set state of campaign %s: %w", id, err)
	}
	return nil
}
