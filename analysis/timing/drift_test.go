package timing

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/dto"
)

// promoted returns a world with an active model whose trial showed 40 against
// 30 per hundred.
func promoted(t *testing.T) (*world, int) {
	w, m := onTrial(t)
	w.pass(m.Version, nil)
	w.clock.Set(w.clock.Now().Truncate(day).Add(9 * time.Hour))
	_, err := w.r.Promote(context.Background(), m.Version, ann)
	require.NoError(t, err)
	return w, m.Version
}

// send sends a day's campaign under the model, with response rates per arm.
func (w *world) driftDay(rng *rand.Rand, v, n int, model, control float64) {
	draw := func(n int, p float64) (x int) {
		for range n {
			if rng.Float64() < p {
				x++
			}
		}
		return x
	}
	w.campaign(&v, nil, arm{kairos.ArmOptimised, &v, n, draw(n, model), 0, 0}, arm{kairos.ArmControl, nil, n / 4, draw(n/4, control), 0, 0})
}

func TestDrift(t *testing.T) {
	for _, c := range []struct {
		name string
		rate float64 // the model's from the tenth day on
		ring bool
	}{{"stable", .4, false}, {"fallen", .3, true}} {
		t.Run(c.name, func(t *testing.T) {
			w, v := promoted(t)
			rng := rand.New(rand.NewPCG(5, 5))
			for d := range 30 {
				rate := .4
				if d >= 10 {
					rate = c.rate
				}
				w.driftDay(rng, v, 800, rate, .3)
				w.clock.Advance(day)
				if d%7 == 6 { // in between nobody looks: several days are caught up with
					w.watch()
					w.watch()
				}
			}
			w.clock.Advance(2 * day)
			w.watch()
			m := w.model(v)
			require.Len(t, m.Drift.Diary, 31)
			for i, d := range m.Drift.Diary[:30] {
				require.EqualValues(t, 800, d.N, i)
				require.EqualValues(t, 200, d.ControlN)
				require.NotNil(t, d.Residual)
			}
			require.Zero(t, m.Drift.Diary[30].N)
			require.Nil(t, m.Drift.Diary[30].Residual, "a day without messages says nothing")
			require.Equal(t, 30, m.Drift.Days)
			require.Equal(t, c.ring, m.Drift.AlarmAt != nil)
			require.Equal(t, c.ring, w.events(kairos.ModelDrifted) > 0)
			require.Equal(t, c.ring, w.count(`SELECT count(*) FROM timing_models WHERE requested_by = 'kairos'`) == 1, "a training is asked for, once")
			require.Equal(t, "better", map[bool]string{true: "better", false: m.Lift.Verdict}[c.ring])
			require.NotNil(t, m.SRM)
			require.Len(t, m.Arms, 2)
			require.Equal(t, Active, m.State, "an alarm takes nothing out of service")
			t.Log(m.Headline, m.Next, m.Drift.Level)
		})
	}
}

// Days too thin to be judged are merged into the next.
func TestDriftThinDays(t *testing.T) {
	w, v := promoted(t)
	for range 6 {
		w.campaign(&v, nil, arm{kairos.ArmOptimised, &v, 40, 16, 0, 0}, arm{kairos.ArmControl, nil, 10, 3, 0, 0})
		w.clock.Advance(day)
	}
	w.clock.Advance(2 * day)
	w.watch()
	var judged []int
	for i, d := range w.model(v).Drift.Diary {
		if d.Residual != nil {
			judged = append(judged, i)
			require.InDelta(t, 0, *d.Residual, .5)
		}
	}
	require.Equal(t, []int{2, 5}, judged)
}

func TestResidual(t *testing.T) {
	w := &watch{Lift: 1. / 3, Known: true}
	require.InDelta(t, 0, w.residual(dto.Arm{N: 100, Responses: 40}, dto.Arm{N: 100, Responses: 30}), 1e-9)
	z := w.residual(dto.Arm{N: 100, Responses: 30}, dto.Arm{N: 100, Responses: 30})
	require.InDelta(t, -.1/math.Sqrt(.3*.7/100+16./9*.3*.7/100), z, 1e-9)
	w.Error = .1
	require.Greater(t, w.residual(dto.Arm{N: 100, Responses: 30}, dto.Arm{N: 100, Responses: 30}), z, "a trial that was not sure makes days unsure")
	require.True(t, math.IsNaN(w.residual(dto.Arm{N: 100}, dto.Arm{N: 100})))
	require.True(t, math.IsNaN(w.residual(dto.Arm{}, dto.Arm{N: 100, Responses: 1})))
	require.True(t, math.IsNaN((&watch{}).residual(dto.Arm{N: 9, Responses: 2}, dto.Arm{N: 9, Responses: 2})))
}

// People's best hours move: the second alarm.
func TestStability(t *testing.T) {
	w, v := promoted(t)
	rec, err := one(context.Background(), w.pool, v, "")
	require.NoError(t, err)
	then := make([]float64, 24)
	then[3] = 6000
	rec.watch.Then = then
	w.exec(`UPDATE timing_models SET drift = $2 WHERE version = $1`, v, rec.watch)
	w.exec(`INSERT INTO profiles SELECT gen_random_uuid(), array_fill(0::real, ARRAY[20]) || array_fill(1e15::real, ARRAY[4]), '2026-03-01', 0 FROM generate_series(1, 6000)`)
	w.clock.Advance(25 * time.Hour)
	w.watch()
	require.Equal(t, 1, w.work())
	m := w.model(v)
	require.NotNil(t, m.Drift.Stability)
	require.True(t, m.Drift.Stability.Alarm, m.Drift.Stability)
	require.NotNil(t, m.Drift.AlarmAt)
	require.Equal(t, 1, w.events(kairos.ModelDrifted))
	require.Contains(t, m.Next, "best hours have moved")
	w.work()
	w.clock.Advance(25 * time.Hour)
	w.watch()
	w.work()
	require.Equal(t, 1, w.events(kairos.ModelDrifted), "told once, not every day")
}
