package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kairos/internal/rig"
)

// child is a server process that never outlives this one: on Linux the kernel
// sends it a signal when this process dies in any way, elsewhere the undertaker
// does.
type child struct {
	*rig.Child
	name    string
	logFile string
}

type childSpec struct {
	name   string // "postgres"; names the log and pid files too
	dir    string // working directory; log and pid files are written to its parent
	path   string
	args   []string
	stdin  string
	as     *account
	orphan syscall.Signal // what the child gets when this process dies
}

func startChild(spec childSpec) (*child, error) {
	home := filepath.Dir(spec.dir)
	c := &child{name: spec.name, logFile: filepath.Join(home, spec.name+".log")}
	pidFile := filepath.Join(home, spec.name+".pid")
	log, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", spec.name, err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(spec.path, spec.args...)
	cmd.Dir = spec.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = serverEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: spec.as.credential()}
	if spec.stdin != "" {
		stdin, err := filled(spec.stdin)
		if err != nil {
			return nil, err
		}
		defer func() { _ = stdin.Close() }()
		cmd.Stdin = stdin
	}
	c.Child, err = rig.Begin(cmd, rig.Life{
		Orphan: spec.orphan,
		Born:   func(pid int) error { return os.WriteFile(pidFile, []byte(strconv.Itoa(pid)+"\n"), 0o600) },
		Gone:   func() { _ = os.Remove(pidFile) },
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.name, err)
	}
	return c, nil
}

// stop sends the signals one after another, each with its patience, and
// returns nil as soon as the process has ended.
func (c *child) stop(steps ...stopStep) error {
	for _, step := range steps {
		if err := syscall.Kill(c.PID, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal %s (pid %d): %w", c.name, c.PID, err)
		}
		if c.Ends(step.patience) {
			return nil
		}
	}
	return fmt.Errorf("stop %s: pid %d outlived every signal", c.name, c.PID)
}

type stopStep struct {
	signal   syscall.Signal
	patience time.Duration
}

// await polls ready every few milliseconds until it says true, the process
// ends, or ctx is done.
func (c *child) await(ctx context.Context, ready func() bool) error {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready() {
			return nil
		}
		select {
		case <-c.Done():
			return fmt.Errorf("%s ended while starting (%w): %s", c.name, c.Err(), c.logTail())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %s", c.name, ctx.Err(), c.logTail())
		case <-tick.C:
		}
	}
}

// logTail returns the last lines of the process's log, in one line.
func (c *child) logTail() string {
	return strings.ReplaceAll(rig.FileTail(c.logFile, 6), "\n", " | ")
}

// filled returns an unnamed file that holds text, positioned at its start.
func filled(text string) (*os.File, error) {
	f, err := os.CreateTemp("", "kairos-stdin-")
	if err != nil {
		return nil, fmt.Errorf("make input file: %w", err)
	}
	_ = os.Remove(f.Name())
	if _, err = f.WriteString(text); err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("fill input file: %w", err)
	}
	return f, nil
}

// serverEnv is this process's environment without what would steer the
// servers: libpq's PG* and the locale.
func serverEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "LC_") || strings.HasPrefix(kv, "LANG") {
			continue
		}
		env = append(env, kv)
	}
	return append(env, "LC_ALL=C")
}
