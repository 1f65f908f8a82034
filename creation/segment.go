package creation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// Segment is a named expression over contacts; see compileSegment for the language.
type Segment struct {
	ID         kairos.ID `json:"id"`
	Name       string    `json:"name"`
	Expression string    `json:"expression"`
	CreatedAt  time.Time `json:"created_at"`
}

// CreateSegment checks the expression and stores it. Errors name the position
// and the reason.
func (c *Creation) CreateSegment(ctx context.Context, name, expression string) (Segment, error) {
	name = strings.TrimSpace(name)
	if name == "" {
		return Segment{}, kairos.Invalid("name", "must not be empty")
	}
	if len(name) > maxName {
		return Segment{}, kairos.Invalid("name", "is longer than %d bytes", maxName)
	}
	if err := checkText("name", name); err != nil {
		return Segment{}, err
	}
	now := c.clock.Now()
	if _, err := compileSegment(expression, now, nil); err != nil {
		return Segment{}, err
	}
	s := Segment{ID: kairos.NewIDAt(now), Name: name, Expression: expression, CreatedAt: now}
	_, err := c.pool.Exec(ctx, `INSERT INTO segments (id, name, expression, created_at) VALUES ($1, $2, $3, $4)`,
		s.ID, s.Name, s.Expression, s.CreatedAt)
	if err != nil {
		return Segment{}, fmt.Errorf("insert segment: %w", err)
	}
	return c.Segment(ctx, s.ID)
}

// Segment returns a segment.
func (c *Creation) Segment(ctx context.Context, id kairos.ID) (Segment, error) {
	return readSegment(ctx, c.pool, id)
}

// Segments lists segments in the order they were made, and the cursor to go on
// from, "" at the end.
func (c *Creation) Segments(ctx context.Context, limit int, after string) ([]Segment, string, error) {
	limit, from, err := page(limit, after)
	if err != nil {
		return nil, "", err
	}
	rows, err := c.pool.Query(ctx, `
		SELECT id, name, expression, created_at FROM segments WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2`, from, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list segments: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanSegment)
	if err != nil {
		return nil, "", fmt.Errorf("list segments: %w", err)
	}
	if len(list) > limit {
		return list[:limit], list[limit-1].ID.String(), nil
	}
	return list, "", nil
}

// CountSegment counts the people a segment holds now.
func (c *Creation) CountSegment(ctx context.Context, id kairos.ID) (int64, error) {
	a, err := audienceOf(ctx, c.pool, kairos.Audience{Segment: id}, c.clock.Now())
	if err != nil {
		return 0, err
	}
	return a.count(ctx, c.pool)
}

func scanSegment(r pgx.CollectableRow) (s Segment, err error) {
	err = r.Scan(&s.ID, &s.Name, &s.Expression, &s.CreatedAt)
	return s, err
}

func readSegment(ctx context.Context, db querier, id kairos.ID) (Segment, error) {
	rows, err := db.Query(ctx, `SELECT id, name, expression, created_at FROM segments WHERE id = $1`, id)
	if err != nil {
		return Segment{}, fmt.Errorf("read segment %s: %w", id, err)
	}
	s, err := pgx.CollectExactlyOneRow(rows, scanSegment)
	if err != nil {
		return Segment{}, missing(err, "segment", id)
	}
	return s, nil
}
