package devstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisGroup is several Redis servers that stand for one another, of a test's
// own: private ports of 127.0.0.1, private directories, one random password,
// nothing kept on disk but what Redis knows of the group. They never evict and
// are gone after the test.
type RedisGroup struct {
	// URL is what Kairos is given: redis-cluster:// or redis-sentinel://.
	URL string
	// Nodes are the servers that hold data: a cluster's masters, then their
	// replicas in the same order; a sentinel group's first master, then its
	// replica.
	Nodes []*RedisNode

	bin, dir, password string
	as                 *account
	all                []*RedisNode // sentinels too
}

// RedisNode is one server of a group.
type RedisNode struct {
	group  *RedisGroup
	name   string
	port   int
	config string // in the syntax of redis.conf; a sentinel's is in a file instead
	args   []string
	child  *child
}

// newGroup fails the test when no Redis server is installed.
func newGroup(t testing.TB) *RedisGroup {
	t.Helper()
	bin, err := findRedis(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	dir, as, hearse := testHome(t, "")
	g := &RedisGroup{bin: bin, dir: dir, as: as}
	t.Cleanup(func() {
		var errs []error
		for _, n := range g.all {
			errs = append(errs, n.Kill())
		}
		check(t, append(errs, hearse.bury())...)
	})
	if g.password, err = keptSecret(filepath.Join(dir, "redis-password")); err != nil {
		t.Fatal(err)
	}
	return g
}

// add makes a node and starts it. A port that somebody took meanwhile is
// replaced by another.
func (g *RedisGroup) add(ctx context.Context, name, config string) (*RedisNode, error) {
	n := &RedisNode{group: g, name: name, args: []string{"-"}}
	if err := g.as.makeDir(n.dir()); err != nil {
		return nil, err
	}
	g.all = append(g.all, n)
	var err error
	for range 5 {
		if n.port, err = busPort(); err != nil {
			return nil, err
		}
		n.config = fmt.Sprintf("bind 127.0.0.1\nport %d\nrequirepass %s\nmasterauth %s\nsave \"\"\nappendonly no\n"+
			"maxmemory-policy noeviction\nrepl-diskless-sync-delay 0\ndaemonize no\nloglevel warning\nlogfile \"\"\n", n.port, g.password, g.password) + config
		if err = n.Start(ctx); err == nil || !strings.Contains(strings.ToLower(err.Error()), "in use") {
			break
		}
	}
	return n, err
}

func (n *RedisNode) dir() string { return filepath.Join(n.group.dir, n.name) }

// Addr returns host:port.
func (n *RedisNode) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

// Start starts the server, again on the same port, and returns when it answers.
func (n *RedisNode) Start(ctx context.Context) error {
	if n.child != nil && n.child.Alive() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	c, err := startChild(childSpec{
		name: n.name, dir: n.dir(), path: n.group.bin, args: n.args, as: n.group.as, orphan: syscall.SIGKILL, stdin: n.config,
	})
	if err != nil {
		return err
	}
	if err := c.await(ctx, func() bool { return n.answers(ctx) }); err != nil {
		return errors.Join(err, c.stop(stopStep{syscall.SIGKILL, 5 * time.Second}))
	}
	n.child = c
	return nil
}

// answers says whether a server that takes our password is ready on the port.
func (n *RedisNode) answers(ctx context.Context) bool {
	conn, err := net.DialTimeout("tcp4", n.Addr(), time.Second) // the client would log each attempt
	if err != nil {
		return false
	}
	_ = conn.Close()
	client := n.Client()
	defer func() { _ = client.Close() }()
	return client.Ping(ctx).Err() == nil
}

// Kill ends the server with SIGKILL, and with it all it held. One that doesn't
// run is no error.
func (n *RedisNode) Kill() error {
	if n.child == nil {
		return nil
	}
	c := n.child
	n.child = nil
	return c.stop(stopStep{syscall.SIGKILL, 5 * time.Second})
}

// Client returns a client of this one server, to be closed by the caller.
func (n *RedisNode) Client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: n.Addr(), Password: n.group.password, MaxRetries: -1, DialTimeout: time.Second, DialerRetries: 1})
}

// busPort returns a free port whose cluster bus, 10,000 above, is free too.
func busPort() (int, error) {
	for range 20 {
		port, err := freePort()
		if err != nil {
			return 0, err
		}
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+10_000)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("release port: %w", err)
		}
		return port, nil
	}
	return 0, errors.New("find a free pair of ports")
}

// settled waits until every one of the nodes answers INFO's or CLUSTER INFO's
// question as it should.
func settled(ctx context.Context, what string, nodes []*RedisNode, ask func(context.Context, *redis.Client) (string, error), want ...string) error {
	for _, n := range nodes {
		err := func() error {
			client := n.Client()
			defer func() { _ = client.Close() }()
			for {
				text, err := ask(ctx, client)
				missing := ""
				for _, w := range want {
					if err == nil && !strings.Contains(text, w) {
						missing = w
					}
				}
				if err == nil && missing == "" {
					return nil
				}
				select {
				case <-ctx.Done():
					return fmt.Errorf("wait for %s on %s: %w", what, n.name, errors.Join(ctx.Err(), err, fmt.Errorf("no %q in %q", missing, text)))
				case <-time.After(20 * time.Millisecond):
				}
			}
		}()
		if err != nil {
			return err
		}
	}
	return nil
}
