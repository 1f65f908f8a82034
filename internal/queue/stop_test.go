package queue_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
	"kairos/internal/queue"
)

// TestEachWorkHasALeader: processes with different roles have different work;
// the one that came first must not keep the other from its own.
func TestEachWorkHasALeader(t *testing.T) {
	t.Parallel()
	pool, url := devstack.NewDB(t), devstack.NewRedis(t)
	var ticks [2]atomic.Int32
	for i, name := range []string{"imports", "feedback"} {
		q := open(t, url, pool)
		queue.Every(q, 50*time.Millisecond, name, func(context.Context) error { ticks[i].Add(1); return nil })
		run(t, q)
		require.Eventually(t, func() bool { return ticks[i].Load() > 3 }, 10*time.Second, 10*time.Millisecond, name)
	}
	before := ticks[0].Load()
	require.Eventually(t, func() bool { return ticks[0].Load() > before+3 }, 10*time.Second, 10*time.Millisecond, "the first lost its work to the second")
}

// TestStopWaitsForWhatIsInFlight: a handler hears of the stop at once and may
// end its work within the grace.
func TestStopWaitsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	pool, url := devstack.NewDB(t), devstack.NewRedis(t)
	q := open(t, url, pool)
	begun, ended := make(chan struct{}), atomic.Bool{}
	queue.Handle(q, func(ctx context.Context, _ expandTask) ([]kairos.Task, error) {
		close(begun)
		<-ctx.Done()
		time.Sleep(500 * time.Millisecond) // a call that can't be broken off
		ended.Store(true)
		return nil, ctx.Err()
	})
	stop := run(t, q)
	insert(t, pool, 1)
	<-begun
	began := time.Now()
	stop()
	require.True(t, ended.Load(), "Run returned before its handler")
	require.Less(t, time.Since(began), 4*time.Second, "the handler heard of the stop too late")
}

// TestADoorbellThatADeadProcessHeardRingsAgain: a process that dies between
// hearing and claiming must not cost the batch a minute.
func TestADoorbellThatADeadProcessHeardRingsAgain(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) string{"one server": devstack.NewRedis, "cluster": devstack.NewRedisCluster} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, url := devstack.NewDB(t), start(t)
			q := open(t, url, pool)
			b := &bench{pool: pool, done: map[kairos.ID]int{}}
			dead, calls := make(chan struct{}), atomic.Int32{}
			queue.Handle(q, func(ctx context.Context, task expandTask) ([]kairos.Task, error) {
				if calls.Add(1) == 1 {
					<-dead // says and does nothing more
					return nil, nil
				}
				return b.work(ctx, task)
			})
			run(t, q)
			t.Cleanup(func() { close(dead) }) // before run's cleanup waits for it
			insert(t, pool, 1)
			began := time.Now()
			require.Eventually(t, func() bool { return b.count() == 1 }, 30*time.Second, 20*time.Millisecond)
			t.Logf("taken over after %s", time.Since(began).Round(time.Millisecond))
			require.Less(t, time.Since(began), 15*time.Second)
		})
	}
}
