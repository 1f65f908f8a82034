package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// statistics are Postgres' settings under --profile: what each statement took,
// and the plans of the slow ones in its log.
var statistics = map[string]string{
	"shared_preload_libraries": "pg_stat_statements,auto_explain", "track_io_timing": "on",
	"auto_explain.log_min_duration": "100ms", "auto_explain.log_analyze": "on", "auto_explain.log_timing": "off", "auto_explain.log_buffers": "on",
}

// activity watches what Postgres' sessions do and wait for.
type activity struct {
	w    *world
	stop context.CancelFunc
	over sync.WaitGroup
	seen map[string]int
	n    int
}

// observe forgets what Postgres counted and looks at its sessions every 20 ms.
func (w *world) observe(ctx context.Context) *activity {
	a := &activity{w: w, seen: map[string]int{}}
	if err := w.exec(ctx, "SELECT pg_stat_statements_reset()", "SELECT pg_stat_reset()"); err != nil {
		w.say("  %v", err)
	}
	ctx, a.stop = context.WithCancel(ctx)
	a.over.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if err := a.look(ctx); err != nil && ctx.Err() == nil {
				w.say("  %v", err)
				return
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	})
	return a
}

func (a *activity) look(ctx context.Context) error {
	rows, err := a.w.pool.Query(ctx, `
		SELECT coalesce(wait_event_type || ' ' || wait_event, 'runs') || ': ' || CASE WHEN backend_type = 'client backend'
		       THEN left(regexp_replace(query, '\s+', ' ', 'g'), 70) ELSE backend_type END
		FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name <> 'bench'
		  AND (state IN ('active', 'idle in transaction') OR backend_type <> 'client backend' AND wait_event_type IS DISTINCT FROM 'Activity')`)
	if err != nil {
		return fmt.Errorf("look at sessions: %w", err)
	}
	what, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("look at sessions: %w", err)
	}
	a.n++
	for _, s := range what {
		a.seen[s]++
	}
	return nil
}

const byStatement = `
	SELECT format('%s s total, %s calls, %s rows, %s ms each, %s MB of WAL: %s', round((total_exec_time / 1000)::numeric, 2), calls, rows,
	       round(mean_exec_time::numeric, 2), (wal_bytes / 1048576)::int, regexp_replace(left(query, 300), '\s+', ' ', 'g'))
	FROM pg_stat_statements ORDER BY total_exec_time DESC LIMIT 40`

const byTable = `
	SELECT format('%s: %s sequential scans of %s rows, %s index scans of %s rows; inserted %s, updated %s (hot %s); heap read %s hit %s',
	       relname, seq_scan, seq_tup_read, idx_scan, idx_tup_fetch, n_tup_ins, n_tup_upd, n_tup_hot_upd, heap_blks_read, heap_blks_hit)
	FROM pg_stat_user_tables JOIN pg_statio_user_tables USING (relid, relname)
	WHERE n_tup_ins + n_tup_upd + seq_tup_read > 0 ORDER BY n_tup_ins + n_tup_upd + seq_tup_read DESC`

// end stops watching and returns what was seen.
func (a *activity) end(ctx context.Context) (string, error) {
	a.stop()
	a.over.Wait()
	var b strings.Builder
	for _, q := range []string{byStatement, byTable} {
		rows, err := a.w.pool.Query(ctx, q)
		if err != nil {
			return "", fmt.Errorf("read statistics of postgres: %w", err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return "", fmt.Errorf("read statistics of postgres: %w", err)
		}
		b.WriteString(strings.Join(lines, "\n") + "\n\n")
	}
	var what []string
	for s := range a.seen {
		what = append(what, s)
	}
	slices.SortFunc(what, func(x, y string) int { return a.seen[y] - a.seen[x] })
	for _, s := range what[:min(len(what), 60)] {
		fmt.Fprintf(&b, "%.2f sessions on average %s\n", float64(a.seen[s])/float64(a.n), s)
	}
	return b.String(), nil
}
