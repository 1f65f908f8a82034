package devstack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	clusterMasters = 3
	clusterSlots   = 16384
)

// NewRedisCluster returns the redis-cluster:// URL of three masters of the
// test's own, each with a third of the slots.
func NewRedisCluster(t testing.TB) string {
	t.Helper()
	return NewRedisClusterServers(t, false).URL
}

// NewRedisClusterServers is NewRedisCluster for tests that kill servers, with a
// replica for each master if wanted: it takes a dead master's place after about
// a second.
func NewRedisClusterServers(t testing.TB, replicas bool) *RedisGroup {
	t.Helper()
	g := newGroup(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	n := clusterMasters
	if replicas {
		n = 2 * clusterMasters
	}
	if err := g.formCluster(ctx, n); err != nil {
		t.Fatal(err)
	}
	return g
}

// formCluster does what `redis-cli --cluster create` does, without its waits.
func (g *RedisGroup) formCluster(ctx context.Context, n int) error {
	for i := range n {
		node, err := g.add(ctx, fmt.Sprintf("redis-%d", i+1),
			"cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-node-timeout 1000\ncluster-replica-validity-factor 0\n")
		if err != nil {
			return err
		}
		g.Nodes = append(g.Nodes, node)
	}
	var ids []string
	for i, node := range g.Nodes {
		err := node.do(func(c *redis.Client) error {
			id, err := c.Do(ctx, "CLUSTER", "MYID").Text()
			ids = append(ids, id)
			errs := []error{err, c.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err()}
			if i < clusterMasters {
				errs = append(errs, c.ClusterAddSlotsRange(ctx, i*clusterSlots/clusterMasters, (i+1)*clusterSlots/clusterMasters-1).Err())
			}
			if i > 0 {
				errs = append(errs, c.ClusterMeet(ctx, "127.0.0.1", fmt.Sprint(g.Nodes[0].port)).Err())
			}
			return errors.Join(errs...)
		})
		if err != nil {
			return err
		}
	}
	info := func(ctx context.Context, c *redis.Client) (string, error) { return c.ClusterInfo(ctx).Result() }
	if err := settled(ctx, "the cluster", g.Nodes, info, "cluster_state:ok", fmt.Sprintf("cluster_known_nodes:%d\r", n), fmt.Sprintf("cluster_slots_ok:%d\r", clusterSlots)); err != nil {
		return err
	}
	for i := clusterMasters; i < n; i++ {
		err := g.Nodes[i].do(func(c *redis.Client) error { return c.ClusterReplicate(ctx, ids[i-clusterMasters]).Err() })
		if err != nil {
			return err
		}
	}
	if err := g.awaitReplicas(ctx, ids); err != nil {
		return err
	}
	u := url.URL{Scheme: "redis-cluster", User: url.UserPassword("", g.password), Host: g.Nodes[0].Addr()}
	q := url.Values{}
	for _, node := range g.Nodes[1:] {
		q.Add("addr", node.Addr())
	}
	u.RawQuery = q.Encode()
	g.URL = u.String()
	return nil
}

// awaitReplicas waits until the replicas have their masters' data and every
// node knows them as replicas.
func (g *RedisGroup) awaitReplicas(ctx context.Context, ids []string) error {
	var known []string
	for i, node := range g.Nodes[clusterMasters:] {
		known = append(known, fmt.Sprintf("%s %s@%d slave %s", ids[clusterMasters+i], node.Addr(), node.port+10_000, ids[i]))
	}
	roles := func(ctx context.Context, c *redis.Client) (string, error) {
		text, err := c.ClusterNodes(ctx).Result()
		return strings.ReplaceAll(text, "myself,", ""), err
	}
	replication := func(ctx context.Context, c *redis.Client) (string, error) { return c.Info(ctx, "replication").Result() }
	return errors.Join(settled(ctx, "the replicas' data", g.Nodes[clusterMasters:], replication, "master_link_status:up"),
		settled(ctx, "the replicas' roles", g.Nodes, roles, known...))
}

func (n *RedisNode) do(work func(*redis.Client) error) error {
	c := n.Client()
	defer func() { _ = c.Close() }()
	if err := work(c); err != nil {
		return fmt.Errorf("form the group: %s: %w", n.name, err)
	}
	return nil
}
