package batch_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
	"kairos/internal/pg"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func insert(t *testing.T, pool *pgxpool.Pool, batches ...batch.Batch) []kairos.Ref {
	t.Helper()
	var refs []kairos.Ref
	require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) (err error) {
		refs, err = batch.Insert(t.Context(), tx, batches...)
		return err
	}))
	return refs
}

func campaign(t *testing.T, pool *pgxpool.Pool, state string) kairos.ID {
	t.Helper()
	id, tpl := kairos.NewID(), kairos.NewID()
	_, err := pool.Exec(t.Context(), `
		WITH t AS (INSERT INTO templates VALUES ($1, 't', 'email', 1, now(), now())),
		v AS (INSERT INTO template_versions VALUES ($1, 1, 's', 'h', 't', now()))
		INSERT INTO campaigns (id, name, purpose, state, spec, template, template_version, created_at, updated_at)
		VALUES ($2, 'c', 'marketing', $3, '{}', $1, 1, now(), now())`, tpl, id, state)
	require.NoError(t, err)
	return id
}

func one(t *testing.T, pool *pgxpool.Pool, kind string, campaign kairos.ID) kairos.Ref {
	t.Helper()
	insert(t, pool, batch.Batch{Kind: kind, Campaign: campaign, Slot: now})
	bells, err := batch.Due(t.Context(), pool, kind, now, 64)
	refs := batch.Refs(bells)
	require.NoError(t, err)
	require.Len(t, refs, 1)
	return refs[0]
}

func TestOneClaimWins(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	ref := one(t, pool, "delivery.send", kairos.ID{})
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			c, err := batch.Claim(context.Background(), pool, ref, "w", time.Minute)
			if err == nil && c != nil {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, won.Load())
}

func TestClaimRefusesWhatIsNotRunning(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	for state, want := range map[string]bool{"running": true, "scheduled": true, "paused": false, "cancelled": false, "finished": false} {
		id := campaign(t, pool, "running")
		ref := one(t, pool, "delivery.send", id)
		_, err := pool.Exec(t.Context(), `UPDATE campaigns SET state = $2 WHERE id = $1`, id, state)
		require.NoError(t, err)
		c, err := batch.Claim(t.Context(), pool, ref, "w", time.Minute)
		require.NoError(t, err)
		require.Equal(t, want, c != nil, state)
		_, err = pool.Exec(t.Context(), `UPDATE batches SET state = 'done' WHERE id = $1`, ref.Batch)
		require.NoError(t, err)
	}
}

func TestHolderWhoseLeaseRanOutIsFenced(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	ref := one(t, pool, "delivery.send", kairos.ID{})
	c, err := batch.Claim(t.Context(), pool, ref, "stopped", -time.Second)
	require.NoError(t, err)
	require.NotNil(t, c)
	expired, err := batch.Expired(t.Context(), pool, 10)
	require.NoError(t, err)
	require.Equal(t, []kairos.Ref{ref}, expired)
	for _, want := range []bool{true, false} { // the second time it is not expired any more
		require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			got, err := batch.Reissue(t.Context(), tx, ref)
			require.Equal(t, want, got)
			return err
		}))
	}
	require.ErrorIs(t, batch.Finish(t.Context(), pool, ref), batch.ErrFenced)
	require.ErrorIs(t, batch.Extend(t.Context(), pool, ref, "stopped", time.Minute), batch.ErrFenced)
	again, err := batch.Due(t.Context(), pool, "delivery.send", now, 64)
	require.NoError(t, err)
	require.Equal(t, []batch.Doorbell{{Ref: kairos.Ref{Batch: ref.Batch, Epoch: 2}, Ahead: true}}, again)
	stale, err := batch.Claim(t.Context(), pool, ref, "late doorbell", time.Minute)
	require.NoError(t, err)
	require.Nil(t, stale)
}

func TestWhatFellSilentIsRevived(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	fold, send, held, queued := one(t, pool, "analysis.fold", kairos.ID{}), one(t, pool, "delivery.send", kairos.ID{}),
		one(t, pool, "creation.expand", kairos.ID{}), one(t, pool, "orchestration.plan", kairos.ID{})
	for ref, lease := range map[kairos.Ref]time.Duration{fold: -time.Second, send: -time.Second, held: time.Minute} {
		c, err := batch.Claim(t.Context(), pool, ref, "stopped", lease)
		require.NoError(t, err)
		require.NotNil(t, c)
	}
	_, err := pool.Exec(t.Context(), `UPDATE batches SET queued_at = clock_timestamp() - interval '61 seconds' WHERE id = $1`, queued.Batch)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, batch.Revive(t.Context(), pool, "delivery.send"))
		for ref, want := range map[kairos.Ref]string{fold: "planned 2", send: "running 1", held: "running 1", queued: "planned 2"} {
			var got string
			require.NoError(t, pool.QueryRow(t.Context(), `SELECT state || ' ' || epoch FROM batches WHERE id = $1`, ref.Batch).Scan(&got))
			require.Equal(t, want, got)
		}
	}
	require.ErrorIs(t, batch.Finish(t.Context(), pool, fold), batch.ErrFenced)
	expired, err := batch.Expired(t.Context(), pool, 10, "delivery.send", "delivery.urgent")
	require.NoError(t, err)
	require.Equal(t, []kairos.Ref{send}, expired)
}

func TestKeepEndsWorkThatIsFenced(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	ref := one(t, pool, "delivery.send", kairos.ID{})
	_, err := batch.Claim(t.Context(), pool, ref, "w", time.Second)
	require.NoError(t, err)
	held, stop := batch.Keep(t.Context(), pool, ref, "w", time.Second)
	defer stop()
	time.Sleep(1500 * time.Millisecond) // longer than the lease: it must have been extended
	require.NoError(t, held.Err())
	_, err = pool.Exec(t.Context(), `UPDATE batches SET epoch = epoch + 1 WHERE id = $1`, ref.Batch)
	require.NoError(t, err)
	select {
	case <-held.Done():
		require.ErrorIs(t, context.Cause(held), batch.ErrFenced)
	case <-time.After(5 * time.Second):
		t.Fatal("the holder was not told")
	}
}

func TestDueTakesTurnsAndKeepsTheWindow(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	big, small := campaign(t, pool, "running"), campaign(t, pool, "running")
	var batches []batch.Batch
	for range 40 {
		batches = append(batches, batch.Batch{Kind: "delivery.send", Campaign: big, Slot: now})
	}
	batches = append(batches,
		batch.Batch{Kind: "delivery.send", Campaign: small, Slot: now.Add(-time.Second)},
		batch.Batch{Kind: "delivery.send", Campaign: small, Slot: now},
		batch.Batch{Kind: "delivery.send", Campaign: small, Slot: now.Add(time.Minute)}, // not due
		batch.Batch{Kind: "delivery.send", Campaign: campaign(t, pool, "paused"), Slot: now})
	insert(t, pool, batches...)
	bells, err := batch.Due(t.Context(), pool, "delivery.send", now, 8)
	refs := batch.Refs(bells)
	require.NoError(t, err)
	require.Len(t, refs, 8)
	var fromSmall int
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM batches WHERE state = 'queued' AND campaign = $1`, small).Scan(&fromSmall))
	require.Equal(t, 2, fromSmall)
	bells, err = batch.Due(t.Context(), pool, "delivery.send", now, 8)
	refs = batch.Refs(bells)
	require.NoError(t, err)
	require.Empty(t, refs, "the window is full")
	n, err := batch.Requeue(t.Context(), pool, 0)
	require.NoError(t, err)
	require.EqualValues(t, 8, n)
}

func TestInsertTwiceIsOnce(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	b := batch.Batch{ID: kairos.NewID(), Kind: "creation.expand", Slot: now, Payload: map[string]int{"page": 3}}
	insert(t, pool, b)
	insert(t, pool, b)
	bells, err := batch.Due(t.Context(), pool, "creation.expand", now, 8)
	refs := batch.Refs(bells)
	require.NoError(t, err)
	require.Len(t, refs, 1)
	c, err := batch.Claim(t.Context(), pool, refs[0], "w", time.Minute)
	require.NoError(t, err)
	var payload struct{ Page int }
	require.NoError(t, c.Into(&payload))
	require.Equal(t, 3, payload.Page)
	require.NoError(t, batch.Defer(t.Context(), pool, refs[0], now.Add(time.Hour), kairos.ErrUnavailable))
	bells, err = batch.Due(t.Context(), pool, "creation.expand", now.Add(time.Hour), 8)
	refs = batch.Refs(bells)
	require.NoError(t, err)
	require.Len(t, refs, 1)
	require.EqualValues(t, 2, refs[0].Epoch)
}
