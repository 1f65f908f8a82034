package queue_test

import (
	"context"
	"strings"
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
	"kairos/internal/queue"
)

type urgentTask struct{ kairos.Ref }

func (urgentTask) Kind() string { return kairos.KindUrgent }

// shop is two processes on one Redis: both work, one leads.
type shop struct {
	t     *testing.T
	pool  *pgxpool.Pool
	bench *bench
	other atomic.Int32 // batches of other kinds
	ticks atomic.Int32 // of the periodic work
}

func newShop(t *testing.T, url string) *shop {
	t.Helper()
	pool := devstack.NewDB(t)
	s := &shop{t: t, pool: pool, bench: &bench{pool: pool, done: map[kairos.ID]int{}}}
	for range 2 {
		q := open(t, url, pool)
		queue.Handle(q, s.bench.work)
		queue.Handle(q, func(context.Context, urgentTask) ([]kairos.Task, error) { s.other.Add(1); return nil, nil })
		queue.Handle(q, func(context.Context, hookTask) ([]kairos.Task, error) { s.other.Add(1); return nil, nil })
		queue.Every(q, 50*time.Millisecond, "tick", func(context.Context) error { s.ticks.Add(1); return nil })
		run(t, q)
	}
	return s
}

// works puts batches in and returns when each has been done, once.
func (s *shop) works(n int, within time.Duration) {
	s.t.Helper()
	before := s.bench.count()
	insert(s.t, s.pool, n)
	s.finished(before+n, within)
}

func (s *shop) finished(n int, within time.Duration) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.bench.count() == n }, within, 10*time.Millisecond)
	s.bench.mu.Lock()
	defer s.bench.mu.Unlock()
	for id, times := range s.bench.done {
		require.Equal(s.t, 1, times, id)
	}
}

// everything shows each use that is made of Redis: several queues of one stage,
// what is issued again, a doorbell whose listener is dead, the periodic work.
func (s *shop) everything() {
	s.t.Helper()
	s.works(100, 20*time.Second)
	require.NoError(s.t, pg.InTx(s.t.Context(), s.pool, func(tx pgx.Tx) error {
		for _, kind := range []string{kairos.KindUrgent, kairos.KindDistribute} {
			b := batch.Batch{Kind: kind, Slot: time.Now().Add(-time.Second)}
			if kind == kairos.KindUrgent {
				b.Channel = kairos.Email
			}
			if _, err := batch.Insert(s.t.Context(), tx, b); err != nil {
				return err
			}
		}
		return nil
	}))
	require.Eventually(s.t, func() bool { return s.other.Load() >= 2 }, 20*time.Second, 10*time.Millisecond)
	before := s.ticks.Load()
	require.Eventually(s.t, func() bool { return s.ticks.Load() > before+3 }, 10*time.Second, 10*time.Millisecond)
}

func TestSentinelReplacesADeadMaster(t *testing.T) {
	t.Parallel()
	g := devstack.NewRedisSentinelServers(t)
	s := newShop(t, g.URL)
	s.everything()
	before := s.bench.count()
	insert(t, s.pool, 300)
	require.Eventually(t, func() bool { return s.bench.count() > before }, 10*time.Second, time.Millisecond)
	require.NoError(t, g.Nodes[0].Kill()) // in the midst of it
	began := time.Now()
	s.finished(before+300, 15*time.Second)
	t.Logf("done %s after the kill", time.Since(began).Round(10*time.Millisecond))
	began = time.Now()
	s.works(50, 15*time.Second)
	t.Logf("new work done after %s", time.Since(began).Round(10*time.Millisecond))
}

func TestClusterReplacesADeadMaster(t *testing.T) {
	t.Parallel()
	g := devstack.NewRedisClusterServers(t, true)
	s := newShop(t, g.URL)
	s.everything()
	before := s.bench.count()
	insert(t, s.pool, 300)
	require.Eventually(t, func() bool { return s.bench.count() > before }, 10*time.Second, time.Millisecond)
	require.NoError(t, g.Nodes[masterOf(t, g)].Kill())
	began := time.Now()
	s.finished(before+300, 15*time.Second)
	t.Logf("done %s after the kill", time.Since(began).Round(10*time.Millisecond))
	s.works(50, 15*time.Second)
}

// Without replicas a cluster stands still while a master is away, and that
// comes back empty: what was rung for is rung for again.
func TestClusterWaitsForAMasterThatComesBackEmpty(t *testing.T) {
	t.Parallel()
	g := devstack.NewRedisClusterServers(t, false)
	s := newShop(t, g.URL)
	s.everything()
	before := s.bench.count()
	insert(t, s.pool, 300)
	require.Eventually(t, func() bool { return s.bench.count() > before }, 10*time.Second, time.Millisecond)
	i := masterOf(t, g)
	dead, other := g.Nodes[i], g.Nodes[(i+1)%3].Client()
	defer func() { require.NoError(t, other.Close()) }()
	require.NoError(t, dead.Kill())
	insert(t, s.pool, 50)
	require.Eventually(t, func() bool { return strings.Contains(other.ClusterInfo(t.Context()).Val(), "cluster_state:fail") }, 10*time.Second, 20*time.Millisecond)
	require.NoError(t, dead.Start(t.Context()))
	began := time.Now()
	s.finished(before+350, 15*time.Second)
	t.Logf("done %s after its return", time.Since(began).Round(10*time.Millisecond))
}

// masterOf returns which master holds the queue that batches are inserted for.
func masterOf(t *testing.T, g *devstack.RedisGroup) int {
	t.Helper()
	c := g.Nodes[0].Client()
	defer func() { require.NoError(t, c.Close()) }()
	slot, err := c.ClusterKeySlot(t.Context(), "asynq:{creation}:pending").Result()
	require.NoError(t, err)
	return int(slot) * 3 / 16384
}

// Any server that holds keys now or may after a failover counts.
func TestRefusesAGroupOneOfWhichEvicts(t *testing.T) {
	t.Parallel()
	for name, g := range map[string]*devstack.RedisGroup{
		"sentinel": devstack.NewRedisSentinelServers(t), "cluster": devstack.NewRedisClusterServers(t, false),
	} {
		q, err := queue.Open(t.Context(), g.URL, nil, kairos.SystemClock{}, queue.Options{})
		require.NoError(t, err, name)
		require.NoError(t, q.Close())
		for i, node := range g.Nodes {
			c := node.Client()
			require.NoError(t, c.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
			_, err = queue.Open(t.Context(), g.URL, nil, kairos.SystemClock{}, queue.Options{})
			require.ErrorContains(t, err, "noeviction", "%s, server %d", name, i)
			require.NoError(t, c.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err())
			require.NoError(t, c.Close())
		}
	}
}
