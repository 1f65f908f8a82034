package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"kairos/internal/devstack"
	"kairos/internal/rig"
)

// secret is the root key of every world: the bench mints links with it.
var secret = "1:" + strings.Repeat("5e", 32)

// world is an installation of real processes on parts of its own.
type world struct {
	*bench
	dir    string
	stack  *devstack.Stack
	pool   *pgxpool.Pool
	redis  *redis.Client
	listen string // of the process with the API
	api    *rig.Client
	procs  []*process

	collectors []string // URLs of processes that collect, beside the one with the API
}

// close ends the processes in order, then the parts.
func (w *world) close() error {
	var errs []error
	for _, p := range slices.Backward(w.procs) {
		errs = append(errs, p.Stop())
	}
	if w.redis != nil {
		errs = append(errs, w.redis.Close())
	}
	if w.pool != nil {
		w.pool.Close()
	}
	if w.stack != nil {
		errs = append(errs, w.stack.Close())
	}
	if !w.Keep {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

func (w *world) environment(more ...string) []string {
	return append(rig.Environment(
		"KAIROS_DATABASE_URL="+w.stack.DatabaseURL(), "KAIROS_REDIS_URL="+w.stack.RedisURL(), "KAIROS_SECRET="+secret,
		"KAIROS_LISTEN=127.0.0.1:0", "KAIROS_PUBLIC_URL=http://"+w.listen, "KAIROS_EMAIL_FROM=Shop <news@shop.example>",
	), more...)
}

// command runs a command of the binary to its end and decodes what it prints.
func (w *world) command(ctx context.Context, into any, args ...string) error {
	return rig.Output(ctx, into, w.environment(), w.binary, args...)
}

// serve starts a process with these roles and waits until it serves.
func (w *world) serve(ctx context.Context, name, roles string, env ...string) (*process, error) {
	dir := filepath.Join(w.dir, fmt.Sprintf("%s-%d", name, len(w.procs)))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	env = append([]string{"KAIROS_ROLES=" + roles, "KAIROS_DATA_DIR=" + dir}, env...)
	if strings.Contains(roles, "api") {
		env = append(env, "KAIROS_LISTEN="+w.listen)
	}
	if w.Profile != "" {
		env = append(env, profileAddress+"="+filepath.Join(dir, "pprof"))
	}
	p, err := w.start(ctx, rig.Program{
		Name: name, Log: filepath.Join(dir, "log"), Env: w.environment(env...), Path: w.binary, Args: []string{"serve", "--json"},
	})
	if err != nil {
		return nil, err
	}
	if w.Profile != "" {
		p.pprof = filepath.Join(dir, "pprof")
	}
	return p, nil
}

// end stops a process before the world does.
func (w *world) end(p *process) error {
	w.procs = slices.DeleteFunc(w.procs, func(q *process) bool { return p == q })
	return p.Stop()
}

// count is one number from the database.
func (w *world) count(ctx context.Context, query string, args ...any) (n int64, err error) {
	if err := w.pool.QueryRow(ctx, query, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	return n, nil
}

// exec runs statements one after another.
func (w *world) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := w.pool.Exec(ctx, s); err != nil {
			return fmt.Errorf("%.60s: %w", s, err)
		}
	}
	return nil
}

// until polls a condition; progress goes to the terminal now and then.
func (w *world) until(ctx context.Context, within, every time.Duration, what string, done func() (bool, string, error)) error {
	deadline, told := time.Now().Add(within), time.Now()
	for {
		ok, where, err := done()
		if err != nil || ok {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not after %s: %s", what, within, where)
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			w.say("  %s: %s", what, where)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(every):
		}
	}
}

// folded waits until the reports have caught up with the log.
func (w *world) folded(ctx context.Context) error {
	return w.until(ctx, 20*time.Minute, 100*time.Millisecond, "the fold", func() (bool, string, error) {
		n, err := w.count(ctx, `
			SELECT count(*) FROM (SELECT FROM events
			WHERE (xid, position) > (coalesce((SELECT xid FROM event_cursors WHERE reader = 'analysis.fold'), '0'::xid8),
			                         coalesce((SELECT position FROM event_cursors WHERE reader = 'analysis.fold'), 0)) LIMIT 1) x`)
		return n == 0, "behind", err
	})
}

// template saves the content every campaign here has.
func (w *world) template(ctx context.Context) (string, error) {
	var t struct {
		ID string `json:"id"`
	}
	err := w.api.Post(ctx, "/v1/templates", map[string]any{
		"name": "Offer", "channel": "email", "subject": "This week's offer", "html": letter(),
	}, &t)
	return t.ID, err
}

// campaign makes a draft and launches it; its id is returned with the moment
// the launch was asked for.
func (w *world) campaign(ctx context.Context, changes map[string]any) (string, time.Time, error) {
	t, err := w.template(ctx)
	if err != nil {
		return "", time.Time{}, err
	}
	id, err := w.draft(ctx, t, changes)
	if err != nil {
		return "", time.Time{}, err
	}
	at := time.Now()
	return id, at, w.launch(ctx, id)
}

// draft makes a campaign that is like the bench's usual one but for changes.
func (w *world) draft(ctx context.Context, template string, changes map[string]any) (string, error) {
	spec := map[string]any{
		"name": "Offer", "template": template, "audience": map[string]any{"all": true}, "schedule": map[string]any{"mode": "now"},
	}
	for k, v := range changes {
		spec[k] = v
	}
	var c struct {
		ID string `json:"id"`
	}
	err := w.api.Post(ctx, "/v1/campaigns", spec, &c)
	return c.ID, err
}

func (w *world) launch(ctx context.Context, id string) error {
	return w.api.Post(ctx, "/v1/campaigns/"+id+"/launch", nil, nil)
}

// state reads a campaign's state and progress.
func (w *world) state(ctx context.Context, id string) (state string, progress map[string]int64, err error) {
	var c struct {
		State    string           `json:"state"`
		Progress map[string]int64 `json:"progress"`
	}
	err = w.api.Get(ctx, "/v1/campaigns/"+id, &c)
	return c.State, c.Progress, err
}

func dialRedis(ctx context.Context, url string) (*redis.Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("read redis url: %w", err)
	}
	r := redis.NewClient(o)
	return r, r.Ping(ctx).Err()
}
