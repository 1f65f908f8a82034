package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ticks is the kernel's USER_HZ, in which /proc counts CPU time: 100 on every
// platform that Go supports.
const ticks = 100

// usage is what a process took while it was watched.
type usage struct {
	Name    string  `json:"name"`
	CPU     float64 `json:"cpu_seconds"`
	PeakRSS int64   `json:"peak_rss_bytes"` // VmHWM; of Postgres its largest process, shared buffers included
}

// meter watches CPU time and memory of all processes of a world.
type meter struct {
	w     *world
	start map[string]float64
	stop  context.CancelFunc
	over  sync.WaitGroup

	mu        sync.Mutex
	backends  int64 // the largest of Postgres' processes
	redisPeak int64
}

// metered is the result: usage by process, and Redis' memory.
type metered struct {
	Usage       []usage `json:"usage"`
	RedisBefore int64   `json:"redis_used_before_bytes"`
	RedisPeak   int64   `json:"redis_used_peak_bytes"`
}

// peak is the largest memory of Kairos' processes.
func (m *metered) peak() (peak int64) {
	for _, u := range m.Usage {
		if slices.Contains([]string{"front", "stages", "delivery", "delivery-2", "collector"}, u.Name) {
			peak = max(peak, u.PeakRSS)
		}
	}
	return peak
}

// watch begins to measure: peaks are forgotten, CPU time counts from here.
func (w *world) watch(ctx context.Context) (*meter, *metered, error) {
	m := &meter{w: w, start: map[string]float64{}}
	before, err := w.redisMemory(ctx)
	if err != nil {
		return nil, nil, err
	}
	for name, pids := range w.pids() {
		for _, pid := range pids {
			_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) // forbidden in some containers: the peak is then of its whole life
		}
		m.start[name] = cpuOf(name, pids)
	}
	ctx, m.stop = context.WithCancel(ctx)
	m.over.Go(func() { m.run(ctx) })
	return m, &metered{RedisBefore: before}, nil
}

func (m *meter) run(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		m.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *meter) look(ctx context.Context) {
	used, err := m.w.redisMemory(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.redisPeak = max(m.redisPeak, used)
	}
	for _, pid := range m.w.pids()["postgres"] {
		m.backends = max(m.backends, peakOf(pid))
	}
}

// end stops measuring.
func (m *meter) end(into *metered) {
	m.look(context.Background())
	m.stop()
	m.over.Wait()
	into.RedisPeak = max(m.redisPeak, into.RedisBefore)
	all := m.w.pids()
	for _, name := range m.w.names() {
		u := usage{Name: name, CPU: cpuOf(name, all[name]) - m.start[name]}
		for _, pid := range all[name] {
			u.PeakRSS = max(u.PeakRSS, peakOf(pid))
		}
		if name == "postgres" {
			u.PeakRSS = max(u.PeakRSS, m.backends)
		}
		into.Usage = append(into.Usage, u)
	}
}

// names are the processes, those of Kairos first.
func (w *world) names() []string {
	var names []string
	for _, p := range w.procs {
		names = append(names, p.Name)
	}
	return append(names, "postgres", "redis", "bench")
}

// pids of all processes by name; Postgres has many.
func (w *world) pids() map[string][]int {
	all := map[string][]int{"bench": {os.Getpid()}}
	for _, p := range w.procs {
		all[p.Name] = append(all[p.Name], p.PID)
	}
	if pid := w.stack.Postgres.PID(); pid > 0 {
		all["postgres"] = append([]int{pid}, childrenOf(pid)...)
	}
	if pid := w.stack.Redis.PID(); pid > 0 { // miniredis has no process
		all["redis"] = []int{pid}
	}
	return all
}

func childrenOf(pid int) []int {
	var pids []int
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	for _, f := range strings.Fields(string(raw)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}

// cpuOf sums user and system time in seconds. Postgres' children that have
// ended live on in their parent's count.
func cpuOf(name string, pids []int) (sum float64) {
	for i, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // ended meanwhile
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		f := strings.Fields(rest) // from field 3 of proc(5) on
		if len(f) < 15 {
			continue
		}
		fields := f[11:13] // utime, stime
		if name == "postgres" && i == 0 {
			fields = f[11:15] // and cutime, cstime
		}
		for _, v := range fields {
			n, _ := strconv.ParseInt(v, 10, 64) // the kernel writes numbers
			sum += float64(n) / ticks
		}
	}
	return sum
}

func peakOf(pid int) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(raw), "VmHWM:")
	if !ok {
		return 0
	}
	n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64) // in kB
	return n << 10
}

func (w *world) redisMemory(ctx context.Context) (int64, error) {
	info, err := w.redis.Info(ctx, "memory").Result()
	if err != nil {
		return 0, fmt.Errorf("ask redis: %w", err)
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	word, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("ask redis: %w", err)
	}
	return n, nil
}
