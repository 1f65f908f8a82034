package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"kairos/internal/rig"
)

// suiteOptions of a suite. The zero value runs short scenarios in silence.
type suiteOptions struct {
	Full bool
	Seed uint64
	Old  string    // the other binary's commit in old-and-new
	Keep bool      // leave the directory
	Log  io.Writer // what goes on
	// Overlay is a file for go build -overlay: a mutant of the binary, and of
	// the packages whose own tests a scenario runs.
	Overlay string
	// Sabotage are statements run on each database before the processes start.
	Sabotage []string
}

// suite is a binary and a directory for any number of scenarios. Safe for
// concurrent use.
type suite struct {
	suiteOptions
	dir   string
	began time.Time

	mu       sync.Mutex
	binaries map[string]*binary // by name
}

type binary struct {
	once sync.Once
	path string
	err  error
}

// newSuite makes the directory. Binaries are built when a scenario needs them.
func newSuite(o suiteOptions) (_ *suite, err error) {
	s := &suite{suiteOptions: o, began: time.Now(), binaries: map[string]*binary{}}
	if s.Log == nil {
		s.Log = io.Discard
	}
	if s.dir, err = os.MkdirTemp("", "kairos-chaos-"); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	s.say("seed %d", s.Seed)
	return s, nil
}

// kairos is the binary that is tried.
func (s *suite) kairos(ctx context.Context) (string, error) {
	return s.once("kairos", func() (string, error) { return s.build(ctx, "kairos", s.Overlay) })
}

// build builds the command, with an overlay or without ("").
func (s *suite) build(ctx context.Context, name, overlay string) (string, error) {
	path := filepath.Join(s.dir, name)
	args := []string{"build", "-o", path}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.CommandContext(ctx, "go", append(args, "kairos/cmd/kairos")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

// once builds a binary at its first call.
func (s *suite) once(name string, build func() (string, error)) (string, error) {
	s.mu.Lock()
	b := s.binaries[name]
	if b == nil {
		b = &binary{}
		s.binaries[name] = b
	}
	s.mu.Unlock()
	b.once.Do(func() {
		s.say("building %s", name)
		b.path, b.err = build()
	})
	return b.path, b.err
}

// goTest runs tests of a package of this module, under the suite's overlay.
// count is how many passed.
func (s *suite) goTest(ctx context.Context, pkg, tests string) (passed int, err error) {
	args := []string{"test", "-count=1", "-timeout=60s", "-v", "-run", tests}
	if s.Overlay != "" {
		args = append(args, "-overlay", s.Overlay)
	}
	out, err := exec.CommandContext(ctx, "go", append(args, pkg)...).CombinedOutput()
	passed = strings.Count(string(out), "--- PASS")
	if err != nil {
		return passed, fmt.Errorf("tests of %s: %w\n%s", pkg, err, rig.Tail(string(out), 12))
	}
	return passed, nil
}

func (s *suite) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.Log, "%7.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func (s *suite) close() error {
	if s.Keep {
		s.say("logs are in %s", s.dir)
		return nil
	}
	return os.RemoveAll(s.dir)
}

// conditions in one line.
func (s *suite) conditions(ctx context.Context) string {
	commit := "unknown"
	if out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
	}
	load := ""
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load before " + strings.Join(strings.Fields(string(raw))[:3], " ")
	}
	return fmt.Sprintf("commit %s, %s, %d cores, %s%s", commit, runtime.Version(), runtime.NumCPU(), time.Now().UTC().Format(time.RFC3339), load)
}

// halt ends a scenario at once; trial.check and trial.skip throw it.
type halt struct{ err error }

var errSkipped = errors.New("skipped")

// run runs one scenario in a world of its own, within a bounded time.
func (s *suite) run(ctx context.Context, sc scenario) *result {
	limit := 4 * time.Minute
	if s.Full {
		limit = 40 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	h := fnv.New64a()
	_, _ = h.Write([]byte(sc.name))
	t := &trial{
		suite: s, ctx: ctx, name: sc.name, random: rand.New(rand.NewPCG(s.Seed, h.Sum64())),
		res: &result{Scenario: sc.name, Group: sc.group, Seed: s.Seed, Full: s.Full},
	}
	t.say("%s", sc.about)
	began := time.Now()
	func() {
		defer func() {
			if r := recover(); r != nil {
				h, ok := r.(halt)
				if !ok {
					panic(r)
				}
				if !errors.Is(h.err, errSkipped) {
					t.breach("could not be run to its end: %v", h.err)
				}
			}
		}()
		sc.run(t)
	}()
	t.watching.Wait()
	t.judge()
	if err := t.close(); err != nil {
		t.breach("does not end in order: %v", err)
	}
	t.res.Seconds = time.Since(began).Seconds()
	t.say("%s", t.res.words())
	return t.res
}
