package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"
)

// cost is what one item of a path costs, by counter.
type cost map[string]float64

// counters of Postgres since its start. What pollers and the bench itself do on
// the way is in them; at thousands of items that is little.
func (w *world) counters(ctx context.Context) (cost, error) {
	var wal, blocks, inserted, updated float64
	err := w.pool.QueryRow(ctx, `
		SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8, sum(n_tup_ins)::float8, sum(n_tup_upd)::float8,
		       (SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read + idx_blks_hit, 0) + coalesce(toast_blks_read + toast_blks_hit, 0))::float8
		        FROM pg_statio_user_tables)
		FROM pg_stat_user_tables`).Scan(&wal, &inserted, &updated, &blocks)
	if err != nil {
		return nil, fmt.Errorf("read counters of postgres: %w", err)
	}
	return cost{"WAL bytes": wal, "buffers": blocks, "rows inserted": inserted, "rows updated": updated}, nil
}

// spent is what the processes of Kairos have done since their start.
func (w *world) spent(ctx context.Context) (cost, error) {
	c := cost{}
	for _, p := range w.procs {
		if p.URL == "" {
			continue // a sink
		}
		for name, metric := range map[string]string{"objects": "go_memstats_mallocs_total", "bytes allocated": "go_memstats_alloc_bytes_total"} {
			n, err := w.metric(ctx, p.URL, metric)
			if err != nil {
				return nil, err
			}
			c[p.Name+": "+name] = n
		}
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p.PID))
		if err != nil {
			continue // not Linux, or forbidden
		}
		for line := range strings.Lines(string(raw)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			name, ok := map[string]string{"wchar": "bytes written", "syscw": "writes", "rchar": "bytes read", "syscr": "reads"}[key]
			if !ok {
				continue
			}
			if c[p.Name+": "+name], err = strconv.ParseFloat(value, 64); err != nil {
				return nil, fmt.Errorf("read /proc: %w", err)
			}
		}
	}
	return c, nil
}

// cost measures work on n items. Its processes begin and end with it: a
// session tells Postgres' counters what it did when it ends, and else up to ten
// seconds later.
func (w *world) cost(ctx context.Context, n int, start, work func() error) (cost, error) {
	if err := w.exec(ctx, "CHECKPOINT"); err != nil {
		return nil, err
	}
	before, err := w.counters(ctx)
	if err != nil {
		return nil, err
	}
	if err := start(); err != nil {
		return nil, err
	}
	began, err := w.spent(ctx)
	if err != nil {
		return nil, err
	}
	if err := work(); err != nil {
		return nil, err
	}
	if err := w.read(ctx); err != nil {
		return nil, err
	}
	spent, err := w.spent(ctx)
	if err != nil {
		return nil, err
	}
	for len(w.procs) > 0 {
		if err := w.end(w.procs[len(w.procs)-1]); err != nil {
			return nil, err
		}
	}
	err = w.until(ctx, time.Minute, 20*time.Millisecond, "the end of the sessions", func() (bool, string, error) {
		n, err := w.count(ctx, `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'bench'`)
		return n == 0, fmt.Sprintf("%d are open", n), err
	})
	if err != nil {
		return nil, err
	}
	c, err := w.counters(ctx)
	if err != nil {
		return nil, err
	}
	maps.Copy(c, spent)
	maps.Copy(before, began)
	for name := range c {
		c[name] = (c[name] - before[name]) / float64(n)
	}
	return c, nil
}

// read waits until every reader of the log is at its end.
func (w *world) read(ctx context.Context) error {
	return w.until(ctx, 5*time.Minute, 50*time.Millisecond, "the readers of the log", func() (bool, string, error) {
		n, err := w.count(ctx, `
			SELECT count(*) FROM event_cursors c WHERE EXISTS (SELECT FROM events WHERE (xid, position) > (c.xid, c.position))`)
		return n == 0, fmt.Sprintf("%d are behind", n), err
	})
}
