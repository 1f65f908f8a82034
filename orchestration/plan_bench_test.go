package orchestration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
)

// BenchmarkPlan plans pages of 10,000 people, each page of a campaign of its
// own, against a real Postgres that holds 100,000 people: without a model, with
// one hour order for all, and with everybody's own (a look-up in a table of
// 200,000 scores, two models' worth).
func BenchmarkPlan(b *testing.B) {
	const people, size = 100_000, 10_000
	for _, c := range []struct{ name, verdict string }{{"no model", ""}, {"one for all", "global"}, {"scores", "clusters"}} {
		b.Run(c.name, func(b *testing.B) {
			pool := devstack.NewDB(b)
			contacts := audience(b, pool, people)
			if c.verdict != "" {
				registered(b, pool, 1, "active", c.verdict, everyHour())
				registered(b, pool, 2, "canary", c.verdict, everyHour())
			}
			if c.verdict == "clusters" {
				scores(b, pool, 1, everyHour(), contacts...)
				scores(b, pool, 2, everyHour(), contacts...)
			}
			_, err := pool.Exec(b.Context(), `ANALYZE`)
			require.NoError(b, err)
			o := New(pool, kairos.NewManualClock(monday), Options{})
			spec := optimised(kairos.Experiment{Holdout: .05, Control: .2, Explore: .1}).spec
			i, best := 0, time.Hour
			for b.Loop() {
				b.StopTimer()
				task := page(b, pool, launch(b, pool, spec, contacts[i%(people/size)*size:][:size]))
				i++
				b.StartTimer()
				began := time.Now()
				_, err := o.Plan(b.Context(), task)
				require.NoError(b, err)
				best = min(best, time.Since(began))
			}
			b.ReportMetric(size*float64(b.N)/b.Elapsed().Seconds(), "people/s")
			b.ReportMetric(size/best.Seconds(), "people/s-at-best") // says more on a busy machine
		})
	}
}
