package timing

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/dto"
)

// setting is a whole number from the environment.
func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// BenchmarkTrain trains and scores KAIROS_BENCH_PEOPLE people (20,000) with
// KAIROS_BENCH_EXPOSURES exposures each (20) and reports the seconds of each
// step and the process's peak memory.
func BenchmarkTrain(b *testing.B) {
	people, each := setting("KAIROS_BENCH_PEOPLE", 20_000), setting("KAIROS_BENCH_EXPOSURES", 20)
	w := newWorld(b, Options{TrainEvery: -1})
	w.clock.Set(dawn.Add(60 * day))
	scale := dto.ActivityWeight(w.clock.Now())
	w.exec(`SET synchronous_commit = off`)
	w.exec(`INSERT INTO profiles
		SELECT md5('p' || u)::uuid, (SELECT array_agg((CASE WHEN (h + 6 * (u % 4)) % 24 BETWEEN 7 AND 10 THEN 3 + (u * 7 + h * 13) % 4 ELSE (u * 3 + h * 5) % 2 END * $2)::real ORDER BY h) FROM generate_series(0, 23) h),
		       '2026-03-01', 0 FROM generate_series(1, $1::bigint) u`, people, scale)
	for k := range each {
		w.exec(`INSERT INTO exposures (notification, contact, campaign, sent_at, hour, allowed, propensity, responded)
			SELECT md5(u || 'n' || $2)::uuid, md5('p' || u)::uuid, md5($2)::uuid, $3, h, 16777215, 1.0 / 24,
			       random() < CASE WHEN (h + 6 * (u % 4)) % 24 BETWEEN 7 AND 10 THEN .08 ELSE .05 END
			FROM (SELECT u, floor(random() * 24)::int AS h FROM generate_series(1, $1::bigint) u) x`, people, fmt.Sprint(k), dawn.Add(time.Duration(k)*48*time.Hour))
	}
	w.exec(`UPDATE timing_state SET matured_until = $1, exposures = $2`, w.clock.Now(), people*each)
	w.exec(`ANALYZE`)
	for b.Loop() {
		ctx := context.Background()
		m, err := w.r.Request(ctx, ann)
		require.NoError(b, err)
		start := time.Now()
		_, err = w.r.Train(ctx, TrainTask{w.due(kairos.KindTrain)[0]})
		require.NoError(b, err)
		b.ReportMetric(time.Since(start).Seconds(), "train-s")
		b.Log(w.model(m.Version).Headline, w.model(m.Version).Reason)
		for _, what := range []string{"score-s", "rescore-s"} {
			start = time.Now()
			for _, ref := range w.due(kairos.KindScore) {
				_, err = w.r.Score(ctx, ScoreTask{ref})
				require.NoError(b, err)
			}
			b.ReportMetric(time.Since(start).Seconds(), what)
			w.clock.Advance(25 * time.Hour)
			w.watch()
		}
		start = time.Now()
		_ = w.model(m.Version)
		b.ReportMetric(time.Since(start).Seconds(), "report-s")
		b.ReportMetric(peak(), "peak-MB")
	}
}

// peak is the largest resident memory of this process, in MB; 0: unknown.
func peak() float64 {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return 0
}

// BenchmarkMature takes KAIROS_BENCH_PEOPLE (20,000) messages of one day in.
func BenchmarkMature(b *testing.B) {
	people := setting("KAIROS_BENCH_PEOPLE", 20_000)
	w := newWorld(b, Options{TrainEvery: -1})
	w.exec(`INSERT INTO journeys (notification, campaign, contact, arm, channel, starts_at, sent_at, clicked_at, state)
		SELECT md5('n' || u)::uuid, md5('c')::uuid, md5('p' || u)::uuid, 'explore', 'email', $2, $2, CASE WHEN u % 20 = 0 THEN $2::timestamptz + interval '1 hour' END, '{"planned": true}'
		FROM generate_series(1, $1::bigint) u`, people, dawn)
	w.exec(`INSERT INTO notifications (id, campaign, contact, channel, state, arm, propensity, eligible, slot, planned_at, decided_at)
		SELECT notification, campaign, contact, 'email', 'accepted', arm, 1, $1, 5, sent_at, sent_at FROM journeys`, everyHour())
	w.clock.Set(dawn.Add(2 * day))
	for b.Loop() {
		for _, what := range []string{"first-s", "again-s"} {
			start := time.Now()
			require.NoError(b, w.r.mature(context.Background()))
			b.ReportMetric(time.Since(start).Seconds(), what)
			require.Equal(b, people, w.count(`SELECT exposures FROM timing_state`))
			w.clock.Advance(time.Hour)
		}
	}
}
