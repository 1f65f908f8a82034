package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"kairos/internal/devstack"
	"kairos/internal/pg"
	"kairos/internal/rig"
)

// Roles of the processes.
const (
	rolesFront = "api,track"
	rolesStage = "creation,orchestration,analysis"
	rolesSend  = "delivery"
	rolesAll   = "creation,orchestration,delivery,analysis"
)

// secret is the root key of every world: scenarios mint links with it.
var secret = "1:" + strings.Repeat("5e", 32)

// trial is a scenario that runs: an installation of real processes on parts of
// its own.
type trial struct {
	*suite
	ctx    context.Context
	name   string
	random *rand.Rand
	res    *result

	dir    string
	binary string
	stack  *devstack.Stack
	pool   *pgxpool.Pool
	redis  string // URL, where it isn't the stack's
	listen string // of the public process
	env    []string
	api    *rig.Client
	nth    int
	// inFlight is the most attempts that one process has open towards the SMTP
	// server: what a kill can leave in doubt.
	inFlight int
	ends     []func() error

	watching sync.WaitGroup // take-overs
	mu       sync.Mutex     // of procs and what watchers write
	procs    []*rig.Process
	spent    []time.Duration // on visits of the bare server
}

func (t *trial) say(format string, args ...any) {
	t.suite.say("%-24s %s", t.name, fmt.Sprintf(format, args...))
}

// check ends the scenario when err is one. Only the scenario's own goroutine
// may call it.
func (t *trial) check(err error) {
	if err != nil {
		panic(halt{err})
	}
}

// skip ends the scenario with a reason that stands in the table.
func (t *trial) skip(format string, args ...any) {
	t.res.Skipped = fmt.Sprintf(format, args...)
	panic(halt{errSkipped})
}

// breach notes a broken promise and lets the scenario go on.
func (t *trial) breach(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.res.Breaches = append(t.res.Breaches, fmt.Sprintf(format, args...))
}

// proves ends the scenario when the trouble came too late to prove anything.
func (t *trial) proves(ok bool, format string, args ...any) {
	if !ok {
		t.check(fmt.Errorf("nothing was proved: "+format, args...))
	}
}

// pick is the first in a short run, the second in a full one.
func pick[T any](t *trial, short, full T) T {
	if t.Full {
		return full
	}
	return short
}

// world starts Postgres and Redis and makes a key. The processes are started
// by the scenario; env is added to theirs.
func (t *trial) world(env ...string) {
	t.env = env
	t.dir = filepath.Join(t.suite.dir, t.name)
	t.check(os.MkdirAll(t.dir, 0o755))
	var err error
	t.binary, err = t.kairos(t.ctx)
	t.check(err)
	t.stack, err = devstack.Start(t.ctx, devstack.Options{Fsync: t.Full, InMemory: !t.Full})
	t.check(err)
	t.pool, err = pg.Open(t.ctx, t.stack.Postgres.SocketURL(""), pg.WithMaxConns(8), pg.WithApplicationName("chaos"))
	t.check(err)
	for _, statement := range t.Sabotage {
		_, err := t.pool.Exec(t.ctx, statement)
		t.check(err)
	}
	t.listen, err = rig.FreeAddr(t.ctx)
	t.check(err)
	var key struct {
		APIKey string `json:"api_key"`
	}
	t.command(&key, "keys", "create", "chaos", "--json")
	t.api = &rig.Client{Server: "http://" + t.listen, Key: key.APIKey}
}

// closing runs fn at the trial's end, the last first.
func (t *trial) closing(fn func() error) { t.ends = append(t.ends, fn) }

// close kills the processes and ends the parts; the directory stays if asked.
func (t *trial) close() error {
	var errs []error
	for _, p := range slices.Backward(t.procs) {
		errs = append(errs, p.Kill())
	}
	for _, fn := range slices.Backward(t.ends) {
		errs = append(errs, fn())
	}
	if t.pool != nil {
		t.pool.Close()
	}
	if t.stack != nil {
		errs = append(errs, t.stack.Close())
	}
	return errors.Join(errs...)
}

// environment of the processes: nothing of this one's configuration.
func (t *trial) environment(more ...string) []string {
	redis := t.redis
	if redis == "" {
		redis = t.stack.RedisURL()
	}
	env := rig.Environment(
		"KAIROS_DATABASE_URL="+t.stack.DatabaseURL(), "KAIROS_REDIS_URL="+redis, "KAIROS_SECRET="+secret,
		"KAIROS_LISTEN=127.0.0.1:0", "KAIROS_PUBLIC_URL=http://"+t.listen, "KAIROS_EMAIL_FROM=Shop <news@shop.example>",
		"KAIROS_MAX_CONNS=10", "KAIROS_LOG_LEVEL=info")
	return append(append(env, t.env...), more...)
}

// command runs a command of the binary to its end and decodes what it prints.
func (t *trial) command(into any, args ...string) {
	t.check(rig.Output(t.ctx, into, t.environment(), t.binary, args...))
}

// serve starts a process with these roles and waits until it serves. The first
// one with the role api has the public address.
func (t *trial) serve(roles string, env ...string) *rig.Process {
	return t.serveWith(t.binary, roles, env...)
}

func (t *trial) serveWith(binary, roles string, env ...string) *rig.Process {
	p, err := t.launch(binary, roles, env...)
	t.check(err)
	return p
}

// launch is serve for any goroutine.
func (t *trial) launch(binary, roles string, env ...string) (*rig.Process, error) {
	t.mu.Lock()
	t.nth++
	name := fmt.Sprintf("%02d-%s", t.nth, strings.ReplaceAll(roles, ",", "-"))
	t.mu.Unlock()
	dir := filepath.Join(t.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	base := []string{"KAIROS_ROLES=" + roles, "KAIROS_DATA_DIR=" + dir}
	if roles == rolesFront {
		base = append(base, "KAIROS_LISTEN="+t.listen)
	}
	p, err := rig.Start(t.ctx, rig.Program{
		Name: name, Log: filepath.Join(dir, "log"), Env: t.environment(append(base, env...)...), Path: binary, Args: []string{"serve", "--json"},
	})
	if err != nil {
		return nil, err
	}
	if p.URL == "" {
		return nil, errors.Join(fmt.Errorf("%s tells no address: %q", name, p.Line), p.Kill())
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.procs = append(t.procs, p)
	return p, nil
}

// until polls until what is missing is nothing.
func (t *trial) until(within time.Duration, missing func() string) {
	deadline := time.Now().Add(within)
	for {
		what := missing()
		if what == "" {
			return
		}
		if time.Now().After(deadline) {
			t.check(fmt.Errorf("after %s: %s", within, what))
		}
		t.pause(25 * time.Millisecond)
	}
}

// pause lets time pass.
func (t *trial) pause(d time.Duration) {
	select {
	case <-t.ctx.Done():
		t.check(t.ctx.Err())
	case <-time.After(d):
	}
}

// between is a random duration.
func (t *trial) between(least, most time.Duration) time.Duration {
	return least + time.Duration(t.random.Int64N(int64(most-least)+1))
}

// count is one number from the database.
func (t *trial) count(query string, args ...any) (n int) {
	t.check(t.pool.QueryRow(t.ctx, query, args...).Scan(&n))
	return n
}
