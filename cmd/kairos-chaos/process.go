package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a `kairos serve` that dies with this process.
type process struct {
	name string
	pid  int
	url  string
	log  string
	done chan struct{}
	err  error // after done
}

// startProcess starts a program and waits for the line with its address.
func startProcess(ctx context.Context, name, log string, env []string, program string, args ...string) (*process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer func() { _ = file.Close() }()
	cmd := exec.Command(program, args...) //nolint:noctx // it is ended by signal
	cmd.Env, cmd.Stderr = env, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, log: log, done: make(chan struct{})}
	started, first := make(chan error), make(chan string, 1)
	go func() { // the parent-death signal comes when the thread ends that started it
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
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 0 {
				first <- lines.Text()
			}
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	select {
	case line := <-first:
		var at struct{ URL string }
		if err = json.Unmarshal([]byte(line), &at); err == nil {
			p.url = at.URL
			return p, nil
		}
	case <-p.done:
		err = fmt.Errorf("%s ended while starting: %w: %s", name, p.err, p.tail())
	case <-time.After(time.Minute):
		err = fmt.Errorf("%s says nothing: %s", name, p.tail())
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = syscall.Kill(p.pid, syscall.SIGKILL)
	return nil, err
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends it to the process alone.
func (p *process) signal(s syscall.Signal) error {
	if !p.alive() {
		return fmt.Errorf("%s has ended: %w: %s", p.name, p.err, p.tail())
	}
	return syscall.Kill(p.pid, s)
}

// kill is kill -9; one that is gone is fine.
func (p *process) kill() error {
	if p.alive() {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("%s (pid %d) outlives SIGKILL", p.name, p.pid)
	}
}

// stop ends it in order, within a minute.
func (p *process) stop() error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s ended badly: %w: %s", p.name, p.err, p.tail())
		}
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("%s did not stop within a minute: %s", p.name, p.tail())
	}
}

// tail is the end of its log.
func (p *process) tail() string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return "no log"
	}
	return tail(string(raw), 8)
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// output runs a command to its end and decodes what it prints.
func (t *trial) output(into any, program string, args ...string) error {
	cmd := exec.CommandContext(t.ctx, program, args...)
	cmd.Env = t.environment()
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("kairos %s: %w", args[0], err)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("kairos %s: read %q: %w", args[0], out, err)
	}
	return nil
}

func freeAddr(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
