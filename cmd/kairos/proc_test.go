package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	done   chan struct{}
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p := &proc{t: t, name: "kairos " + args[0], lines: make(chan string, 1000), done: make(chan struct{})}
	cmd.Stderr = &p.stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	started := make(chan error)
	go p.live(cmd, bufio.NewScanner(out), started)
	require.NoError(t, <-started)
	t.Cleanup(p.end)
	return p
}

// live is the process's life. The kernel's parent-death signal comes when the
// thread ends that started it, so that one waits.
func (p *proc) live(cmd *exec.Cmd, out *bufio.Scanner, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	if err == nil {
		p.pid = cmd.Process.Pid
	}
	started <- err
	if err != nil {
		return
	}
	out.Buffer(nil, 1<<20)
	for out.Scan() {
		_, _ = fmt.Fprintln(&p.stdout, out.Text())
		select {
		case p.lines <- out.Text():
		default: // nobody reads that many
		}
	}
	_ = cmd.Wait() // the state says it all
	p.code = cmd.ProcessState.ExitCode()
	close(p.done)
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
	all := strings.Split(strings.TrimSpace(b.String()), "\n")
	all = all[max(0, len(all)-lines):]
	for i, line := range all {
		all[i] = line[:min(len(line), 300)]
	}
	return strings.Join(all, "\n")
}
