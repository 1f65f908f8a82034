package pg_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos/internal/devstack"
	"kairos/internal/pg"
)

func TestLost(t *testing.T) {
	for _, err := range []error{
		&pgconn.PgError{Code: "57P01"}, &pgconn.PgError{Code: "57P02"}, &pgconn.PgError{Code: "57P03"},
		io.ErrUnexpectedEOF, net.ErrClosed, &net.OpError{Op: "write", Err: syscall.EPIPE}, fmt.Errorf("read: %w", syscall.ECONNRESET),
	} {
		require.True(t, pg.Lost(err), "%v", err)
	}
	for _, err := range []error{
		nil, context.Canceled, context.DeadlineExceeded, syscall.ECONNREFUSED,
		&pgconn.PgError{Code: "57014"}, &pgconn.PgError{Code: "57P05"}, &pgconn.PgError{Code: "25P03"}, &pgconn.PgError{Code: "40001"},
	} {
		require.False(t, pg.Lost(err), "%v", err)
	}
}

// TestOneDeadConnectionTellsOfAll: idle connections are dropped, but not again
// and again, nor for a statement that was cancelled.
func TestOneDeadConnectionTellsOfAll(t *testing.T) {
	ctx := t.Context()
	pool, err := pg.Open(ctx, devstack.NewDBURL(t))
	require.NoError(t, err)
	defer pool.Close()
	dropped := pg.LastDrop(pool)
	fill := func() {
		var held [4]*pgxpool.Conn
		for i := range held {
			held[i], err = pool.Acquire(ctx)
			require.NoError(t, err)
		}
		for _, c := range held {
			c.Release()
		}
		require.EqualValues(t, 4, pool.Stat().IdleConns())
	}
	fill()
	short, cancel := context.WithCancel(ctx)
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = pool.Exec(short, `SELECT pg_sleep(10)`)
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, dropped.Load())

	fill()
	end := func() { // of the connection it runs on
		_, err := pool.Exec(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
		require.True(t, pg.Lost(err), "%v", err)
	}
	end()
	require.Zero(t, pool.Stat().IdleConns())
	last := dropped.Load()
	require.NotZero(t, last)

	fill()
	dropped.Store(last + int64(1<<40)) // a moment ago, however slow the machine
	end()
	require.EqualValues(t, 3, pool.Stat().IdleConns())
	dropped.Store(last - int64(time.Second))
	end()
	require.Zero(t, pool.Stat().IdleConns())
}
