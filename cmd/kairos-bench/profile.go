package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// profileAddress names the file in which a process under --profile leaves the
// address of its profiles.
const profileAddress = "KAIROS_BENCH_PPROF"

// profiled is laid over the command's source when it is built under --profile:
// the binary that is shipped serves no profiles.
const profiled = `package main

import (
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
)

func init() {
	path := os.Getenv("` + profileAddress + `")
	if path == "" {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile(path, []byte(l.Addr().String()), 0o600); err != nil {
		panic(err)
	}
	go http.Serve(l, nil)
}
`

// overlay writes what go build -overlay wants.
func (b *bench) overlay(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "kairos/cmd/kairos").Output()
	if err != nil {
		return "", fmt.Errorf("find the command's source: %w", err)
	}
	source, plan := filepath.Join(b.dir, "pprof.go"), filepath.Join(b.dir, "overlay.json")
	raw, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(strings.TrimSpace(string(out)), "bench_pprof.go"): source}})
	if err != nil {
		return "", err
	}
	return plan, errors.Join(os.WriteFile(source, []byte(profiled), 0o600), os.WriteFile(plan, raw, 0o600))
}

// profiling collects CPU profiles from its making to its end.
type profiling struct {
	w    *world
	name string
	over sync.WaitGroup
}

// maxProfile bounds a profile; a path that takes longer is profiled from its beginning.
const maxProfile = 30 * time.Second

// profile begins to profile all processes of Kairos, if that was asked for.
func (w *world) profile(ctx context.Context, name string) *profiling {
	p := &profiling{w: w, name: name}
	if w.Profile == "" {
		return p
	}
	if err := w.exec(ctx, "SELECT pg_stat_statements_reset()"); err != nil {
		w.say("  %v", err)
	}
	for _, c := range w.procs {
		if c.pprof != "" {
			p.over.Go(func() {
				if err := p.save(ctx, c, "profile?seconds="+fmt.Sprint(int(maxProfile.Seconds())), "cpu"); err != nil {
					w.say("  profile of %s: %v", c.name, err)
				}
			})
		}
	}
	return p
}

func (p *profiling) save(ctx context.Context, c *process, what, kind string) error {
	addr, err := os.ReadFile(c.pprof)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+string(addr)+"/debug/pprof/"+what, nil)
	if err != nil {
		return err
	}
	raw, err := fetch(req)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.w.Profile, p.name+"-"+c.name+"."+kind), raw, 0o600)
}

// statements is what Postgres did meanwhile.
const statements = `
	SELECT coalesce(string_agg(format('%s s total, %s calls, %s rows, %s ms each: %s', round((total_exec_time / 1000)::numeric, 2), calls, rows,
	       round(mean_exec_time::numeric, 2), regexp_replace(left(query, 300), '\s+', ' ', 'g')), E'\n' ORDER BY total_exec_time DESC), '')
	FROM (SELECT * FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 40) s`

// end waits for the profiles and writes what Postgres counted.
func (p *profiling) end(ctx context.Context) error {
	if p.w.Profile == "" {
		return nil
	}
	var text string
	if err := p.w.pool.QueryRow(ctx, statements).Scan(&text); err != nil {
		return fmt.Errorf("read statistics of statements: %w", err)
	}
	p.w.say("  waiting for the profiles")
	p.over.Wait()
	errs := []error{os.WriteFile(filepath.Join(p.w.Profile, p.name+"-statements.txt"), []byte(text+"\n"), 0o600)}
	for _, c := range p.w.procs {
		if c.pprof != "" {
			errs = append(errs, p.save(ctx, c, "heap", "heap"))
		}
	}
	return errors.Join(errs...)
}
