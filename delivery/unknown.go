package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/pg"
)

// Choices of an operator about an unknown attempt.
const (
	ChooseAccepted = "accepted" // it did leave: count it as sent
	ChooseAbandon  = "abandoned"
	ChooseResend   = "resend_forced" // send again, knowing that the person may get it twice
)

// UnknownAttempt is an attempt whose fate is open.
type UnknownAttempt struct {
	Ref       kairos.AttemptRef `json:"-"`
	Attempt   string            `json:"attempt"` // Ref as text
	Campaign  kairos.ID         `json:"campaign"`
	Contact   kairos.ID         `json:"contact"`
	Purpose   string            `json:"purpose"`
	Provider  string            `json:"provider"`
	StartedAt time.Time         `json:"started_at"`
	Code      string            `json:"code,omitempty"`
	Detail    string            `json:"detail,omitempty"`
}

// UnknownQuery narrows Unknowns; zero fields don't.
type UnknownQuery struct {
	Campaign kairos.ID
	Limit    int    // default 100, at most 1000
	After    string // next of the page before
}

// Unknowns lists attempts whose fate is open, by notification.
func (d *Delivery) Unknowns(ctx context.Context, q UnknownQuery) (list []UnknownAttempt, next string, err error) {
	after, err := cursor(q.After)
	if err != nil {
		return nil, "", err
	}
	limit := pageSize(q.Limit)
	rows, err := d.pool.Query(ctx, `
		SELECT a.notification, a.number, a.campaign, n.contact, coalesce(c.spec ->> 'purpose', 'marketing'), a.provider, a.started_at,
		       coalesce(a.code, ''), coalesce(a.detail, '')
		FROM attempts a JOIN notifications n ON n.id = a.notification AND n.campaign = a.campaign JOIN campaigns c ON c.id = a.campaign
		WHERE a.doubtful AND ($1::uuid IS NULL OR a.campaign = $1) AND a.notification > $2
		ORDER BY a.notification LIMIT $3`, q.Campaign, zeroID(after), limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list unknown attempts: %w", err)
	}
	list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (u UnknownAttempt, err error) {
		err = r.Scan(&u.Ref.Notification, &u.Ref.Number, &u.Campaign, &u.Contact, &u.Purpose, &u.Provider, &u.StartedAt, &u.Code, &u.Detail)
		u.Attempt = u.Ref.String()
		return u, err
	})
	if err != nil {
		return nil, "", fmt.Errorf("list unknown attempts: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].Ref.Notification.String()
	}
	return list, next, nil
}

// Resolve settles an unknown attempt by a person's choice, which is logged
// with the actor and the reason. A marketing message is sent again only with a
// reason given. An attempt that is not unknown is kairos.ErrConflict.
func (d *Delivery) Resolve(ctx context.Context, ref kairos.AttemptRef, choice, actor, reason string) error {
	end := ending{id: ref.Notification, number: ref.Number, evidence: "operator", by: facts{Actor: short(actor), Reason: short(reason)}}
	switch choice {
	case ChooseAccepted:
		end.trigger, end.note = operatorAccepts, kairos.StateAccepted
	case ChooseAbandon:
		end.trigger, end.note, end.reason = operatorAbandons, kairos.StateFailed, kairos.ReasonAbandoned
	case ChooseResend:
		end.trigger, end.note = operatorResends, kairos.StatePlanned
	default:
		return kairos.Invalid("choice", "must be accepted, abandoned or resend_forced")
	}
	if actor == "" {
		return kairos.Invalid("actor", "must name who decides")
	}
	err := pg.InTx(ctx, byIndex{d}, func(tx pgx.Tx) error {
		var state, purpose, kind, channel string
		e := &endings{at: d.clock.Now()}
		err := tx.QueryRow(ctx, `
			SELECT a.campaign, a.state, a.provider, n.contact, n.channel, coalesce(c.spec ->> 'purpose', ''), c.kind
			FROM attempts a JOIN notifications n ON n.id = a.notification AND n.campaign = a.campaign JOIN campaigns c ON c.id = a.campaign
			WHERE a.notification = $1 AND a.number = $2 FOR UPDATE OF a`, ref.Notification, ref.Number).
			Scan(&e.campaign, &state, &end.provider, &end.contact, &channel, &purpose, &kind)
		if errors.Is(err, pgx.ErrNoRows) {
			return kairos.ErrNotFound
		}
		if err != nil {
			return err
		}
		if state != kairos.AttemptUnknown {
			return fmt.Errorf("it is %s: %w", state, kairos.ErrConflict)
		}
		e.channel, e.kind = kairos.Channel(channel), kairos.KindSend
		if kind == "transactional" {
			e.kind = kairos.KindUrgent
		}
		if choice == ChooseResend {
			if purpose != "transactional" && reason == "" {
				return kairos.Invalid("reason", "must say why a marketing message is sent again")
			}
			end.retry = kairos.NewID()
			e.retry(end.retry, end.id, e.at)
		}
		e.all = []ending{end}
		err = d.write(ctx, tx, e, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("resolve attempt %s: %w", ref, err)
	}
	return nil
}
