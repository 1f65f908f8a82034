package creation

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// audience is a predicate over "contacts c" with its parameters.
type audience struct {
	where string
	args  []any
}

// skew is how far the clocks of two processes may be apart: people whom one has
// just made are there for the other.
const skew = 5 * time.Second

// audienceOf compiles who is meant at the moment now: people made later are not.
// Erased people belong to no segment and not to "all".
func audienceOf(ctx context.Context, db querier, a kairos.Audience, now time.Time) (audience, error) {
	if a.Contacts != nil {
		return audience{where: "c.id = ANY ($1)", args: []any{a.Contacts}}, nil
	}
	out := audience{where: "c.created_at <= $1", args: []any{now.Add(skew)}}
	if a.All {
		out.where += " AND c.erased_at IS NULL"
		return out, nil
	}
	s, err := readSegment(ctx, db, a.Segment)
	if err != nil {
		return out, err
	}
	p, err := compileSegment(s.Expression, now, out.args)
	if err != nil {
		return out, fmt.Errorf("compile segment %s: %w", s.ID, err)
	}
	out.where += " AND c.erased_at IS NULL AND " + p.sql
	out.args = p.args
	return out, nil
}

// param adds a parameter and returns its placeholder.
func (a *audience) param(v any) string {
	a.args = append(a.args, v)
	return fmt.Sprintf("$%d", len(a.args))
}

func (a audience) count(ctx context.Context, db querier) (n int64, err error) {
	if err := db.QueryRow(ctx, `SELECT count(*) FROM contacts c WHERE `+a.where, a.args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count audience: %w", err)
	}
	return n, nil
}

// page returns up to limit ids after the given one, ascending.
func (a audience) page(ctx context.Context, db querier, after kairos.ID, limit int) ([]kairos.ID, error) {
	where := a.where
	if !after.IsZero() {
		where += " AND c.id > " + a.param(after)
	}
	rows, err := db.Query(ctx, `SELECT c.id FROM contacts c WHERE `+where+` ORDER BY c.id LIMIT `+a.param(limit), a.args...)
	if err != nil {
		return nil, fmt.Errorf("read page of audience: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
	if err != nil {
		return nil, fmt.Errorf("read page of audience: %w", err)
	}
	return ids, nil
}
