// Package migrations holds Kairos' schema as numbered, forward-only SQL and
// brings a database up to it.
//
// Takes: a connection URL or a pool.
// Gives: Up, UpPool and Version; FS, the files themselves.
// Owns: the table goose_db_version.
// Promises: each file runs once, in its own transaction; of any number of
// processes that start together one migrates and the others wait (a Postgres
// session lock); a migration waits at most a second for a table's lock and
// then lets the traffic behind it pass before it tries again.
// Fails: with the file's name and Postgres' own message; what ran before the
// failed file stays, and the next Up goes on from there.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// FS holds the SQL files, in the root directory.
//
//go:embed *.sql
var FS embed.FS

const (
	lockTimeout = "1000" // milliseconds, see Promises
	attempts    = 10     // tries of a migration that met a held lock
	firstPause  = 100 * time.Millisecond
	lockNotHad  = "55P03" // lock_not_available
	deadlock    = "40P01" // deadlock_detected
)

// Up applies every migration that the database at url lacks.
func Up(ctx context.Context, url string) error {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("read postgres url: %w", err)
	}
	return up(ctx, cfg, FS)
}

// UpPool is Up for the database of a pool. It opens a connection of its own
// with the pool's address and credentials: a migration has other time-outs.
func UpPool(ctx context.Context, pool *pgxpool.Pool) error {
	return up(ctx, pool.Config().ConnConfig, FS)
}

// Version returns the number of the last migration applied (0 for an empty
// database) and that of the last one known to this program.
func Version(ctx context.Context, pool *pgxpool.Pool) (current, latest int64, err error) {
	return version(ctx, pool.Config().ConnConfig, FS)
}

func up(ctx context.Context, cfg *pgx.ConnConfig, files fs.FS) error {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := upOnce(ctx, cfg, files)
		if err == nil {
			return nil
		}
		if !heldUp(err) || attempt == attempts {
			return fmt.Errorf("migrate database: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("migrate database: %w", errors.Join(ctx.Err(), err))
		case <-time.After(pause):
		}
		pause = min(2*pause, 5*time.Second)
	}
}

func heldUp(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == lockNotHad || pgErr.Code == deadlock)
}

func upOnce(ctx context.Context, cfg *pgx.ConnConfig, files fs.FS) (err error) {
	p, err := open(cfg, files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	_, err = p.Up(ctx)
	return err
}

func version(ctx context.Context, cfg *pgx.ConnConfig, files fs.FS) (current, latest int64, err error) {
	for _, name := range mustGlob(files) {
		n, err := goose.NumericComponent(name)
		if err != nil {
			return 0, 0, fmt.Errorf("number migration %s: %w", name, err)
		}
		latest = max(latest, n)
	}
	db := connect(cfg)
	defer func() { err = errors.Join(err, db.Close()) }()
	// Read by hand: goose's own GetVersions would create its table.
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&current)
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "42P01" { // undefined_table
		return 0, latest, nil
	}
	if err != nil {
		return 0, latest, fmt.Errorf("read schema version: %w", err)
	}
	return current, latest, nil
}

func open(cfg *pgx.ConnConfig, files fs.FS) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600)) // each second for ten minutes
	if err != nil {
		return nil, fmt.Errorf("make session lock: %w", err)
	}
	db := connect(cfg)
	p, err := goose.NewProvider(goose.DialectPostgres, db, files,
		goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read migrations: %w", err), db.Close())
	}
	return p, nil
}

func connect(cfg *pgx.ConnConfig) *sql.DB {
	cfg = cfg.Copy()
	cfg.RuntimeParams["application_name"] = "kairos migrate"
	cfg.RuntimeParams["lock_timeout"] = lockTimeout
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	cfg.RuntimeParams["timezone"] = "UTC"
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	return stdlib.OpenDB(*cfg)
}

func mustGlob(files fs.FS) []string {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		panic(err) // only a malformed pattern fails
	}
	return names
}
