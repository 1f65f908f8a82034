package delivery

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/pg"
)

// TestPauseAndCancelMidBatch: after the answer at most what is in flight is
// still accepted.
func TestPauseAndCancelMidBatch(t *testing.T) {
	for _, how := range []string{kairos.Paused, kairos.Cancelled} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := plan(t, 200, 100)
			const window = 20
			f := newFake(1, 2)
			reached, goOn := make(chan struct{}), make(chan struct{})
			n := 0
			f.answer = func(context.Context, *Message) Result {
				f.mu.Lock()
				n++
				at := n
				f.mu.Unlock()
				if at == 30 {
					close(reached)
					<-goOn
				}
				return Result{Outcome: Accepted}
			}
			d := w.deliveryWith(Options{Providers: []Provider{f}, Window: window})
			refs := w.due()
			sent := make(chan error, 1)
			go func() {
				_, err := d.Send(w.ctx, SendTask{refs[0]})
				sent <- err
			}()
			<-reached
			require.NoError(t, pg.InTx(w.ctx, w.pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(w.ctx, `UPDATE campaigns SET state = $1`, how); err != nil {
					return err
				}
				if how == kairos.Cancelled {
					return batch.CancelCampaign(w.ctx, tx, w.campaign)
				}
				return nil
			}))
			before := f.total()
			close(goOn)
			require.NoError(t, <-sent)
			require.LessOrEqual(t, f.total(), before+window)
			require.Less(t, f.total(), 100)
			_, err := d.Send(w.ctx, SendTask{refs[1]})
			require.NoError(t, err)
			require.Equal(t, f.total(), w.counts("notifications")["accepted"])
			require.Zero(t, w.counts("attempts")["sending"])
			require.Empty(t, w.due())
			require.NoError(t, d.Reconcile(w.ctx))
			if how == kairos.Cancelled {
				require.Equal(t, map[string]int{"cancelled": 2}, w.counts("batches"))
				return
			}
			w.exec(`UPDATE campaigns SET state = 'running'`)
			_, err = batch.Requeue(w.ctx, w.pool, 0)
			require.NoError(t, err)
			w.drain(d)
			require.Equal(t, 200, f.total())
			require.Equal(t, 1, f.most())
		})
	}
}

// TestKilledWhileCancelled: nobody's lease runs out, the attempts end anyway.
func TestKilledWhileCancelled(t *testing.T) {
	w := plan(t, 10, 10)
	d := w.delivery(newFake(1, 1))
	w.open(d, 4)
	require.NoError(t, pg.InTx(w.ctx, w.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(w.ctx, `UPDATE campaigns SET state = 'cancelled'`)
		require.NoError(t, err)
		return batch.CancelCampaign(w.ctx, tx, w.campaign)
	}))
	d2 := w.delivery()
	require.NoError(t, d2.Reconcile(w.ctx))
	require.Equal(t, map[string]int{"sending": 4}, w.counts("attempts"), "it may still be in flight")
	w.exec(`UPDATE batches SET finished_at = finished_at - interval '1 hour'`)
	d3 := w.delivery()
	require.NoError(t, d3.Reconcile(w.ctx))
	require.Equal(t, map[string]int{"unknown": 4}, w.counts("attempts"))
	require.Equal(t, map[string]int{"unknown": 4, "planned": 6}, w.counts("notifications"))
}

// TestCancelledRetry: a batch that comes into being just after the
// cancellation is cancelled too.
func TestCancelledRetry(t *testing.T) {
	w := plan(t, 2, 2)
	f := newFake(1, 1)
	f.answer = func(context.Context, *Message) Result { return Result{Outcome: RejectedTemp} }
	d := w.delivery(f)
	win := w.open(d, 2)
	require.NoError(t, pg.InTx(w.ctx, w.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(w.ctx, `UPDATE campaigns SET state = 'cancelled'`)
		require.NoError(t, err)
		return batch.CancelCampaign(w.ctx, tx, w.campaign)
	}))
	win.work()
	require.Equal(t, map[string]int{"cancelled": 1, "planned": 1}, w.counts("batches"))
	require.NoError(t, d.Reconcile(w.ctx))
	require.Equal(t, map[string]int{"cancelled": 2}, w.counts("batches"))
}

// TestSweptWhileInFlight: what was accepted is accepted, whatever its
// notification has been called meanwhile.
func TestSweptWhileInFlight(t *testing.T) {
	w := plan(t, 2, 2)
	d := w.delivery(newFake(1, 1))
	win := w.open(d, 2)
	w.exec(`UPDATE notifications SET state = 'cancelled', reason = 'cancelled'`)
	win.work()
	require.Equal(t, map[string]int{"accepted": 2}, w.counts("notifications"))
}

func TestHeal(t *testing.T) {
	for _, purpose := range []string{"marketing", "transactional"} {
		t.Run(purpose, func(t *testing.T) {
			w := plan(t, 10, 5, func(s *kairos.CampaignSpec) { s.Purpose = purpose })
			f := newFake(1, 1)
			w.exec(`DELETE FROM batches WHERE id = $1`, w.batches[0])
			d := w.delivery(f)
			require.NoError(t, d.Reconcile(w.ctx))
			require.Equal(t, map[string]int{"planned": 1}, w.counts("batches"), "not while others are open")
			w.drain(d)
			require.Equal(t, 5, f.total())
			d.ticks.lastHeal = d.ticks.lastHeal.Add(-healPeriod)
			require.NoError(t, d.Reconcile(w.ctx))
			d.ticks.lastHeal = d.ticks.lastHeal.Add(-healPeriod)
			require.NoError(t, d.Reconcile(w.ctx))
			w.drain(d)
			require.Equal(t, 10, f.total())
			require.Equal(t, 1, f.most())
		})
	}
}
