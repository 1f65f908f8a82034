package queue_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
	"kairos/internal/pg"
	"kairos/internal/queue"
)

type expandTask struct{ kairos.Ref }

func (expandTask) Kind() string { return kairos.KindExpand }

// bench counts how often each batch was done, and does it only under a claim.
type bench struct {
	pool *pgxpool.Pool
	mu   sync.Mutex
	done map[kairos.ID]int
}

func (b *bench) work(ctx context.Context, t expandTask) ([]kairos.Task, error) {
	c, err := batch.Claim(ctx, b.pool, t.Ref, "w", time.Minute)
	if err != nil || c == nil {
		return nil, err
	}
	if err := batch.Finish(ctx, b.pool, t.Ref); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done[t.Batch]++
	return nil, nil
}

func (b *bench) count() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.done)
}

func run(t *testing.T, q *queue.Queue) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-ended)
			require.NoError(t, q.Close())
		})
	}
	t.Cleanup(stop)
	return stop
}

func open(t *testing.T, url string, pool *pgxpool.Pool) *queue.Queue {
	t.Helper()
	q, err := queue.Open(t.Context(), url, pool, kairos.SystemClock{}, queue.Options{Grace: 5 * time.Second})
	require.NoError(t, err)
	return q
}

func insert(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	batches := make([]batch.Batch, n)
	for i := range batches {
		batches[i] = batch.Batch{Kind: kairos.KindExpand, Slot: time.Now().Add(-time.Second)}
	}
	require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := batch.Insert(t.Context(), tx, batches...)
		return err
	}))
}

func TestFlushedRedisLosesNothing(t *testing.T) {
	t.Parallel()
	pool, url := devstack.NewDB(t), devstack.NewRedis(t)
	b := &bench{pool: pool, done: map[kairos.ID]int{}}
	q := open(t, url, pool)
	queue.Handle(q, b.work)
	run(t, q)
	opts, err := redis.ParseURL(url)
	require.NoError(t, err)
	r := redis.NewClient(opts)
	t.Cleanup(func() { _ = r.Close() })
	const n = 600
	insert(t, pool, n)
	for range 5 {
		require.NoError(t, r.FlushAll(t.Context()).Err())
		time.Sleep(200 * time.Millisecond)
	}
	require.Eventually(t, func() bool { return b.count() == n }, 30*time.Second, 50*time.Millisecond)
	for id, times := range b.done {
		require.Equal(t, 1, times, id)
	}
}

func TestOneLeaderOfTwo(t *testing.T) {
	t.Parallel()
	pool, url := devstack.NewDB(t), devstack.NewRedis(t)
	var ticks [2]atomic.Int32
	var stops [2]func()
	for i := range ticks {
		q := open(t, url, pool)
		queue.Every(q, 50*time.Millisecond, "tick", func(context.Context) error { ticks[i].Add(1); return nil })
		stops[i] = run(t, q)
		if i == 0 {
			require.Eventually(t, func() bool { return ticks[0].Load() > 3 }, 10*time.Second, 10*time.Millisecond)
		}
	}
	time.Sleep(1200 * time.Millisecond)
	require.Zero(t, ticks[1].Load(), "the second led beside the first")
	stops[0]()
	require.Eventually(t, func() bool { return ticks[1].Load() > 3 }, 10*time.Second, 10*time.Millisecond)
}

func TestRefusesARedisThatEvicts(t *testing.T) {
	t.Parallel()
	pool, url := devstack.NewDB(t), devstack.NewRedis(t)
	opts, err := redis.ParseURL(url)
	require.NoError(t, err)
	r := redis.NewClient(opts)
	defer func() { _ = r.Close() }()
	require.NoError(t, r.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
	_, err = queue.Open(t.Context(), url, pool, kairos.SystemClock{}, queue.Options{})
	require.ErrorContains(t, err, "noeviction")
}

func TestBadURLHidesThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"redis://user:sesame@ho st:1", "http://user:sesame@x", "redis://u:sesame@x/notanumber", "redis://u:sesame/sesame@x",
		"redis-sentinel://:sesame@a,b", "redis-cluster://u:sesame,open@a:x", "redis-socket:///sesame", "redis://:sesame@a,b"} {
		_, err := queue.Open(t.Context(), url, nil, kairos.SystemClock{}, queue.Options{})
		require.Error(t, err)
		require.NotContains(t, fmt.Sprint(err), "sesame")
	}
}
