package devstack

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// clearPredecessor deals with a postmaster.pid from an earlier life. The
// caller holds the directory's lock, so no living Kairos owns that server: it
// is an orphan that is still shutting down, or it is gone and left its file.
func (p *Postgres) clearPredecessor(ctx context.Context) error {
	path := filepath.Join(p.data(), "postmaster.pid")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read postmaster.pid: %w", err)
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid < 2 || !p.serves(pid) {
		return removeStale(path)
	}
	for _, step := range []stopStep{{0, 10 * time.Second}, {syscall.SIGINT, 10 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}} {
		if step.signal != 0 {
			if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop earlier server (pid %d): %w", pid, err)
			}
		}
		for deadline := time.Now().Add(step.patience); time.Now().Before(deadline); {
			if !p.serves(pid) {
				return removeStale(path)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return fmt.Errorf("earlier server (pid %d) on %s does not end", pid, p.data())
}

// serves says whether pid is a living postmaster of this cluster. Process ids
// are used again, so on Linux its working directory must be the cluster.
func (p *Postgres) serves(pid int) bool {
	if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
		return false
	}
	if runtime.GOOS != "linux" {
		return true
	}
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return false // gone, a zombie, or somebody else's
	}
	data, err := filepath.EvalSymlinks(p.data())
	return err == nil && cwd == data
}

func removeStale(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale postmaster.pid: %w", err)
	}
	return nil
}

// freePort returns a port of 127.0.0.1 that nobody listens on. It lies below
// the range from which systems take the ports of outgoing connections, so it
// stays free while a server is stopped and started again.
func freePort() (int, error) {
	var last error
	for range 100 {
		port := 18000 + rand.IntN(14000)
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		if err := l.Close(); err != nil {
			return 0, fmt.Errorf("release port: %w", err)
		}
		return port, nil
	}
	return 0, fmt.Errorf("find a free port: %w", last)
}
