package devstack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// RedisOptions says how a Redis server is run.
type RedisOptions struct {
	// Dir is the server's home: redis/ (working directory), redis-password and
	// redis.log. Required; made when it isn't there.
	Dir string
	// Embedded runs miniredis inside this process instead of a server: slower
	// (about 1,000 tasks/s), needs nothing installed.
	Embedded bool
}

// Redis is a server on a private port of 127.0.0.1 with a random password. It
// never evicts and persists nothing: what it holds is gone after Stop. It can
// be started again on the same port. Safe for concurrent use.
type Redis struct {
	opts     RedisOptions
	bin      string // "" runs miniredis
	as       *account
	password string

	mu    sync.Mutex
	port  int
	child *child
	mini  *miniredis.Miniredis
	halt  chan struct{} // ends the clock of mini
	clock sync.WaitGroup
}

func newRedis(bin string, as *account, opts RedisOptions) (*Redis, error) {
	r := &Redis{opts: opts, bin: bin, as: as}
	if bin != "" {
		if err := as.reach(opts.Dir); err != nil {
			return nil, err
		}
		if err := as.makeDir(r.home()); err != nil {
			return nil, err
		}
	}
	var err error
	r.password, err = keptSecret(filepath.Join(opts.Dir, "redis-password"))
	return r, err
}

func (r *Redis) home() string { return filepath.Join(r.opts.Dir, "redis") }

// Embedded says whether this is miniredis.
func (r *Redis) Embedded() bool { return r.bin == "" }

// Start starts the server and returns when it answers. A server that runs
// already is left alone.
func (r *Redis) Start(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mini != nil || r.child != nil && r.child.Alive() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	port, fixed, err := r.port, r.port != 0, error(nil)
	for range 5 {
		if !fixed {
			if port, err = freePort(); err != nil {
				return err
			}
		}
		launch := r.launch
		if r.Embedded() {
			launch = r.embed
		}
		if err = launch(ctx, port); err == nil {
			r.port = port
			return nil
		}
		if !strings.Contains(strings.ToLower(err.Error()), "in use") {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	return err
}

func (r *Redis) launch(ctx context.Context, port int) error {
	// The configuration goes in by standard input: no password on the command line.
	c, err := startChild(childSpec{
		name: "redis", dir: r.home(), path: r.bin, args: []string{"-"}, as: r.as, orphan: syscall.SIGKILL,
		stdin: fmt.Sprintf("bind 127.0.0.1\nport %d\nrequirepass %s\nsave \"\"\nappendonly no\n"+
			"maxmemory-policy noeviction\ndaemonize no\nloglevel warning\nlogfile \"\"\n", port, r.password),
	})
	if err != nil {
		return err
	}
	if err := c.await(ctx, func() bool { return r.answers(port) }); err != nil {
		return errors.Join(err, c.stop(atOnce...))
	}
	r.child = c
	return nil
}

// answers says whether our own server, that is one that takes our password, is
// ready on the port.
func (r *Redis) answers(port int) bool {
	conn, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", r.password); err != nil {
		return false
	}
	in := bufio.NewReader(conn)
	for _, want := range []string{"+OK\r\n", "+PONG\r\n"} {
		if line, err := in.ReadString('\n'); err != nil || line != want {
			return false
		}
	}
	return true
}

func (r *Redis) embed(_ context.Context, port int) error {
	mini := miniredis.NewMiniRedis()
	mini.RequireAuth(r.password)
	if err := mini.StartAddr(net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
		return fmt.Errorf("start miniredis: %w", err)
	}
	halt := make(chan struct{})
	// miniredis' keys age only when told to.
	r.clock.Go(func() {
		const second = time.Second
		tick := time.NewTicker(second)
		defer tick.Stop()
		for {
			select {
			case <-halt:
				return
			case <-tick.C:
				mini.FastForward(second)
			}
		}
	})
	r.mini, r.halt = mini, halt
	return nil
}

// Stop ends the server and with it all it held; immediate kills it. A server
// that doesn't run is no error.
func (r *Redis) Stop(immediate bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mini != nil {
		close(r.halt)
		r.clock.Wait()
		r.mini.Close()
		r.mini, r.halt = nil, nil
	}
	if r.child == nil {
		return nil
	}
	steps := []stopStep{{syscall.SIGTERM, 5 * time.Second}, {syscall.SIGKILL, 5 * time.Second}}
	if immediate {
		steps = steps[1:]
	}
	if err := r.child.stop(steps...); err != nil {
		return err
	}
	r.child = nil
	return nil
}

// PID returns the server's process id; 0 for miniredis or when it doesn't run.
func (r *Redis) PID() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.child == nil || !r.child.Alive() {
		return 0
	}
	return r.child.PID
}

// URL returns redis://:password@127.0.0.1:port/0; it stays the same over Stop
// and Start.
func (r *Redis) URL() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := url.URL{Scheme: "redis", User: url.UserPassword("", r.password), Host: "127.0.0.1:" + strconv.Itoa(r.port), Path: "/0"}
	return u.String()
}

// locateRedis chooses between a server and miniredis.
func locateRedis(embedded bool) (string, error) {
	if embedded {
		return "", nil
	}
	bin, err := findRedis(os.Getenv)
	var missing *MissingError
	if errors.As(err, &missing) && os.Getenv(RedisVariable) == "" {
		return "", nil
	}
	return bin, err
}
