package migrations_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"kairos/internal/devstack"
	"kairos/internal/pg"
	"kairos/migrations"
)

func schema(files ...string) fs.FS {
	m := fstest.MapFS{}
	for i, sql := range files {
		m[fmt.Sprintf("%05d_step.sql", i+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql)}
	}
	return m
}

// emptyDatabase returns the address of a database without any table.
func emptyDatabase(t *testing.T) *pgx.ConnConfig {
	t.Helper()
	cfg, err := pgx.ParseConfig(devstack.NewEmptyDBURL(t))
	require.NoError(t, err)
	return cfg
}

func exec(t *testing.T, cfg *pgx.ConnConfig, sql string) {
	t.Helper()
	conn := dial(t, cfg)
	_, err := conn.Exec(context.Background(), sql)
	require.NoError(t, err)
}

func dial(t *testing.T, cfg *pgx.ConnConfig) *pgx.Conn {
	t.Helper()
	conn, err := pgx.ConnectConfig(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestUpGoesOnWhereItFailed(t *testing.T) {
	ctx := context.Background()
	cfg := emptyDatabase(t)
	current, latest, err := migrations.VersionFiles(ctx, cfg, schema("SELECT 1;"))
	require.NoError(t, err)
	require.EqualValues(t, 0, current, "a database without any table")
	require.EqualValues(t, 1, latest)

	broken := schema("CREATE TABLE a (n int);", "CREATE TABLE b (n int); SELECT 1/0;", "CREATE TABLE c (n int);")
	err = migrations.UpFiles(ctx, cfg, broken)
	var pgErr *pgconn.PgError
	require.ErrorAs(t, err, &pgErr)
	require.Equal(t, "22012", pgErr.Code)
	require.ErrorContains(t, err, "version:2")
	current, latest, err = migrations.VersionFiles(ctx, cfg, broken)
	require.NoError(t, err)
	require.EqualValues(t, 1, current)
	require.EqualValues(t, 3, latest)

	// The failed file left no half: b doesn't stand in its own way.
	mended := schema("CREATE TABLE a (n int);", "CREATE TABLE b (n int);", "CREATE TABLE c (n int);")
	require.NoError(t, migrations.UpFiles(ctx, cfg, mended))
	require.NoError(t, migrations.UpFiles(ctx, cfg, mended), "twice is once")
	current, _, err = migrations.VersionFiles(ctx, cfg, mended)
	require.NoError(t, err)
	require.EqualValues(t, 3, current)
}

func TestUpFromManyProcessesIsOne(t *testing.T) {
	ctx := context.Background()
	cfg := emptyDatabase(t)
	files := schema("CREATE TABLE a (n int); SELECT pg_sleep(0.2);", "INSERT INTO a VALUES (1);")
	var starters errgroup.Group
	for range 4 {
		starters.Go(func() error { return migrations.UpFiles(ctx, cfg, files) })
	}
	require.NoError(t, starters.Wait())
	var n int
	require.NoError(t, dial(t, cfg).QueryRow(ctx, `SELECT count(*) FROM a`).Scan(&n))
	require.Equal(t, 1, n)
}

func TestUpWaitsForABusyTableWithoutBlockingIt(t *testing.T) {
	ctx := context.Background()
	cfg := emptyDatabase(t)
	exec(t, cfg, `CREATE TABLE busy (n int)`)
	holder, err := dial(t, cfg).Begin(ctx)
	require.NoError(t, err)
	_, err = holder.Exec(ctx, `INSERT INTO busy VALUES (1)`)
	require.NoError(t, err)

	done := make(chan error, 1)
	go func() { done <- migrations.UpFiles(ctx, cfg, schema("ALTER TABLE busy ADD COLUMN m int;")) }()

	// While it waits, a reader behind it is served: within the lock_timeout of
	// a second, though the holder stays.
	reader := dial(t, cfg)
	require.Eventually(t, func() bool {
		var waiting bool
		err := reader.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock')`).Scan(&waiting)
		return err == nil && waiting
	}, 5*time.Second, 5*time.Millisecond)
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var n int
	require.NoError(t, reader.QueryRow(short, `SELECT count(*) FROM busy`).Scan(&n))
	select {
	case err := <-done:
		t.Fatalf("ended while the table was held: %v", err)
	default:
	}
	require.NoError(t, holder.Commit(ctx))
	require.NoError(t, <-done)
}

func TestUpObeysItsContext(t *testing.T) {
	ctx := context.Background()
	cfg := emptyDatabase(t)
	exec(t, cfg, `CREATE TABLE busy (n int)`)
	holder, err := dial(t, cfg).Begin(ctx)
	require.NoError(t, err)
	_, err = holder.Exec(ctx, `LOCK busy`)
	require.NoError(t, err)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	err = migrations.UpFiles(short, cfg, schema("ALTER TABLE busy ADD COLUMN m int;"))
	require.Truef(t, errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err), "%v", err)
	require.NoError(t, holder.Rollback(ctx))
}

func TestFilesAreNumberedWithoutGap(t *testing.T) {
	names, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for i, name := range names {
		require.True(t, strings.HasPrefix(name, fmt.Sprintf("%05d_", i+1)), name)
		raw, err := fs.ReadFile(migrations.FS, name)
		require.NoError(t, err)
		require.Contains(t, string(raw), "-- +goose Up", name)
	}
}

func TestUpMakesTheWholeSchema(t *testing.T) {
	ctx := context.Background()
	url := devstack.NewEmptyDBURL(t)
	pool, err := pg.Open(ctx, url)
	require.NoError(t, err)
	defer pool.Close()
	current, latest, err := migrations.Version(ctx, pool)
	require.NoError(t, err)
	require.Zero(t, current)
	require.NoError(t, migrations.Up(ctx, url))
	require.NoError(t, migrations.UpPool(ctx, pool))
	current, _, err = migrations.Version(ctx, pool)
	require.NoError(t, err)
	require.Equal(t, latest, current)
}
