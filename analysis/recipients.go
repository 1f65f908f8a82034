package analysis

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// db is a pool or a transaction.
type db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// recipient is who a notification is for and how it was decided.
type recipient struct {
	notification, campaign, contact kairos.ID
	arm                             kairos.Arm
	channel                         kairos.Channel
	model                           *int // timing model that chose the hour; nil: none did
	plannedAt                       time.Time
}

// recipients looks notifications up. campaigns may name each one's campaign,
// the zero ID where it is unknown; that spares the search in every month. A
// wrong campaign costs a second look and does no harm.
func recipients(ctx context.Context, q db, ids, campaigns []kairos.ID) (map[kairos.ID]recipient, error) {
	found := make(map[kairos.ID]recipient, len(ids))
	err := eachRecipient(ctx, q, ids, campaigns, func(r *recipient) { found[r.notification] = *r })
	return found, err
}

// eachRecipient is recipients for one who keeps them elsewhere.
func eachRecipient(ctx context.Context, q db, ids, campaigns []kairos.ID, each func(*recipient)) error {
	if len(ids) == 0 {
		return nil
	}
	var r recipient
	found := make(map[kairos.ID]bool, len(ids))
	collect := func(sql string, args ...any) error {
		rows, err := q.Query(ctx, sql, args...)
		if err == nil {
			_, err = pgx.ForEachRow(rows, []any{&r.notification, &r.campaign, &r.contact, (*string)(&r.arm), (*string)(&r.channel), &r.model, &r.plannedAt}, func() error {
				if !found[r.notification] {
					found[r.notification] = true
					each(&r)
				}
				return nil
			})
		}
		if err != nil {
			return fmt.Errorf("look up notifications: %w", err)
		}
		return nil
	}
	// Both columns of the key, and a limit: a look-up for each, whatever the
	// planner believes. Asked for a campaign's rows with a list of ids, a plan made
	// while the partition was small reads all of the campaign each time; a join may
	// read and sort the whole partition.
	err := collect(`
		SELECT n.* FROM unnest($1::uuid[], $2::uuid[]) AS u(id, campaign) CROSS JOIN LATERAL (
			SELECT n.id, n.campaign, n.contact, n.arm, n.channel, n.model, n.planned_at
			FROM notifications n WHERE n.id = u.id AND n.campaign = u.campaign LIMIT 1) n`, ids, campaigns)
	if err != nil {
		return err
	}
	var rest []kairos.ID
	for _, id := range ids {
		if !found[id] {
			rest = append(rest, id)
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return collect(`SELECT id, campaign, contact, arm, channel, model, planned_at FROM notifications WHERE id = ANY ($1)`, rest)
}

// contactsByExternalID resolves the names clients have for people.
func contactsByExternalID(ctx context.Context, q db, names []string) (map[string]kairos.ID, error) {
	found := make(map[string]kairos.ID, len(names))
	if len(names) == 0 {
		return found, nil
	}
	rows, err := q.Query(ctx, `SELECT external_id, id FROM contacts WHERE external_id = ANY ($1)`, names)
	if err != nil {
		return nil, fmt.Errorf("look up contacts: %w", err)
	}
	var name string
	var id kairos.ID
	_, err = pgx.ForEachRow(rows, []any{&name, &id}, func() error {
		found[name] = id
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up contacts: %w", err)
	}
	return found, nil
}

// contactsExist returns which of the ids are contacts.
func contactsExist(ctx context.Context, q db, ids []kairos.ID) (map[kairos.ID]bool, error) {
	found := make(map[kairos.ID]bool, len(ids))
	if len(ids) == 0 {
		return found, nil
	}
	rows, err := q.Query(ctx, `SELECT id FROM contacts WHERE id = ANY ($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("look up contacts: %w", err)
	}
	var id kairos.ID
	_, err = pgx.ForEachRow(rows, []any{&id}, func() error {
		found[id] = true
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look up contacts: %w", err)
	}
	return found, nil
}
