package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// connect makes a client of what the URL names. The user and password are
// those of Redis itself in every form:
//
//	redis://[user:password@]host[:port][/db]
//	redis-sentinel://[user:password@]host[:port][,host[:port]...][/db]?master=NAME
//	redis-cluster://[user:password@]host[:port][,host[:port]...]
//
// rediss, rediss-sentinel and rediss-cluster are the same over TLS. Sentinels
// listen on 26379 by default and are named with sentinel_username and
// sentinel_password where they want a password; further hosts may be given as
// addr=host:port as well, and go-redis' other options as parameters.
func connect(text string) (redis.UniversalClient, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	kind, plain := "", scheme
	if base, k, ok := strings.Cut(scheme, "-"); ok {
		kind, plain = k, base
	}
	first, more := splitHosts(rest)
	u, err := url.Parse(plain + "://" + first)
	if err != nil || plain != "redis" && plain != "rediss" {
		return nil, fmt.Errorf("parse redis url: %w", reason(err))
	}
	q := u.Query()
	port := "6379"
	if kind == "sentinel" {
		port = "26379"
	}
	for _, addr := range more {
		q.Add("addr", withPort(addr, port))
	}
	switch kind {
	case "":
		if len(more) > 0 {
			return nil, errors.New("parse redis url: several hosts are for redis-sentinel:// and redis-cluster://")
		}
		return single(u)
	case "cluster":
		u.RawQuery = q.Encode()
		return cluster(u)
	case "sentinel":
		return failover(u, q)
	}
	return nil, fmt.Errorf("parse redis url: %w", errURL)
}

func single(u *url.URL) (redis.UniversalClient, error) {
	opts, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("parse redis url: %w", reason(err))
	}
	return redis.NewClient(opts), nil
}

// cluster looks at who holds which slots every second: the client would
// otherwise hold on to a dead master until it happens to meet its successor.
func cluster(u *url.URL) (redis.UniversalClient, error) {
	opts, err := redis.ParseClusterURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("parse redis url: %w", reason(err))
	}
	opts.ClusterStateReloadInterval = time.Second
	return redis.NewClusterClient(opts), nil
}

func failover(u *url.URL, q url.Values) (redis.UniversalClient, error) {
	name := q.Get("master")
	if name == "" {
		return nil, errors.New("parse redis url: redis-sentinel:// needs ?master=NAME, the name that the sentinels know the master by")
	}
	user, password := q.Get("sentinel_username"), q.Get("sentinel_password")
	for _, ours := range []string{"master", "sentinel_username", "sentinel_password"} {
		q.Del(ours)
	}
	own := u.User
	u.User, u.Host = nil, withPort(u.Host, "26379")
	u.RawQuery = q.Encode()
	opts, err := redis.ParseFailoverURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("parse redis url: %w", reason(err))
	}
	opts.MasterName, opts.SentinelUsername, opts.SentinelPassword = name, user, password
	if own != nil {
		opts.Username = own.Username()
		opts.Password, _ = own.Password()
	}
	return &sentinelClient{redis.NewFailoverClient(opts), opts}, nil
}

// sentinelClient knows how else to reach the servers of its group.
type sentinelClient struct {
	*redis.Client
	group *redis.FailoverOptions
}

// splitHosts takes all but the first of the hosts between user and path out of
// what follows the scheme: net/url knows one host only.
func splitHosts(rest string) (first string, more []string) {
	end := len(rest)
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		end = i
	}
	begin := strings.LastIndex(rest[:end], "@") + 1
	hosts := strings.Split(rest[begin:end], ",")
	return rest[:begin] + hosts[0] + rest[end:], hosts[1:]
}

func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// errURL stands for what net/url says, which quotes what may be a password.
var errURL = errors.New("it is not a redis://, redis-sentinel:// or redis-cluster:// URL; in a password / ? # @ : and , are written %2F %3F %23 %40 %3A %2C")

func reason(err error) error {
	if parse := (*url.Error)(nil); err == nil || errors.As(err, &parse) {
		return errURL
	}
	return err
}

// refuseEviction asks every server that holds keys or may come to: a Redis that
// evicts under pressure loses doorbells all the time, and asynq's own
// bookkeeping with them. Of a server that doesn't answer, or forbids CONFIG
// (managed Redis), nothing can be said.
func refuseEviction(ctx context.Context, client redis.UniversalClient) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var mu sync.Mutex
	var evicts error
	look := func(ctx context.Context, c *redis.Client) error {
		got, err := c.ConfigGet(ctx, "maxmemory-policy").Result()
		if p := got["maxmemory-policy"]; err == nil && p != "" && p != "noeviction" {
			mu.Lock()
			defer mu.Unlock()
			evicts = fmt.Errorf("open queue: Redis evicts keys (maxmemory-policy %s): run `redis-cli CONFIG SET maxmemory-policy noeviction` on every server and put it into redis.conf", p)
		}
		return nil
	}
	switch c := client.(type) {
	case *redis.ClusterClient:
		_ = c.ForEachShard(ctx, look) // masters and replicas; fails only when none is reached
	case *sentinelClient:
		_ = look(ctx, c.Client)
		each := redis.NewFailoverClusterClient(c.group)
		defer func() { _ = each.Close() }()
		_ = each.ForEachShard(ctx, look)
	case *redis.Client:
		_ = look(ctx, c)
	}
	return evicts
}
