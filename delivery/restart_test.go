package delivery

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
	"kairos/internal/pg"
)

// TestPostgresRestarts crashes the database in the middle of a campaign while
// the provider goes on accepting. Nothing is killed on our side, so in the end
// every reply has been written down and nobody is unknown for good.
func TestPostgresRestarts(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a server of its own")
	}
	server := devstack.NewPostgres(t, devstack.PostgresOptions{})
	pool, err := pg.Open(context.Background(), server.SocketURL(""))
	require.NoError(t, err)
	defer pool.Close()
	w := planIn(t, pool, 1200, 100)
	f := newFake(1, 4)
	f.answer = func(context.Context, *Message) Result {
		time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond)
		return Result{Outcome: Accepted}
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	ctx, stop := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	for range 2 {
		d := w.deliveryWith(Options{Providers: []Provider{f}, Window: 16, Log: quiet})
		wg.Go(func() {
			for ctx.Err() == nil {
				bells, err := batch.Due(ctx, pool, kairos.KindSend, w.clock.Now(), 2)
				refs := batch.Refs(bells)
				for _, ref := range refs {
					_, err = d.Send(ctx, SendTask{ref})
				}
				if err != nil || len(refs) == 0 {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	leader := w.deliveryWith(Options{Providers: []Provider{f}, Log: quiet})
	for range 4 {
		time.Sleep(300 * time.Millisecond)
		require.NoError(t, server.Stop(true))
		require.NoError(t, server.Start(w.ctx))
		w.clock.Advance(10 * time.Second)
		_ = leader.Reconcile(w.ctx) // the pool may still hold dead connections
	}
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline) && f.total() < 1200; {
		w.clock.Advance(time.Second)
		time.Sleep(50 * time.Millisecond)
		if err := leader.Reconcile(w.ctx); err == nil {
			_, _ = batch.Requeue(w.ctx, pool, 2*time.Second)
		}
	}
	stop()
	wg.Wait()
	w.kill()
	require.NoError(t, leader.Reconcile(w.ctx))
	w.drain(leader)
	t.Log(w.counts("notifications"), w.counts("attempts"))
	require.LessOrEqual(t, f.most(), 1, "nobody twice")
	require.Equal(t, 1200, f.total(), "nobody forgotten")
	require.Equal(t, map[string]int{"accepted": 1200}, w.counts("notifications"))
	require.Equal(t, map[string]int{"done": 12}, w.counts("batches"))
}
