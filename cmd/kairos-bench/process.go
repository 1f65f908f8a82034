package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is a child that dies with this one.
type process struct {
	name  string
	pid   int
	line  string // the first it printed: its addresses
	pprof string // file with the address of its profiles; "": it has none
	log   string
	done  chan struct{}
	err   error // after done
}

// startProcess starts a program and waits for the first line of its output.
func startProcess(ctx context.Context, name, log string, env []string, program string, args ...string) (*process, error) {
	file, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer func() { _ = file.Close() }()
	cmd := exec.Command(program, args...) //nolint:noctx // it is stopped in order, by signal
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
	case p.line = <-first:
		return p, nil
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

// stop ends it in order, within a minute.
func (p *process) stop() error {
	_ = syscall.Kill(p.pid, syscall.SIGTERM) // gone already is fine
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("%s ended badly: %w: %s", p.name, p.err, p.tail())
		}
		return nil
	case <-time.After(time.Minute):
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		return fmt.Errorf("%s did not stop within a minute", p.name)
	}
}

// tail is the end of its log.
func (p *process) tail() string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return "no log"
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], " | ")
}

// self starts another process of this program as one of its parts.
func (w *world) self(ctx context.Context, name string, args ...string) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p, err := startProcess(ctx, name, fmt.Sprintf("%s/%s-%d.log", w.dir, name, len(w.procs)), os.Environ(), path, args...)
	if err != nil {
		return nil, err
	}
	w.procs = append(w.procs, p)
	return p, nil
}
