package pg

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Lost reports whether a statement ended because the server went away: it said
// so (57P01 to 57P03) or the connection broke. What the statement did is then
// unknown; one that only reads may be repeated.
func Lost(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		return said.Code == "57P01" || said.Code == "57P02" || said.Code == "57P03"
	}
	for _, broken := range [...]error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

// lossBreak is how long connections are left alone after they were dropped.
const lossBreak = time.Second

// watch drops all idle connections of a pool when one of them is found dead:
// after a restart of the server each of the others would cost a statement too.
type watch struct {
	pool atomic.Pointer[pgxpool.Pool]
	last atomic.Int64 // Unix time in ns of the last drop
}

// end is told how a statement ended. An error that left the connection open
// came from elsewhere, from the source of a COPY for example.
func (w *watch) end(conn *pgx.Conn, err error) {
	if err == nil || !conn.IsClosed() || !Lost(err) {
		return
	}
	now, last := time.Now().UnixNano(), w.last.Load()
	pool := w.pool.Load()
	if pool == nil || now-last < int64(lossBreak) || !w.last.CompareAndSwap(last, now) {
		return
	}
	pool.Reset() // those in use are closed when they come back
}

// TraceQueryStart implements pgx.QueryTracer, for queries and pings.
func (w *watch) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (w *watch) TraceQueryEnd(_ context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	w.end(conn, data.Err)
}

// TraceBatchStart implements pgx.BatchTracer.
func (w *watch) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (w *watch) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (w *watch) TraceBatchEnd(_ context.Context, conn *pgx.Conn, data pgx.TraceBatchEndData) {
	w.end(conn, data.Err)
}

// TraceCopyFromStart implements pgx.CopyFromTracer.
func (w *watch) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	return ctx
}

// TraceCopyFromEnd implements pgx.CopyFromTracer.
func (w *watch) TraceCopyFromEnd(_ context.Context, conn *pgx.Conn, data pgx.TraceCopyFromEndData) {
	w.end(conn, data.Err)
}
