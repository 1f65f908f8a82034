package creation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/pg"
)

// MaxBatch is how many contacts UpsertContacts takes at once.
const MaxBatch = 10_000

// UpsertContact creates the person or updates the one that is known by the
// external id, else by the address. created tells which.
func (c *Creation) UpsertContact(ctx context.Context, in ContactInput) (contact Contact, created bool, err error) {
	r, err := rowOf(in)
	if err == nil {
		err = c.checkRow(&r)
	}
	if err != nil {
		return Contact{}, false, err
	}
	err = c.writeContacts(ctx, func(tx pgx.Tx, now time.Time) error {
		out, err := upsert(ctx, tx, now, []row{r})
		if err != nil {
			return err
		}
		if out[0].reason == addressTaken {
			return conflict("%s", addressTaken)
		}
		if out[0].reason != "" {
			return kairos.Invalid("contact", out[0].reason)
		}
		created = out[0].created
		contact, err = readContact(ctx, tx, out[0].id)
		return err
	})
	return contact, created, err
}

// UpsertContacts does the same for up to MaxBatch people in their order, as one
// transaction. A refused one doesn't stop the others.
func (c *Creation) UpsertContacts(ctx context.Context, in []ContactInput) (BatchResult, error) {
	if len(in) > MaxBatch {
		return BatchResult{}, kairos.Invalid("contacts", "are more than %d", MaxBatch)
	}
	result := BatchResult{Rejected: []Rejection{}}
	rows, index := make([]row, 0, len(in)), make([]int, 0, len(in))
	reasons := make([]string, len(in))
	for i := range in {
		r, err := rowOf(in[i])
		if err == nil {
			err = c.checkRow(&r)
		}
		if err != nil {
			reasons[i] = err.Error()
			continue
		}
		rows, index = append(rows, r), append(index, i)
	}
	var out []outcome
	err := c.writeContacts(ctx, func(tx pgx.Tx, now time.Time) (err error) {
		out, err = upsert(ctx, tx, now, rows)
		return err
	})
	if err != nil {
		return BatchResult{}, err
	}
	for i, o := range out {
		switch {
		case o.reason != "":
			reasons[index[i]] = o.reason
		case o.created:
			result.Created++
		default:
			result.Updated++
		}
	}
	for i, reason := range reasons {
		if reason != "" {
			result.Rejected = append(result.Rejected, Rejection{Index: i, Error: reason})
		}
	}
	return result, nil
}

// writeContacts runs fn in a transaction, again where another writer of the
// same people came first.
func (c *Creation) writeContacts(ctx context.Context, fn func(tx pgx.Tx, now time.Time) error) error {
	for try := 1; ; try++ {
		now := c.clock.Now()
		err := pg.InTx(ctx, c.pool, func(tx pgx.Tx) error { return fn(tx, now) })
		if err == nil || try == 5 || !retryable(err) {
			if err != nil && retryable(err) {
				return fmt.Errorf("write contacts: %w: %w", kairos.ErrUnavailable, err)
			}
			return err
		}
	}
}

// Contact returns a person, also an erased one.
func (c *Creation) Contact(ctx context.Context, id kairos.ID) (Contact, error) {
	return readContact(ctx, c.pool, id)
}

// ContactQuery narrows a list of contacts; empty fields don't.
type ContactQuery struct {
	ExternalID string
	Email      string // in any case
	Limit      int    // default 50, at most 1,000
	After      string // the cursor of the list before
}

// Contacts lists people in the order they were made, and the cursor to go on
// from, "" at the end.
func (c *Creation) Contacts(ctx context.Context, q ContactQuery) ([]Contact, string, error) {
	limit, after, err := page(q.Limit, q.After)
	if err != nil {
		return nil, "", err
	}
	where, args := "($1::uuid IS NULL OR id > $1)", []any{after}
	if q.ExternalID != "" {
		args = append(args, q.ExternalID)
		where += fmt.Sprintf(" AND external_id = $%d", len(args))
	}
	if q.Email != "" {
		args = append(args, strings.ToLower(strings.TrimSpace(q.Email)))
		where += fmt.Sprintf(" AND email_key = $%d", len(args))
	}
	args = append(args, limit+1)
	rows, err := c.pool.Query(ctx, fmt.Sprintf(`SELECT %s FROM contacts WHERE %s ORDER BY id LIMIT $%d`, contactColumns, where, len(args)), args...)
	if err != nil {
		return nil, "", fmt.Errorf("list contacts: %w", err)
	}
	contacts, err := pgx.CollectRows(rows, scanContact)
	if err != nil {
		return nil, "", fmt.Errorf("list contacts: %w", err)
	}
	if len(contacts) > limit {
		return contacts[:limit], contacts[limit-1].ID.String(), nil
	}
	return contacts, "", nil
}

const contactColumns = `id, coalesce(external_id, ''), coalesce(email, ''), coalesce(phone, ''), coalesce(first_name, ''),
	coalesce(last_name, ''), coalesce(locale, ''), coalesce(timezone, ''), coalesce(region, ''), attributes, preferences,
	created_at, updated_at, erased_at`

func scanContact(r pgx.CollectableRow) (p Contact, err error) {
	var attributes []byte
	err = r.Scan(&p.ID, &p.ExternalID, &p.Email, &p.Phone, &p.FirstName, &p.LastName, &p.Locale, &p.Timezone, &p.Region,
		&attributes, &p.Preferences, &p.CreatedAt, &p.UpdatedAt, &p.ErasedAt)
	p.Attributes = attributes
	return p, err
}

func readContact(ctx context.Context, db querier, id kairos.ID) (Contact, error) {
	return lockContact(ctx, db, id, "")
}

// lockContact reads a contact with a locking clause.
func lockContact(ctx context.Context, db querier, id kairos.ID, lock string) (Contact, error) {
	rows, err := db.Query(ctx, `SELECT `+contactColumns+` FROM contacts WHERE id = $1 `+lock, id)
	if err != nil {
		return Contact{}, fmt.Errorf("read contact %s: %w", id, err)
	}
	p, err := pgx.CollectExactlyOneRow(rows, scanContact)
	if err != nil {
		return Contact{}, missing(err, "contact", id)
	}
	return p, nil
}

var errErased = fmt.Errorf("contact is erased: %w", kairos.ErrConflict)

// editContact locks a person who isn't erased and runs fn.
func (c *Creation) editContact(ctx context.Context, id kairos.ID, fn func(tx pgx.Tx, p *Contact, now time.Time) error) (p Contact, err error) {
	now := c.clock.Now()
	err = pg.InTx(ctx, c.pool, func(tx pgx.Tx) error {
		if p, err = lockContact(ctx, tx, id, "FOR NO KEY UPDATE"); err != nil {
			return err
		}
		if p.ErasedAt != nil {
			return errErased
		}
		if err := fn(tx, &p, now); err != nil {
			return err
		}
		p, err = readContact(ctx, tx, id)
		return err
	})
	if sqlState(err) == "23505" {
		return Contact{}, conflict("email or external_id belongs to another contact")
	}
	if err != nil && errors.Is(err, kairos.ErrInvalid) {
		return Contact{}, err
	}
	return p, err
}
