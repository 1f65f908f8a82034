package migrations_test

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
	"kairos/migrations"
)

// longestBlock is what a write may have to wait while a migration runs: the
// lock_timeout of a second, and room for a busy machine.
const longestBlock = 2500 * time.Millisecond

// load is what processes of the version before keep writing: contacts,
// notifications, attempts and their outcomes, events.
type load struct {
	pool     *pgxpool.Pool
	campaign kairos.ID
	stop     chan struct{}
	workers  sync.WaitGroup

	rounds  atomic.Int64
	repeats atomic.Int64 // writes that failed and went through later
	longest atomic.Int64 // nanoseconds
	lost    atomic.Value // an error that no repetition mended
}

func startLoad(pool *pgxpool.Pool, workers int) *load {
	l := &load{pool: pool, campaign: kairos.NewID(), stop: make(chan struct{})}
	for range workers {
		l.workers.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
				}
				l.round()
			}
		})
	}
	return l
}

// round writes one message's life, each step until it holds.
func (l *load) round() {
	contact, id, batch := kairos.NewID(), kairos.NewID(), kairos.NewID()
	now := time.Now().UTC()
	l.write(func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO contacts (id, email, email_key, created_at, updated_at) VALUES ($1, $2, $2, $3, $3) ON CONFLICT (id) DO UPDATE SET updated_at = $3`,
			contact, contact.String()+"@town.example", now)
		return err
	})
	l.write(func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO notifications (id, campaign, contact, batch, channel, state, arm, propensity, planned_at, decided_at)
			VALUES ($1, $2, $3, $4, 'email', 'planned', 'all', 1, $5, $5) ON CONFLICT DO NOTHING`, id, l.campaign, contact, batch, now)
		return err
	})
	l.write(func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO attempts (notification, number, campaign, batch, epoch, provider, state, started_at)
			VALUES ($1, 1, $2, $3, 1, 'smtp', 'sending', $4) ON CONFLICT DO NOTHING`, id, l.campaign, batch, now)
		return err
	})
	l.write(func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `UPDATE attempts SET state = 'accepted', ended_at = $3 WHERE notification = $1 AND campaign = $2`, id, l.campaign, now); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE notifications SET state = 'accepted', done_at = $3 WHERE id = $1 AND campaign = $2`, id, l.campaign, now); err != nil {
			return err
		}
		return l.events(ctx, tx, kairos.NotificationSent, id, contact, now)
	})
	l.write(func(ctx context.Context, tx pgx.Tx) error {
		return l.events(ctx, tx, kairos.NotificationClicked, id, contact, now)
	})
	l.rounds.Add(1)
}

func (l *load) events(ctx context.Context, tx pgx.Tx, kind string, id, contact kairos.ID, at time.Time) error {
	_, err := eventlog.Append(ctx, tx, kairos.Event{Kind: kind, Key: "1", OccurredAt: at, Campaign: l.campaign, Contact: contact, Notification: id})
	return err
}

// write repeats what fails, as the stages do, for at most ten seconds.
func (l *load) write(fn func(context.Context, pgx.Tx) error) {
	deadline := time.Now().Add(10 * time.Second)
	for {
		began := time.Now()
		err := pg.InTx(context.Background(), l.pool, func(tx pgx.Tx) error { return fn(context.Background(), tx) })
		took := time.Since(began).Nanoseconds()
		for old := l.longest.Load(); took > old && !l.longest.CompareAndSwap(old, took); old = l.longest.Load() {
		}
		if err == nil {
			return
		}
		l.repeats.Add(1)
		if time.Now().After(deadline) {
			l.lost.Store(err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// end stops the load and asserts that every write of it is there.
func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.workers.Wait()
	require.Nil(t, l.lost.Load(), "a write failed for good")
	n := l.rounds.Load()
	var contacts, accepted, notes, events int64
	require.NoError(t, l.pool.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM contacts), (SELECT count(*) FROM attempts WHERE state = 'accepted'),
		       (SELECT count(*) FROM notifications WHERE state = 'accepted'), (SELECT count(*) FROM events)`).Scan(&contacts, &accepted, &notes, &events))
	require.Equal(t, []int64{n, n, n, 2 * n}, []int64{contacts, accepted, notes, events})
	t.Logf("%d rounds of 5 writes, %d repeated, the longest write took %s", n, l.repeats.Load(), time.Duration(l.longest.Load()).Round(time.Millisecond))
	require.LessOrEqual(t, time.Duration(l.longest.Load()), longestBlock, "the load was blocked")
}

// filesUntil returns the first n migrations, and more.
func filesUntil(t *testing.T, n int, more ...string) fs.FS {
	t.Helper()
	names, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)
	m := fstest.MapFS{}
	for _, name := range names[:n] {
		raw, err := fs.ReadFile(migrations.FS, name)
		require.NoError(t, err)
		m[path.Base(name)] = &fstest.MapFile{Data: raw}
	}
	for i, sql := range more {
		m[fmt.Sprintf("%05d_next.sql", n+1+i)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql)}
	}
	return m
}

// TestMigrateUnderWrites: the newest migration, and then one that changes every
// busy table, run while processes of the version before write on, and while a
// long report holds a lock. No write fails for good, none is lost, and none
// waits much longer than the lock_timeout.
func TestMigrateUnderWrites(t *testing.T) {
	ctx := t.Context()
	names, err := fs.Glob(migrations.FS, "*.sql")
	require.NoError(t, err)
	url := devstack.NewEmptyDBURL(t)
	cfg, err := pgx.ParseConfig(url)
	require.NoError(t, err)
	require.NoError(t, migrations.UpFiles(ctx, cfg, filesUntil(t, len(names)-1)))
	pool, err := pg.Open(ctx, url, pg.WithMaxConns(8))
	require.NoError(t, err)
	defer pool.Close()
	_, err = eventlog.EnsurePartitions(ctx, pool, time.Now(), 1, 2)
	require.NoError(t, err)

	l := startLoad(pool, 4)
	written := func(more int64) {
		t.Helper()
		goal := l.rounds.Load() + more
		require.Eventually(t, func() bool { return l.rounds.Load() >= goal }, 30*time.Second, 5*time.Millisecond)
	}
	written(50)
	require.NoError(t, migrations.UpFiles(ctx, cfg, filesUntil(t, len(names))))
	written(50)

	// A report holds the locks of a reader for longer than the lock_timeout.
	report, err := dial(t, cfg).Begin(ctx)
	require.NoError(t, err)
	_, err = report.Exec(ctx, `SELECT count(*) FROM attempts, LATERAL (SELECT count(*) FROM notifications) n, LATERAL (SELECT count(*) FROM contacts) c`)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		done <- migrations.UpFiles(ctx, cfg, filesUntil(t, len(names), `
			ALTER TABLE contacts ADD COLUMN next text;
			ALTER TABLE notifications ADD COLUMN next text;
			ALTER TABLE attempts ADD COLUMN next text;
			ALTER TABLE events ADD COLUMN next text;`))
	}()
	time.Sleep(3500 * time.Millisecond) // more than three times the lock_timeout
	select {
	case err := <-done:
		t.Fatalf("it ended while the report held its locks: %v", err)
	default:
	}
	written(10) // beside the report and the waiting migration
	require.NoError(t, report.Commit(ctx))
	require.NoError(t, <-done)
	written(50)
	l.end(t)
}
