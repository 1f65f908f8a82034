package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// conditions are what a figure depends on.
type conditions struct {
	Date     string `json:"date"`
	Commit   string `json:"commit"`
	Cores    int    `json:"cores"`
	CPU      string `json:"cpu"`
	Kernel   string `json:"kernel"`
	Go       string `json:"go"`
	Postgres string `json:"postgres"`
	Redis    string `json:"redis"`
	Fsync    string `json:"fsync"`
	Sync     string `json:"synchronous_commit"`
	Buffers  string `json:"shared_buffers"`
	Settings string `json:"postgres_settings,omitempty"` // asked for
	Load     string `json:"load"`                        // the machine's load average before
	Profiled bool   `json:"profiled"`
}

func conditionsOf(ctx context.Context, c *cli) conditions {
	return conditions{
		Date: time.Now().UTC().Format("2006-01-02 15:04"), Commit: commit(ctx), Cores: runtime.NumCPU(), CPU: fromFile("/proc/cpuinfo", "model name"),
		Kernel: strings.TrimSpace(read("/proc/sys/kernel/osrelease")), Go: runtime.Version(), Load: first(read("/proc/loadavg")), Profiled: c.Profile != "",
		Settings: setting(c.Postgres),
	}
}

// ask adds what the servers say of themselves.
func (c *conditions) ask(ctx context.Context, w *world) error {
	err := w.pool.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'), current_setting('shared_buffers')`).
		Scan(&c.Postgres, &c.Fsync, &c.Sync, &c.Buffers)
	if err != nil {
		return fmt.Errorf("ask postgres: %w", err)
	}
	c.Postgres = first(c.Postgres)
	info, err := w.redis.Info(ctx, "server").Result()
	if err != nil {
		return fmt.Errorf("ask redis: %w", err)
	}
	_, rest, _ := strings.Cut(info, "redis_version:")
	c.Redis = first(rest)
	return nil
}

func (c *conditions) words() string {
	s := fmt.Sprintf("%s UTC, commit %s; %d cores of %s, Linux %s, %s; Postgres %s (fsync %s, synchronous_commit %s, shared_buffers %s), Redis %s; load average before: %s.",
		c.Date, c.Commit, c.Cores, c.CPU, c.Kernel, c.Go, c.Postgres, c.Fsync, c.Sync, c.Buffers, c.Redis, c.Load)
	if c.Settings != "" {
		s += " Postgres was told: " + c.Settings + "."
	}
	if c.Profiled {
		s += " With profiles."
	}
	return s
}

func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	at := strings.TrimSpace(string(out))
	if changed, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no").Output(); err == nil && len(changed) > 0 {
		at += " with changes"
	}
	return at
}

func read(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return string(raw)
}

func first(s string) string {
	f := strings.Fields(s)
	if len(f) == 0 {
		return "unknown"
	}
	return f[0]
}

func fromFile(path, name string) string {
	for line := range strings.Lines(read(path)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
