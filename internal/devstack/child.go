package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a server process that never outlives this one: on Linux the kernel
// sends it a signal when this process dies in any way, elsewhere the undertaker
// does.
type child struct {
	pid     int
	name    string
	logFile string
	pidFile string
	done    chan struct{} // closed when the process has ended
	err     error         // how it ended; read after done
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
	c := &child{
		name:    spec.name,
		logFile: filepath.Join(home, spec.name+".log"),
		pidFile: filepath.Join(home, spec.name+".pid"),
		done:    make(chan struct{}),
	}
	log, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", spec.name, err)
	}
	cmd := exec.Command(spec.path, spec.args...)
	cmd.Dir = spec.dir
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = serverEnv()
	// A group of its own: Ctrl-C on the terminal is for us, we stop it in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: spec.as.credential()}
	tieToParent(cmd.SysProcAttr, spec.orphan)

	var stdin *os.File
	if spec.stdin != "" {
		if stdin, err = filled(spec.stdin); err != nil {
			_ = log.Close()
			return nil, err
		}
		cmd.Stdin = stdin
	}
	started := make(chan error)
	go c.run(cmd, started)
	err = <-started
	_ = log.Close()
	if stdin != nil {
		_ = stdin.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.name, err)
	}
	return c, nil
}

// run starts the process and waits for its end, on one operating system thread
// of its own: the kernel's parent-death signal fires when the *thread* that
// forked ends, and the Go runtime ends threads as it likes.
func (c *child) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	c.pid = cmd.Process.Pid
	err := os.WriteFile(c.pidFile, []byte(strconv.Itoa(c.pid)+"\n"), 0o600)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		started <- err
		return
	}
	started <- nil
	c.err = cmd.Wait()
	_ = os.Remove(c.pidFile)
	close(c.done)
}

func (c *child) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// stop sends the signals one after another, each with its patience, and
// returns nil as soon as the process has ended.
func (c *child) stop(steps ...stopStep) error {
	for _, step := range steps {
		if err := syscall.Kill(c.pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal %s (pid %d): %w", c.name, c.pid, err)
		}
		select {
		case <-c.done:
			return nil
		case <-time.After(step.patience):
		}
	}
	return fmt.Errorf("stop %s: pid %d outlived every signal", c.name, c.pid)
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
		case <-c.done:
			return fmt.Errorf("%s ended while starting (%w): %s", c.name, c.err, c.logTail())
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w: %s", c.name, ctx.Err(), c.logTail())
		case <-tick.C:
		}
	}
}

// logTail returns the last lines of the process's log, in one line.
func (c *child) logTail() string {
	raw, err := os.ReadFile(c.logFile)
	if err != nil {
		return "no log"
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], " | ")
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
