package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"kairos/internal/devstack"
	"kairos/internal/pg"
	"kairos/internal/rig"
)

// bench is one run of the command.
type bench struct {
	*cli
	dir    string // temporary: the binary, logs, data
	binary string
	began  time.Time
	report report
	worlds int
}

// newBench builds the binary that is measured.
func newBench(ctx context.Context, c *cli) (_ *bench, err error) {
	b := &bench{cli: c, began: time.Now()}
	if b.dir, err = os.MkdirTemp("", "kairos-bench-"); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(b.dir))
		}
	}()
	if c.Profile != "" {
		if err := os.MkdirAll(c.Profile, 0o755); err != nil {
			return nil, fmt.Errorf("make directory of profiles: %w", err)
		}
	}
	b.say("building kairos")
	b.binary = filepath.Join(b.dir, "kairos")
	args := []string{"build", "-o", b.binary}
	if c.Profile != "" {
		overlay, err := b.overlay(ctx)
		if err != nil {
			return nil, err
		}
		args = append(args, "-overlay", overlay)
	}
	build := exec.CommandContext(ctx, "go", append(args, "kairos/cmd/kairos")...)
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build kairos: %w\n%s", err, out)
	}
	b.report.Conditions = conditionsOf(ctx, c)
	return b, nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%7.1fs  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// close removes the directory.
func (b *bench) close() error {
	if b.Keep {
		b.say("logs are in %s", b.dir)
		return nil
	}
	return os.RemoveAll(b.dir)
}

// on runs a measurement in a world of its own.
func (b *bench) on(ctx context.Context, measure func(*world) error) (err error) {
	w, err := b.newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	return measure(w)
}

// newWorld starts the parts and makes a key. The processes are started by the
// measurements.
func (b *bench) newWorld(ctx context.Context) (_ *world, err error) {
	b.worlds++
	w := &world{bench: b, dir: filepath.Join(b.dir, fmt.Sprint(b.worlds))}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	b.say("starting Postgres and Redis")
	opts := devstack.Options{Fsync: !b.inMemory, InMemory: b.inMemory}
	opts.Settings = b.settings()
	if w.stack, err = devstack.Start(ctx, opts); err != nil {
		return nil, err
	}
	if w.pool, err = pg.Open(ctx, w.stack.DatabaseURL(), pg.WithMaxConns(4), pg.WithStatementTimeout(0), pg.WithApplicationName("bench")); err != nil {
		return nil, err
	}
	if w.Profile != "" {
		if _, err := w.pool.Exec(ctx, `CREATE EXTENSION IF NOT EXISTS pg_stat_statements`); err != nil {
			return nil, fmt.Errorf("prepare statistics of statements: %w", err)
		}
	}
	if w.redis, err = dialRedis(ctx, w.stack.RedisURL()); err != nil {
		return nil, err
	}
	if b.report.Conditions.Postgres == "" {
		if err := b.report.Conditions.ask(ctx, w); err != nil {
			return nil, err
		}
	}
	listen, err := rig.FreeAddr(ctx)
	if err != nil {
		return nil, err
	}
	w.listen = listen
	var key struct {
		APIKey string `json:"api_key"`
	}
	if err := w.command(ctx, &key, "keys", "create", "bench", "--json"); err != nil {
		return nil, err
	}
	w.api = &rig.Client{Server: "http://" + listen, Key: key.APIKey}
	return w, nil
}
