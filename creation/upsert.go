package creation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/pg"
)

// outcome of one row of an upsert.
type outcome struct {
	id      kairos.ID
	created bool
	reason  string // why it was refused; "": it was not
}

const addressTaken = "email belongs to another contact"

// person is what the rows of one upsert say together about one contact.
type person struct {
	row
	id    kairos.ID
	fresh bool // not stored yet
	first int  // the row that named it first
	known struct{ externalID, emailKey string }
}

// upsert stores rows as if each came alone, in their order, with a few
// statements for all: rows of one person are laid over each other, new people
// are copied in, known ones are updated where something differs. The
// transaction must be repeated when retryable(err).
func upsert(ctx context.Context, tx pgx.Tx, now time.Time, rows []row) ([]outcome, error) {
	out := make([]outcome, len(rows))
	if err := store(ctx, tx, now, rows, out); err != nil {
		return nil, err
	}
	return out, nil
}

// store upserts rows and halves what Postgres refuses until the row that it
// refuses stands alone and can be named.
func store(ctx context.Context, tx pgx.Tx, now time.Time, rows []row, out []outcome) error {
	for len(rows) > 0 {
		n := 0
		err := pg.InTx(ctx, tx, func(tx pgx.Tx) (err error) {
			n, err = pass(ctx, tx, now, rows, out)
			return err
		})
		switch {
		case err == nil:
		case !unstorable(err):
			return err
		case len(rows) == 1:
			out[0] = outcome{reason: "holds a value that can't be stored"}
			return nil
		default:
			n = len(rows) / 2
			if err := store(ctx, tx, now, rows[:n], out[:n]); err != nil {
				return err
			}
		}
		rows, out = rows[n:], out[n:]
	}
	return nil
}

// insertNew stores rows that are likely to be new people without looking for
// them first: the unique indexes tell. It stores all of them or, where a row
// names somebody who is known or shares a name with another row (an address that
// one gives up may be known) or can't be stored, none: then out is nil.
func insertNew(ctx context.Context, tx pgx.Tx, now time.Time, rows []row) ([]outcome, error) {
	out := make([]outcome, len(rows))
	s := newSorting(now, nil, len(rows))
	for i := range rows {
		if !s.add(&rows[i], i, out) || len(s.people) == i {
			return nil, nil
		}
	}
	err := pg.InTx(ctx, tx, func(tx pgx.Tx) error { return copyContacts(ctx, tx, now, s.people) })
	switch {
	case err == nil:
		return out, nil
	case sqlState(err) == "23505", unstorable(err):
		return nil, nil
	}
	return nil, err
}

// unstorable: data exceptions and program limits are the row's fault.
func unstorable(err error) bool {
	state := sqlState(err)
	return strings.HasPrefix(state, "22") || strings.HasPrefix(state, "54")
}

// retryable: another transaction wrote the same people; the next try sees them.
func retryable(err error) bool {
	switch sqlState(err) {
	case "23505", "40001", "40P01":
		return true
	}
	return false
}

// pass stores rows up to the first that needs to see what its forerunners did
// to the unique addresses, and returns how many those are, at least one.
func pass(ctx context.Context, tx pgx.Tx, now time.Time, rows []row, out []outcome) (int, error) {
	known, err := lookUp(ctx, tx, rows)
	if err != nil {
		return 0, err
	}
	s := newSorting(now, known, len(rows))
	n := 0
	for n < len(rows) && s.add(&rows[n], n, out) {
		n++
	}
	if err := copyContacts(ctx, tx, now, s.people); err != nil {
		return 0, err
	}
	if err := updateContacts(ctx, tx, now, s.people); err != nil {
		return 0, err
	}
	return n, nil
}

type knownContact struct {
	id                   kairos.ID
	externalID, emailKey string
}

// lookUp finds the stored people that rows name by external id or address.
func lookUp(ctx context.Context, tx pgx.Tx, rows []row) ([]knownContact, error) {
	externals, emails := make([]string, 0, len(rows)), make([]string, 0, len(rows))
	for i := range rows {
		if v := rows[i].fields[fieldExternalID]; v != "" {
			externals = append(externals, v)
		}
		if v := rows[i].emailKey; v != "" {
			emails = append(emails, v)
		}
	}
	if len(rows) > 100 { // so many names look dearer to a planner than all of the table
		if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
			return nil, fmt.Errorf("look up contacts: %w", err)
		}
	}
	found, err := tx.Query(ctx, `
		SELECT id, coalesce(external_id, ''), coalesce(email_key, '') FROM contacts WHERE external_id = ANY ($1)
		UNION
		SELECT id, coalesce(external_id, ''), coalesce(email_key, '') FROM contacts WHERE email_key = ANY ($2)`, externals, emails)
	if err != nil {
		return nil, fmt.Errorf("look up contacts: %w", err)
	}
	known, err := pgx.CollectRows(found, func(r pgx.CollectableRow) (k knownContact, err error) {
		err = r.Scan(&k.id, &k.externalID, &k.emailKey)
		return k, err
	})
	if err != nil {
		return nil, fmt.Errorf("look up contacts: %w", err)
	}
	return known, nil
}

// sorting lays rows on people.
type sorting struct {
	people     []*person
	byExternal map[string]*person
	byEmail    map[string]*person
	freed      map[string]bool // addresses given up within this pass
	ids        kairos.IDRange
}

func newSorting(now time.Time, known []knownContact, n int) *sorting {
	s := &sorting{
		byExternal: make(map[string]*person, n), byEmail: make(map[string]*person, n),
		people: make([]*person, 0, n), ids: kairos.NewIDRange(now),
	}
	for _, k := range known {
		p := &person{id: k.id, first: -1}
		p.known.externalID, p.known.emailKey = k.externalID, k.emailKey
		if k.externalID != "" {
			s.byExternal[k.externalID] = p
		}
		if k.emailKey != "" {
			s.byEmail[k.emailKey] = p
		}
	}
	return s
}

// add lays row i on its person. false: it must wait for the next pass.
func (s *sorting) add(r *row, i int, out []outcome) bool {
	external := r.fields[fieldExternalID]
	var p, holder *person
	if external != "" {
		p = s.byExternal[external]
	}
	if r.emailKey != "" {
		if s.freed[r.emailKey] {
			return false
		}
		holder = s.byEmail[r.emailKey]
	}
	switch {
	case p == nil && holder == nil:
		p = &person{row: *r, id: s.ids.Nth(len(s.people)), fresh: true, first: i}
		p.known.externalID, p.known.emailKey = external, r.emailKey
		s.people = append(s.people, p)
		s.index(p)
		out[i] = outcome{id: p.id, created: true}
		return true
	case p == nil:
		if external != "" && holder.known.externalID != "" {
			out[i] = outcome{reason: addressTaken}
			return true
		}
		p = holder
	case holder != nil && holder != p:
		out[i] = outcome{reason: addressTaken}
		return true
	}
	if r.emailKey != "" && p.known.emailKey != "" && p.known.emailKey != r.emailKey {
		if s.freed == nil {
			s.freed = map[string]bool{}
		}
		s.freed[p.known.emailKey] = true
	}
	if p.first < 0 {
		p.first, p.row = i, *r
		s.people = append(s.people, p)
	} else {
		for f, v := range r.fields {
			if v != "" {
				p.fields[f] = v
			}
		}
		if r.emailKey != "" {
			p.row.emailKey = r.emailKey
		}
		p.mergeAttributes(r)
	}
	if external != "" {
		p.known.externalID = external
	}
	if r.emailKey != "" {
		p.known.emailKey = r.emailKey
	}
	s.index(p)
	out[i] = outcome{id: p.id}
	return true
}

func (s *sorting) index(p *person) {
	if p.known.externalID != "" {
		s.byExternal[p.known.externalID] = p
	}
	if p.known.emailKey != "" {
		s.byEmail[p.known.emailKey] = p
	}
}
