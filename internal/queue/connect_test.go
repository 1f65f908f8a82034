package queue

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestConnectReadsURLs(t *testing.T) {
	t.Parallel()
	one := func(url string) *redis.Options {
		c, err := connect(url)
		require.NoError(t, err, url)
		require.NoError(t, c.Close())
		return c.(*redis.Client).Options()
	}
	o := one("redis://host")
	require.Equal(t, "host:6379", o.Addr)
	require.Nil(t, o.TLSConfig)
	o = one("rediss://ada:p%40ss@host:1234/3?read_timeout=2s")
	require.Equal(t, []any{"host:1234", "ada", "p@ss", 3, 2 * time.Second}, []any{o.Addr, o.Username, o.Password, o.DB, o.ReadTimeout})
	require.NotNil(t, o.TLSConfig)

	group := func(url string) *redis.FailoverOptions {
		c, err := connect(url)
		require.NoError(t, err, url)
		require.NoError(t, c.Close())
		return c.(*sentinelClient).group
	}
	s := group("redis-sentinel://:secret@a,b:1,c:2/4?master=main&addr=d:3&sentinel_password=other")
	require.ElementsMatch(t, []string{"a:26379", "b:1", "c:2", "d:3"}, s.SentinelAddrs)
	require.Equal(t, []any{"main", "", "secret", "", "other", 4}, []any{s.MasterName, s.Username, s.Password, s.SentinelUsername, s.SentinelPassword, s.DB})
	require.Nil(t, s.TLSConfig)
	s = group("rediss-sentinel://ada:secret@a?master=main&sentinel_username=eve")
	require.Equal(t, []any{"ada", "secret", "eve", ""}, []any{s.Username, s.Password, s.SentinelUsername, s.SentinelPassword})
	require.NotNil(t, s.TLSConfig)

	cluster := func(url string) *redis.ClusterOptions {
		c, err := connect(url)
		require.NoError(t, err, url)
		require.NoError(t, c.Close())
		return c.(*redis.ClusterClient).Options()
	}
	c := cluster("redis-cluster://:secret@a:1,b?addr=c:3")
	require.ElementsMatch(t, []string{"a:1", "b:6379", "c:3"}, c.Addrs)
	require.Equal(t, "secret", c.Password)
	require.NotNil(t, cluster("rediss-cluster://a").TLSConfig)
}

func TestEveryQueueIsKnownOnce(t *testing.T) {
	t.Parallel()
	names := queues()
	for _, k := range kinds {
		for _, begun := range []bool{false, true} {
			require.Contains(t, names, queueOf(k, begun))
		}
	}
	require.Len(t, names, 13)
}
