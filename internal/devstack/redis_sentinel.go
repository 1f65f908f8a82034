package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	sentinels  = 3
	masterName = "kairos"
)

// NewRedisSentinelServers starts three sentinels that watch a master and its
// replica, all of the test's own; the URL is a redis-sentinel:// one. The
// sentinels call a master dead after a second without an answer and put the
// replica in its place in a second or two more.
func NewRedisSentinelServers(t testing.TB) *RedisGroup {
	t.Helper()
	g := newGroup(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := g.formSentinel(ctx); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *RedisGroup) formSentinel(ctx context.Context) error {
	master, err := g.add(ctx, "redis-1", "")
	if err != nil {
		return err
	}
	replica, err := g.add(ctx, "redis-2", fmt.Sprintf("replicaof 127.0.0.1 %d\n", master.port))
	if err != nil {
		return err
	}
	g.Nodes = []*RedisNode{master, replica}
	replication := func(ctx context.Context, c *redis.Client) (string, error) { return c.Info(ctx, "replication").Result() }
	if err := settled(ctx, "the replica", []*RedisNode{replica}, replication, "master_link_status:up"); err != nil {
		return err
	}
	var addrs []string
	var watchers []*RedisNode
	for i := range sentinels {
		s, err := g.addSentinel(ctx, fmt.Sprintf("sentinel-%d", i+1), master.port)
		if err != nil {
			return err
		}
		addrs, watchers = append(addrs, s.Addr()), append(watchers, s)
	}
	know := func(ctx context.Context, c *redis.Client) (string, error) { return c.Info(ctx, "sentinel").Result() }
	if err := settled(ctx, "the sentinels", watchers, know, fmt.Sprintf("status=ok,address=%s,slaves=1,sentinels=%d", master.Addr(), sentinels)); err != nil {
		return err
	}
	g.URL = fmt.Sprintf("redis-sentinel://:%s@%s?master=%s&sentinel_password=%s", g.password, strings.Join(addrs, ","), masterName, g.password)
	return nil
}

// addSentinel starts a sentinel; its configuration is a file, which it rewrites.
func (g *RedisGroup) addSentinel(ctx context.Context, name string, master int) (*RedisNode, error) {
	file := filepath.Join(g.dir, name, "sentinel.conf")
	n := &RedisNode{group: g, name: name, args: []string{file, "--sentinel"}}
	if err := g.as.makeDir(n.dir()); err != nil {
		return nil, err
	}
	g.all = append(g.all, n)
	var err error
	for range 5 {
		if n.port, err = freePort(); err != nil {
			return nil, err
		}
		text := fmt.Sprintf("bind 127.0.0.1\nport %d\nrequirepass %[2]s\nsentinel sentinel-pass %[2]s\ndir %[3]q\ndaemonize no\nlogfile \"\"\nloglevel warning\n"+
			"sentinel monitor %[4]s 127.0.0.1 %[5]d 2\nsentinel auth-pass %[4]s %[2]s\nsentinel down-after-milliseconds %[4]s 1000\nsentinel failover-timeout %[4]s 5000\n",
			n.port, g.password, n.dir(), masterName, master)
		err = errors.Join(os.WriteFile(file, []byte(text), 0o600), g.as.own(file))
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", file, err)
		}
		if err = n.Start(ctx); err == nil || !strings.Contains(strings.ToLower(err.Error()), "in use") {
			break
		}
	}
	return n, err
}
