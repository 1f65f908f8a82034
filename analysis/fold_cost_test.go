package analysis

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/eventlog"
)

// tickLength is the kernel's unit of CPU time in /proc (USER_HZ, 100 everywhere).
const tickLength = 10 * time.Millisecond

// spent is CPU time: of this process, and of all processes of a Postgres server.
type spent struct{ own, postgres time.Duration }

func (s spent) minus(t spent) spent { return spent{s.own - t.own, s.postgres - t.postgres} }

// spend reads the CPU time spent until now; Linux only, zero elsewhere.
func spend(t testing.TB, pool *pgxpool.Pool) (s spent) {
	var use syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	s.own = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	var backend int
	require.NoError(t, pool.QueryRow(context.Background(), `SELECT pg_backend_pid()`).Scan(&backend))
	parent, _, _ := procStat(backend)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return s
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		switch of, own, children := procStat(pid); {
		case pid == parent:
			s.postgres += own + children
		case of == parent && parent > 1:
			s.postgres += own
		}
	}
	return s
}

// procStat returns a process's parent, its CPU time and that of its children
// that have ended (proc(5), /proc/pid/stat, fields 4 and 14 to 17).
func procStat(pid int) (parent int, own, children time.Duration) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, 0
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(rest)
	n := func(i int) int64 { v, _ := strconv.ParseInt(f[i-3], 10, 64); return v }
	return int(n(4)), time.Duration(n(14)+n(15)) * tickLength, time.Duration(n(16)+n(17)) * tickLength
}

// BenchmarkFoldPhases tells what an event of each phase of a campaign costs, in
// µs of this process's CPU and of Postgres', at the default chunk.
func BenchmarkFoldPhases(b *testing.B) {
	const people = 40_000
	w := newWorld(b, Options{})
	c := w.campaign(kairos.CampaignSpec{Cost: kairos.Cost{Fixed: one}})
	w.people(c, people)
	phases := []struct {
		name string
		fill func() int
	}{
		{"planned", func() int { return w.planned(c, people) }},
		{"sent", func() int { return w.left(c, people) }},
		{"opened", func() int { return w.happened(c, kairos.NotificationOpened, `{"agent":"Mozilla/5.0"}`, 3600, people) }},
		{"clicked", func() int {
			return w.happened(c, kairos.NotificationClicked, `{"link":1,"links":3,"url":"https://shop.example/"}`, 3700, people)
		}},
		{"paid", func() int {
			return w.happened(c, kairos.PaymentReceived, `{"amount":"19.90","currency":"EUR"}`, 4000, people/4)
		}},
	}
	for _, p := range phases {
		events := p.fill()
		w.exec(`VACUUM ANALYZE`)
		w.settled()
		b.Run(p.name, func(b *testing.B) {
			if b.N > 1 {
				b.Skip("a phase is folded once: run with -benchtime 1x")
			}
			before := spend(b, w.pool)
			read := 0
			for {
				n, err := eventlog.Tail(context.Background(), w.pool, reader, eventlog.Filter{Facts: true}, w.a.opts.Chunk, w.a.fold)
				require.NoError(b, err)
				read += n
				if n < w.a.opts.Chunk {
					break
				}
			}
			cost := spend(b, w.pool).minus(before)
			require.Equal(b, events, read)
			b.ReportMetric(float64(cost.own.Microseconds())/float64(events), "µs/event")
			b.ReportMetric(float64(cost.postgres.Microseconds())/float64(events), "pg-µs/event")
			b.ReportMetric(0, "ns/op")
		})
	}
	var updates, hot int64
	w.exec(`SELECT pg_stat_force_next_flush()`)
	require.NoError(b, w.pool.QueryRow(context.Background(),
		`SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'journeys'`).Scan(&updates, &hot))
	b.Logf("journeys: %d updates, %d of them HOT", updates, hot)
}
