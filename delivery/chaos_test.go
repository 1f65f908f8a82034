package delivery

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
)

// TestIdentityUnderChaos lets several senders work while batches are taken
// from them at random moments, and counts at the receiving side.
func TestIdentityUnderChaos(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	w := plan(t, 600, 60)
	f := newFake(1, 3)
	var mu sync.Mutex
	var calm atomic.Bool // the provider has no more moods
	rng := rand.New(rand.NewPCG(seed, 1))
	f.answer = func(_ context.Context, m *Message) Result {
		mu.Lock()
		dice, pause := rng.IntN(100), time.Duration(rng.IntN(3000))*time.Microsecond
		mu.Unlock()
		time.Sleep(pause)
		switch {
		case calm.Load():
		case dice < 5:
			return Result{Outcome: RejectedTemp}
		case dice < 8:
			return Result{Outcome: RejectedPerm}
		case dice < 11:
			return Result{Outcome: NotSent}
		case dice < 14:
			f.accept(m) // it arrived, the reply didn't
			return Result{Outcome: Unknown}
		}
		return Result{Outcome: Accepted}
	}
	ctx, stop := context.WithCancel(w.ctx)
	var wg sync.WaitGroup
	for range 3 {
		d := w.deliveryWith(Options{Providers: []Provider{f}, Window: 12, Lease: 300 * time.Millisecond})
		wg.Go(func() {
			for ctx.Err() == nil {
				bells, err := batch.Due(ctx, w.pool, kairos.KindSend, w.clock.Now(), 4)
				refs := batch.Refs(bells)
				if err != nil {
					return
				}
				for _, ref := range refs {
					_, _ = d.Send(ctx, SendTask{ref})
					_, _ = d.Send(ctx, SendTask{ref}) // the doorbell rings twice
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	d := w.delivery(f)
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond)
		w.exec(`UPDATE batches SET lease_until = clock_timestamp() - interval '1 second' WHERE state = 'running' AND random() < 0.3`)
		require.NoError(t, d.Reconcile(w.ctx))
		w.clock.Advance(10 * time.Second)
	}
	stop()
	wg.Wait()
	var lost int
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT count(*) FROM notifications n WHERE state = 'planned'
		AND NOT EXISTS (SELECT FROM batches b WHERE b.id = n.batch AND b.state IN ('planned', 'queued', 'running'))`).Scan(&lost))
	require.Zero(t, lost, "planned without a batch")
	calm.Store(true)
	for range 3 { // what was refused for now and what was taken away
		w.kill()
		require.NoError(t, d.Reconcile(w.ctx))
		_, err := batch.Requeue(w.ctx, w.pool, 0)
		require.NoError(t, err)
		w.clock.Advance(2 * time.Hour)
		d.routes[kairos.Email][0].health.until = time.Time{}
		w.drain(d)
	}
	notes := w.counts("notifications")
	t.Log(notes, w.counts("attempts"))
	require.LessOrEqual(t, f.most(), 1, "nobody twice")
	require.Zero(t, notes["planned"], "nobody forgotten")
	require.Zero(t, w.counts("attempts")["sending"])
	require.Zero(t, w.counts("batches")["running"])
	rows, err := w.pool.Query(w.ctx, `SELECT contact, state FROM notifications`)
	require.NoError(t, err)
	var contact kairos.ID
	var state string
	_, err = pgx.ForEachRow(rows, []any{&contact, &state}, func() error {
		switch state {
		case kairos.StateAccepted:
			require.Equal(t, 1, f.accepted[contact], "accepted and not received")
		case kairos.StateFailed, kairos.StateSkipped:
			require.Zero(t, f.accepted[contact], "%s and received", state)
		}
		return nil
	})
	require.NoError(t, err)
}

// TestLooksUpByIndex keeps the plan of settling from reading the ledger.
func TestLooksUpByIndex(t *testing.T) {
	w := plan(t, 500, 500)
	w.drain(w.delivery(newFake(1000, 1)))
	tx, err := byIndex{w.delivery()}.Begin(w.ctx)
	require.NoError(t, err)
	defer func() { require.NoError(t, tx.Rollback(w.ctx)) }()
	n := 400
	numbers, states, empty := make([]int32, n), make([]string, n), make([]string, n)
	for i := range n {
		numbers[i], states[i] = 1, "accepted"
	}
	first := []any{w.campaign, "sending", start, w.notes[:n], numbers, empty, empty}
	for query, args := range map[string][]any{
		settleSQL: append(first, states, empty, states, empty, make([]kairos.ID, n), empty), acceptSQL: first,
	} {
		rows, err := tx.Query(w.ctx, "EXPLAIN "+query, args...)
		require.NoError(t, err)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		found := 0
		for _, l := range lines {
			require.NotContains(t, l, "Seq Scan on attempts")
			require.NotContains(t, l, "Join Filter")
			if strings.Contains(l, "Index Cond: ((notification = g.id) AND (number = g.number)") || strings.Contains(l, "Index Cond: ((id = m.notification)") {
				found++
			}
		}
		require.Equal(t, 2, found, "%v", lines)
	}
}
