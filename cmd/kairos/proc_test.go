package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/internal/rig"
)

// asKairos in the environment turns the test binary into the command.
const asKairos = "KAIROS_TEST_AS_KAIROS"

// proc is a real process of the command: a group of its own that dies with the
// test.
type proc struct {
	t      testing.TB
	name   string
	pid    int
	url    string
	stdout buffer
	stderr buffer
	lines  chan string
	done   <-chan struct{}
	code   int // after done
}

// start runs the command with arguments and exactly this KAIROS_ environment.
func start(t testing.TB, env map[string]string, args ...string) *proc {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "KAIROS_") || strings.HasPrefix(kv, "KAIROS_PG_") || strings.HasPrefix(kv, "KAIROS_REDIS_BIN") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Env = append(cmd.Env, asKairos+"=1")
	cmd.Dir = t.TempDir()
	p := &proc{t: t, name: "kairos " + args[0], lines: make(chan string, 1000)}
	cmd.Stderr = &p.stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	child, err := rig.Begin(cmd, rig.Life{
		Live: func() { p.read(bufio.NewScanner(out)) },
		Gone: func() { p.code = cmd.ProcessState.ExitCode() },
	})
	require.NoError(t, err)
	p.pid, p.done = child.PID, child.Done()
	t.Cleanup(p.end)
	return p
}

// read keeps what the process prints.
func (p *proc) read(out *bufio.Scanner) {
	out.Buffer(nil, 1<<20)
	for out.Scan() {
		_, _ = fmt.Fprintln(&p.stdout, out.Text())
		select {
		case p.lines <- out.Text():
		default: // nobody reads that many
		}
	}
}

// line returns the next line of its standard output.
func (p *proc) line(within time.Duration) string {
	p.t.Helper()
	select {
	case s := <-p.lines:
		return s
	case <-p.done:
		require.FailNow(p.t, p.name+" ended", "status %d: %s", p.code, p.stderr.String())
	case <-time.After(within):
		require.FailNow(p.t, p.name+" says nothing", "%s", p.stderr.String())
	}
	return ""
}

// wait returns its status; -1 after a signal.
func (p *proc) wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		require.FailNow(p.t, p.name+" does not end", "%s", p.stderr.String())
	}
	return p.code
}

// signal sends it to the process alone, not to its group.
func (p *proc) signal(s syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, syscall.Kill(p.pid, s))
}

// kill is kill -9.
func (p *proc) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait(10 * time.Second)
}

// end kills what is left of the group and shows the log of a failed test.
func (p *proc) end() {
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // gone already is fine
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.t.Errorf("%s (pid %d) outlives SIGKILL", p.name, p.pid)
	}
	for i := 0; syscall.Kill(-p.pid, 0) == nil; i++ {
		if i == 100 {
			p.t.Errorf("%s left processes in its group %d", p.name, p.pid)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if p.t.Failed() {
		p.t.Logf("%s, pid %d, status %d, ended its log with:\n%s", p.name, p.pid, p.code, p.stderr.tail(20))
	}
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) tail(lines int) string {
	all := strings.Split(rig.Tail(b.String(), lines), "\n")
	for i, line := range all {
		all[i] = line[:min(len(line), 300)]
	}
	return strings.Join(all, "\n")
}
