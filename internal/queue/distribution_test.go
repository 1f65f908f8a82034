package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
	"kairos/internal/pg"
	"kairos/internal/queue"
)

type foldTask struct{ kairos.Ref }

func (foldTask) Kind() string { return kairos.KindFold }

type hookTask struct{ kairos.Ref }

func (hookTask) Kind() string { return kairos.KindDistribute }

// Web hooks whose receivers hang keep the fold of their stage from nothing.
func TestHangingWebHooksDoNotHoldTheFoldUp(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	q := open(t, devstack.NewRedis(t), pool)
	hanging, folded := make(chan kairos.ID, 16), make(chan kairos.ID, 1)
	release := make(chan struct{})
	queue.Handle(q, func(_ context.Context, h hookTask) ([]kairos.Task, error) {
		hanging <- h.Batch
		<-release
		return nil, nil
	})
	queue.Handle(q, func(_ context.Context, f foldTask) ([]kairos.Task, error) {
		folded <- f.Batch
		return nil, nil
	})
	insertKind := func(kind string, n int) {
		require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			for range n {
				if _, err := batch.Insert(t.Context(), tx, batch.Batch{Kind: kind, Slot: time.Now().Add(-time.Second)}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	insertKind(kairos.KindDistribute, 8)
	stop := run(t, q)
	defer stop()
	defer close(release)
	wait := func(c chan kairos.ID, what string) {
		select {
		case <-c:
		case <-time.After(20 * time.Second):
			t.Fatal(what)
		}
	}
	for range 8 {
		wait(hanging, "web hooks wait for one another")
	}
	insertKind(kairos.KindFold, 1)
	wait(folded, "the fold waits for web hooks")
}
