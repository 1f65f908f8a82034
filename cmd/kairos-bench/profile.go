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
	db   *activity
}

// maxProfile bounds a profile; a path that takes longer is profiled from its beginning.
const maxProfile = 30 * time.Second

// profile begins to profile all processes of Kairos, if that was asked for.
func (w *world) profile(ctx context.Context, name string) *profiling {
	p := &profiling{w: w, name: name}
	if w.Profile == "" {
		return p
	}
	p.db = w.observe(ctx)
	for _, c := range w.procs {
		if c.pprof != "" {
			p.over.Go(func() {
				if err := p.save(ctx, c, "profile?seconds="+fmt.Sprint(int(maxProfile.Seconds())), "cpu"); err != nil {
					w.say("  profile of %s: %v", c.Name, err)
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
	return os.WriteFile(filepath.Join(p.w.Profile, p.name+"-"+c.Name+"."+kind), raw, 0o600)
}

// end waits for the profiles and writes what Postgres counted.
func (p *profiling) end(ctx context.Context) error {
	if p.w.Profile == "" {
		return nil
	}
	text, err := p.db.end(ctx)
	if err != nil {
		return err
	}
	p.w.say("  waiting for the profiles")
	p.over.Wait()
	errs := []error{os.WriteFile(filepath.Join(p.w.Profile, p.name+"-postgres.txt"), []byte(text), 0o600)}
	for _, c := range p.w.procs {
		if c.pprof != "" {
			errs = append(errs, p.save(ctx, c, "heap", "heap"))
		}
	}
	if raw, err := os.ReadFile(filepath.Join(p.w.stack.Dir(), "postgres.log")); err == nil {
		errs = append(errs, os.WriteFile(filepath.Join(p.w.Profile, p.name+"-postgres.log"), raw, 0o600))
	}
	return errors.Join(errs...)
}
