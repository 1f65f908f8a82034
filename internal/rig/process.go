package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// patience with a process that starts or stops.
const patience = time.Minute

// Program is what a Process runs.
type Program struct {
	Name string // in errors
	Log  string // file for its standard error; made anew
	Env  []string
	Path string
	Args []string
}

// Process is a program that said on its first line of output where it is.
type Process struct {
	*Child
	Name string
	Line string // the first it printed
	URL  string // of `url` in that line; "": it names none
	log  string
}

// Start starts a program and waits for the first line of its output, which it
// prints when it is ready; at most a minute.
func Start(ctx context.Context, prog Program) (*Process, error) {
	file, err := os.Create(prog.Log)
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer func() { _ = file.Close() }()
	cmd := exec.Command(prog.Path, prog.Args...) //nolint:noctx // it is ended by signal
	cmd.Env, cmd.Stderr = prog.Env, file
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", prog.Name, err)
	}
	p, first := &Process{Name: prog.Name, log: prog.Log}, make(chan string, 1)
	p.Child, err = Begin(cmd, Life{Live: func() {
		lines := bufio.NewReader(out)
		if line, err := lines.ReadString('\n'); err == nil {
			first <- strings.TrimSuffix(line, "\n")
		}
		_, _ = io.Copy(io.Discard, lines) // its end is the process's
	}})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", prog.Name, err)
	}
	select {
	case p.Line = <-first:
		var at struct{ URL string }
		if json.Unmarshal([]byte(p.Line), &at) == nil {
			p.URL = at.URL
		}
		return p, nil
	case <-p.done:
		err = fmt.Errorf("%s ended while starting: %w: %s", p.Name, p.err, p.Tail())
	case <-time.After(patience):
		err = fmt.Errorf("%s says nothing: %s", p.Name, p.Tail())
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = syscall.Kill(p.PID, syscall.SIGKILL)
	return nil, err
}

// Told decodes the first line.
func (p *Process) Told(into any) error {
	if err := json.Unmarshal([]byte(p.Line), into); err != nil {
		return fmt.Errorf("%s: read %q: %w", p.Name, p.Line, err)
	}
	return nil
}

// Signal sends it to the process alone, not to its group. One that has ended
// is an error.
func (p *Process) Signal(s syscall.Signal) error {
	if !p.Alive() {
		return fmt.Errorf("%s has ended: %w: %s", p.Name, p.err, p.Tail())
	}
	return syscall.Kill(p.PID, s)
}

// Kill is kill -9; one that is gone is fine.
func (p *Process) Kill() error {
	if p.Alive() {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
	}
	if !p.Ends(10 * time.Second) {
		return fmt.Errorf("%s (pid %d) outlives SIGKILL", p.Name, p.PID)
	}
	return nil
}

// Stop ends it in order, within a minute; then it is killed. A bad status is
// an error, and so is one that ended before.
func (p *Process) Stop() error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if !p.Ends(patience) {
		_ = syscall.Kill(p.PID, syscall.SIGKILL)
		return fmt.Errorf("%s did not stop within a minute: %s", p.Name, p.Tail())
	}
	if p.err != nil {
		return fmt.Errorf("%s ended badly: %w: %s", p.Name, p.err, p.Tail())
	}
	return nil
}

// Tail is the end of its log.
func (p *Process) Tail() string { return FileTail(p.log, 8) }

// FileTail returns the last lines of a file.
func FileTail(path string, lines int) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "no log"
	}
	return Tail(string(raw), lines)
}

// Tail returns the last lines of a text.
func Tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Output runs a program to its end and decodes what it prints; into may be nil.
func Output(ctx context.Context, into any, env []string, path string, args ...string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = env
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

// Environment is this process's without Kairos' settings, and more.
func Environment(more ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "KAIROS_") {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

// FreeAddr returns 127.0.0.1 with a port that is free at this moment.
func FreeAddr(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}
