package queue

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
)

// TestWakesAtTheNextSlot: a slot doesn't wait for the next full second.
func TestWakesAtTheNextSlot(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	pool, clock := devstack.NewDB(t), kairos.NewManualClock(now)
	q, err := Open(t.Context(), devstack.NewRedis(t), pool, clock, Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, q.Close()) })
	require.Equal(t, maxPause, q.pause(t.Context()))
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := batch.Insert(t.Context(), tx,
			batch.Batch{Kind: kairos.KindSend, Channel: kairos.Email, Slot: now.Add(300 * time.Millisecond)},
			batch.Batch{Kind: kairos.KindSend, Channel: kairos.Email, Slot: now.Add(301 * time.Millisecond)})
		return err
	}))
	require.Equal(t, 300*time.Millisecond, q.pause(t.Context()))
	clock.Set(now.Add(300 * time.Millisecond))
	require.Equal(t, minPause, q.pause(t.Context()), "the other comes in a moment")
	clock.Set(now.Add(time.Second))
	require.Equal(t, maxPause, q.pause(t.Context()), "both are due: this round rings for them")
}
