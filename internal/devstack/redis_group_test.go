package devstack_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"kairos/internal/devstack"
)

func TestRedisClusterReplacesADeadMaster(t *testing.T) {
	t.Parallel()
	began := time.Now()
	g := devstack.NewRedisClusterServers(t, true)
	t.Logf("formed in %s", time.Since(began).Round(time.Millisecond))
	require.Len(t, g.Nodes, 6)
	opts, err := redis.ParseClusterURL("redis://" + strings.TrimPrefix(g.URL, "redis-cluster://"))
	require.NoError(t, err)
	opts.ClusterStateReloadInterval = time.Second
	c := redis.NewClusterClient(opts)
	defer func() { require.NoError(t, c.Close()) }()
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		require.NoError(t, c.Set(t.Context(), key, 1, 0).Err())
	}
	began = time.Now()
	require.NoError(t, g.Nodes[0].Kill())
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		require.Eventually(t, func() bool { return c.Set(t.Context(), key, 2, 0).Err() == nil }, 20*time.Second, 20*time.Millisecond)
	}
	t.Logf("replaced in %s", time.Since(began).Round(time.Millisecond))
}

func TestRedisSentinelReplacesADeadMaster(t *testing.T) {
	t.Parallel()
	began := time.Now()
	g := devstack.NewRedisSentinelServers(t)
	t.Logf("formed in %s", time.Since(began).Round(time.Millisecond))
	c := g.Nodes[1].Client()
	defer func() { require.NoError(t, c.Close()) }()
	require.ErrorContains(t, c.Set(t.Context(), "a", 1, 0).Err(), "READONLY")
	began = time.Now()
	require.NoError(t, g.Nodes[0].Kill())
	require.Eventually(t, func() bool { return c.Set(t.Context(), "a", 1, 0).Err() == nil }, 20*time.Second, 20*time.Millisecond)
	t.Logf("replaced in %s", time.Since(began).Round(time.Millisecond))
}

func TestRedisGroupIsGoneAfterTheTest(t *testing.T) {
	t.Parallel()
	var addrs []string
	t.Run("while it stands", func(t *testing.T) {
		for _, n := range devstack.NewRedisClusterServers(t, false).Nodes {
			addrs = append(addrs, n.Addr())
		}
	})
	require.Len(t, addrs, 3)
	for _, addr := range addrs {
		_, err := net.DialTimeout("tcp4", addr, time.Second)
		require.Error(t, err)
	}
}
