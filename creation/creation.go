// Package creation is the first stage: who may be written to, what is written,
// and the launch that turns both into pages of contacts.
//
// Takes: contacts (one, a batch, a streamed file), segments, templates, campaign
// specs and the actions on campaigns; the tasks [ExpandTask] and [ImportTask].
// Gives: stored rows, pages of contacts, and a plan batch for each page.
// Owns: the tables contacts, segments, templates, template_versions, campaigns,
// audience_pages, imports, import_chunks.
// Promises: the same task twice is done once; an import and an expansion resume
// wherever they were cut off; a template version and a launched campaign's spec
// never change; a row that is refused never stops its neighbours.
// Fails: with kairos.ErrInvalid naming the field (never its value), ErrNotFound,
// ErrConflict naming the state, or a wrapped Postgres error.
package creation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
)

// Options of the stage. The zero value is usable.
type Options struct {
	Owner     string // names this process in claims, unique among all that live; default host and a random id
	PageSize  int    // contacts on a page of an audience; default 10,000
	ChunkSize int    // bytes of an import stored as one chunk; default 1 MiB
	Uploads   int    // imports received at once by this process, each holds a connection; default 4
}

// Creation is the stage. It is safe for concurrent use.
type Creation struct {
	pool    *pgxpool.Pool
	clock   kairos.Clock
	opts    Options
	zones   sync.Map      // names that time.LoadLocation knows
	uploads chan struct{} // a place for each import being received
}

// New returns the stage on a pool opened by internal/pg. The caller closes the
// pool.
func New(pool *pgxpool.Pool, clock kairos.Clock, opts Options) *Creation {
	if opts.Owner == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "creation"
		}
		opts.Owner = host + "/" + kairos.NewID().String()
	}
	if opts.PageSize <= 0 {
		opts.PageSize = 10_000
	}
	if opts.ChunkSize <= 0 {
		opts.ChunkSize = 1 << 20
	}
	if opts.Uploads <= 0 {
		opts.Uploads = 4
	}
	return &Creation{pool: pool, clock: clock, opts: opts, uploads: make(chan struct{}, opts.Uploads)}
}

// zone reports whether name is an IANA zone. Only names that are get remembered.
func (c *Creation) zone(name string) bool {
	if _, ok := c.zones.Load(name); ok {
		return true
	}
	if name == "" || name == "Local" || len(name) > 64 {
		return false
	}
	if _, err := time.LoadLocation(name); err != nil {
		return false
	}
	c.zones.Store(name, struct{}{})
	return true
}

// followUp is the doorbell of a batch that a task caused.
type followUp struct {
	kairos.Ref
	kind string
}

// Kind implements kairos.Task.
func (f followUp) Kind() string { return f.kind }

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// missing turns "no rows" into ErrNotFound and wraps the rest.
func missing(err error, what string, id kairos.ID) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("%s %s: %w", what, id, kairos.ErrNotFound)
	}
	return fmt.Errorf("%s %s: %w", what, id, err)
}

// conflict returns an ErrConflict with a sentence for the caller.
func conflict(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, kairos.ErrConflict)...)
}

// page bounds a list: the limit and the id to go on after.
func page(limit int, after string) (int, kairos.ID, error) {
	if limit <= 0 {
		limit = 50
	}
	if after == "" {
		return min(limit, 1000), kairos.ID{}, nil
	}
	id, err := kairos.ParseID(after)
	if err != nil {
		return 0, id, kairos.Invalid("after", "is not a cursor of this list")
	}
	return min(limit, 1000), id, nil
}

// sqlState returns Postgres' five-letter code, or "".
func sqlState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}
