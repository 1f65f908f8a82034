package queue

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
)

// sendTask is the doorbell of a delivery batch.
type sendTask struct{ kairos.Ref }

func (sendTask) Kind() string { return kairos.KindSend }

// A batch that was begun is worked on before the new ones that were rung for
// earlier: a take-over doesn't wait behind a window of others. One that was only
// rung for twice has no such right.
func TestWhatWasBegunGoesFirst(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	q, err := Open(t.Context(), devstack.NewRedis(t), pool, kairos.SystemClock{}, Options{Concurrency: map[string]int{"delivery": 1}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, q.Close()) })
	var mu sync.Mutex
	var order []kairos.ID
	Handle(q, func(_ context.Context, task sendTask) ([]kairos.Task, error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, task.Batch)
		return nil, nil
	})

	var batches []batch.Batch
	for range 8 {
		batches = append(batches, batch.Batch{ID: kairos.NewID(), Kind: kairos.KindSend, Channel: kairos.Email, Slot: time.Now().Add(-time.Minute)})
	}
	require.NoError(t, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := batch.Insert(t.Context(), tx, batches...)
		return err
	}))
	_, err = pool.Exec(t.Context(), `
		UPDATE batches SET epoch = 2, tries = CASE WHEN id = $1 THEN 1 ELSE 0 END, slot = slot + CASE WHEN id = $1 THEN interval '1 second' ELSE '0' END
		WHERE id IN ($1, $2)`, batches[5].ID, batches[3].ID)
	require.NoError(t, err)
	rung, err := q.Ring(t.Context(), kairos.KindSend) // before anybody listens: by slot, it is the last
	require.NoError(t, err)
	require.Equal(t, 8, rung)

	ctx, stop := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { require.NoError(t, q.Run(ctx)) })
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(order) >= 8
	}, 20*time.Second, 20*time.Millisecond)
	stop()
	ended.Wait()
	require.Equal(t, batches[5].ID, order[0])
}
