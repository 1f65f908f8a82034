package eventlog_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

var at = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func event(subject kairos.ID, kind, key string) kairos.Event {
	return kairos.Event{Kind: kind, Notification: subject, Key: key, OccurredAt: at, Data: []byte(`{"n":1}`)}
}

func write(t *testing.T, pool *pgxpool.Pool, events ...kairos.Event) (n int64) {
	t.Helper()
	require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) (err error) {
		n, err = eventlog.Append(t.Context(), tx, events...)
		return err
	}))
	return n
}

// settle waits until no transaction of the server, which other tests share,
// holds the log's readers back.
func settle(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	require.Eventually(t, func() bool {
		var settled bool
		err := pool.QueryRow(t.Context(), `SELECT coalesce(bool_and(xid < pg_snapshot_xmin(pg_current_snapshot())), true) FROM events`).Scan(&settled)
		return err == nil && settled
	}, 30*time.Second, 5*time.Millisecond)
}

func TestSameFactTwiceIsOnce(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	a, b := event(kairos.NewID(), kairos.NotificationOpened, "k"), event(kairos.NewID(), kairos.NotificationOpened, "k")
	require.EqualValues(t, 2, write(t, pool, a, b))
	require.EqualValues(t, 0, write(t, pool, a, b))
	tomorrow := a
	tomorrow.OccurredAt = at.Add(24 * time.Hour)
	require.EqualValues(t, 1, write(t, pool, tomorrow), "a log key is unique on its day")
}

// Many events are copied; one that is there already doesn't keep the others out.
func TestManyWithARepeatAmongThem(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	many := make([]kairos.Event, 1000)
	for i := range many {
		many[i] = event(kairos.NewID(), kairos.NotificationPlanned, "")
	}
	many[500].Data = nil
	require.EqualValues(t, 1, write(t, pool, many[7]))
	require.EqualValues(t, 999, write(t, pool, many...))
	require.EqualValues(t, 0, write(t, pool, many...))
	for i := range many {
		many[i] = event(kairos.NewID(), kairos.NotificationPlanned, "")
	}
	require.EqualValues(t, 1000, write(t, pool, many...))
	settle(t, pool)
	got, err := eventlog.Read(t.Context(), pool, kairos.Cursor{}, eventlog.Filter{}, 5000)
	require.NoError(t, err)
	require.Len(t, got, 2000)
}

func TestClientKeyIsUniqueForEver(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	contact := kairos.NewID()
	var total int64
	for day := range 3 {
		e := kairos.Event{Kind: kairos.PaymentReceived, Contact: contact, Key: "order-17", OccurredAt: at.Add(time.Duration(day) * 24 * time.Hour)}
		require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			n, err := eventlog.AppendKeyed(t.Context(), tx, e, e)
			total += n
			return err
		}))
	}
	require.EqualValues(t, 1, total)
	settle(t, pool)
	got, err := eventlog.Read(t.Context(), pool, kairos.Cursor{}, eventlog.Filter{}, 10)
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, at, got[0].OccurredAt)
}

// A transaction that began early and commits late must not be passed by a reader.
func TestLateCommitIsNotLost(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	early, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = eventlog.Append(t.Context(), early, event(kairos.NewID(), "a.early", ""))
	require.NoError(t, err)
	write(t, pool, event(kairos.NewID(), "a.late", ""))
	var seen []string
	collect := func(_ context.Context, _ pgx.Tx, events []kairos.Event) error {
		for _, e := range events {
			seen = append(seen, e.Kind)
		}
		return nil
	}
	_, err = eventlog.Tail(t.Context(), pool, "r", eventlog.Filter{}, 100, collect)
	require.NoError(t, err)
	require.Empty(t, seen, "nothing behind an open transaction is settled")
	require.NoError(t, early.Commit(t.Context()))
	settle(t, pool)
	_, err = eventlog.Tail(t.Context(), pool, "r", eventlog.Filter{}, 100, collect)
	require.NoError(t, err)
	require.Equal(t, []string{"a.early", "a.late"}, seen)
}

func TestTailMovesOnlyWithItsTransaction(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	for i := range 7 {
		write(t, pool, event(kairos.NewID(), fmt.Sprintf("a.e%d", i), ""))
	}
	settle(t, pool)
	boom := errors.New("crash")
	_, err := eventlog.Tail(t.Context(), pool, "r", eventlog.Filter{}, 3, func(context.Context, pgx.Tx, []kairos.Event) error { return boom })
	require.ErrorIs(t, err, boom)
	var kinds []string
	for {
		n, err := eventlog.Tail(t.Context(), pool, "r", eventlog.Filter{}, 3, func(_ context.Context, _ pgx.Tx, events []kairos.Event) error {
			for _, e := range events {
				kinds = append(kinds, e.Kind)
			}
			return nil
		})
		require.NoError(t, err)
		if n < 3 {
			break
		}
	}
	require.Equal(t, []string{"a.e0", "a.e1", "a.e2", "a.e3", "a.e4", "a.e5", "a.e6"}, kinds)
}

// What a filter leaves out is passed once, not scanned again at every turn.
func TestTailPassesWhatItsFilterLeavesOut(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	write(t, pool, event(kairos.NewID(), "a.other", ""))
	settle(t, pool)
	var seen int
	tail := func() {
		_, err := eventlog.Tail(t.Context(), pool, "r", eventlog.Filter{Kinds: []string{"a.mine"}}, 10,
			func(_ context.Context, _ pgx.Tx, events []kairos.Event) error { seen += len(events); return nil })
		require.NoError(t, err)
	}
	tail()
	var passed bool
	require.NoError(t, pool.QueryRow(t.Context(), `
		SELECT NOT EXISTS (SELECT FROM events e WHERE (e.xid, e.position) > (c.xid, c.position)) FROM event_cursors c`).Scan(&passed))
	require.True(t, passed)
	write(t, pool, event(kairos.NewID(), "a.mine", ""))
	settle(t, pool)
	tail()
	tail()
	require.Equal(t, 1, seen)
}

func TestReadResumesAtACursor(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	n := kairos.NewID()
	write(t, pool, event(n, "a.one", ""), event(n, "a.two", ""), event(kairos.NewID(), "a.three", ""))
	settle(t, pool)
	first, err := eventlog.Read(t.Context(), pool, kairos.Cursor{}, eventlog.Filter{}, 1)
	require.NoError(t, err)
	c, err := kairos.ParseCursor(first[0].Cursor.String())
	require.NoError(t, err)
	rest, err := eventlog.Read(t.Context(), pool, c, eventlog.Filter{}, 10)
	require.NoError(t, err)
	require.Len(t, rest, 2)
	mine, err := eventlog.Read(t.Context(), pool, kairos.Cursor{}, eventlog.Filter{Notification: n, Kinds: []string{"a.two"}}, 10)
	require.NoError(t, err)
	require.Len(t, mine, 1)
	head, err := eventlog.Head(t.Context(), pool)
	require.NoError(t, err)
	require.Equal(t, rest[1].Cursor, head)
}

func TestPartitionsAheadAndTheRest(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	write(t, pool, event(kairos.NewID(), "a.before", "")) // lies in the rest: its day can't be cut out any more
	made, err := eventlog.EnsurePartitions(t.Context(), pool, at, 1, 3)
	require.NoError(t, err)
	require.Positive(t, made)
	again, err := eventlog.EnsurePartitions(t.Context(), pool, at, 1, 3)
	require.NoError(t, err)
	require.Zero(t, again)
	e := event(kairos.NewID(), "a.after", "")
	e.OccurredAt = at.Add(48 * time.Hour)
	require.EqualValues(t, 1, write(t, pool, e))
	var where string
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT tableoid::regclass::text FROM events WHERE kind = 'a.after'`).Scan(&where))
	require.Equal(t, "events_20261125", where)
}
