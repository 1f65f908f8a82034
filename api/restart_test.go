package api

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

// TestReadsAfterARestartOfPostgres: a pool full of dead connections costs
// nobody a read. Pings are off, as they are for connections that were in use
// less than a second ago. The control is a pool as pgx makes it.
func TestReadsAfterARestartOfPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server of its own")
	}
	server := devstack.NewPostgres(t, devstack.PostgresOptions{})
	url := server.SocketURL("")
	noPing := func(c *pgxpool.Config) {
		c.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	}
	control, err := pg.Config(url, noPing)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		open  func() (*pgxpool.Pool, error)
		crash bool // the server says nothing before it goes
		spare bool // whether every read succeeds
	}{
		"as pgx does":          {func() (*pgxpool.Pool, error) { return pgxpool.NewWithConfig(t.Context(), control) }, false, false},
		"stopped":              {func() (*pgxpool.Pool, error) { return pg.Open(t.Context(), url, noPing) }, false, true},
		"crashed":              {func() (*pgxpool.Pool, error) { return pg.Open(t.Context(), url, noPing) }, true, true},
		"as pgx does, crashed": {func() (*pgxpool.Pool, error) { return pgxpool.NewWithConfig(t.Context(), control) }, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			pool, err := c.open()
			require.NoError(t, err)
			defer pool.Close()
			w := &world{t: t, pool: pool, clock: kairos.NewManualClock(epoch), log: &syncBuffer{}}
			_, err = eventlog.EnsurePartitions(t.Context(), pool, epoch, 2, 3)
			require.NoError(t, err)
			w.api, err = newServer(optionsOf(t, pool, w.clock))
			require.NoError(t, err)
			w.http = httptest.NewServer(w.api.router)
			defer w.http.Close()
			w.admin = w.key(ScopeAdmin)
			path := "/v1/campaigns/" + kairos.NewID().String()
			w.call("GET", path, nil).problem(404, "")

			const idle = 8
			held := make([]*pgxpool.Conn, idle)
			for i := range held {
				held[i], err = pool.Acquire(t.Context())
				require.NoError(t, err)
			}
			for _, h := range held {
				h.Release()
			}
			require.EqualValues(t, idle, pool.Stat().IdleConns())
			require.NoError(t, server.Stop(c.crash))
			require.NoError(t, server.Start(t.Context()))

			failed := 0
			for i := range 2 * idle {
				if i > 0 { // the first one's key is still known, so its own statement finds out
					w.api.keys.mu.Lock()
					clear(w.api.keys.seen) // as after a second
					w.api.keys.mu.Unlock()
				}
				if s := w.call("GET", path, nil).Status; s != 404 {
					require.Equal(t, 503, s)
					failed++
				}
			}
			t.Logf("%d of %d reads failed", failed, 2*idle)
			require.Equal(t, c.spare, failed == 0, "%d reads failed", failed)
		})
	}
}
