package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
	"kairos/internal/content"
)

// templates holds the compiled template versions in use. A version never
// changes, so an entry never grows stale; when there are too many, an
// arbitrary one goes.
type templates struct {
	mu      sync.Mutex
	entries map[version]*compiled
}

type version struct {
	template kairos.ID
	number   int32
}

// compiled is filled once by whoever comes first; the others wait.
type compiled struct {
	mu      sync.Mutex
	content *content.Content
}

const maxTemplates = 128

// get returns the compiled content of a template version. A template that
// can't be compiled is kairos.ErrPermanent.
func (t *templates) get(ctx context.Context, pool *pgxpool.Pool, template kairos.ID, number int32) (*content.Content, error) {
	key := version{template, number}
	t.mu.Lock()
	e := t.entries[key]
	if e == nil {
		if t.entries == nil {
			t.entries = map[version]*compiled{}
		}
		for old := range t.entries {
			if len(t.entries) < maxTemplates {
				break
			}
			delete(t.entries, old)
		}
		e = &compiled{}
		t.entries[key] = e
	}
	t.mu.Unlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.content != nil {
		return e.content, nil
	}
	var src content.Source
	err := pool.QueryRow(ctx, `SELECT subject, html, text FROM template_versions WHERE template = $1 AND version = $2`, template, number).
		Scan(&src.Subject, &src.HTML, &src.Text)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("template %s version %d: %w", template, number, errors.Join(kairos.ErrNotFound, kairos.ErrPermanent))
	}
	if err != nil {
		return nil, fmt.Errorf("read template %s version %d: %w", template, number, err)
	}
	c, err := content.Compile(src)
	if err != nil {
		return nil, fmt.Errorf("compile template %s version %d: %w: %w", template, number, kairos.ErrPermanent, err)
	}
	e.content = c
	return c, nil
}
