package dto

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

// exploration draws a log of uniform exploration over eight slots in which the
// policy's slot answers at rate good and the others at .05; predictions are
// wrong by the given amount.
func exploration(rng *rand.Rand, people int, good, wrong float64) []Logged {
	var log []Logged
	for u := range people {
		mine := rng.IntN(8)
		for range 5 {
			slot := rng.IntN(8)
			l := Logged{Person: int32(u), Propensity: 1.0 / 8, Policy: good + wrong, Predicted: .05 + wrong}
			p := .05
			if slot == mine {
				l.Target, l.Predicted, p = 1, good+wrong, good
			}
			if rng.Float64() < p {
				l.Reward = 1
			}
			log = append(log, l)
		}
	}
	return log
}

func TestEvaluateIsUnbiasedAndItsIntervalsCover(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 7))
	const reps, truth = 200, .1
	var mean [3]float64
	var covered [3]float64
	for range reps {
		o, err := Evaluate(exploration(rng, 1500, truth, .02), 1500)
		require.NoError(t, err)
		for i, e := range []Estimate{o.IPS, o.SNIPS, o.DR} {
			mean[i] += e.Value / reps
			if e.Low <= truth && truth <= e.High {
				covered[i] += 1.0 / reps
			}
			require.False(t, e.Refused)
		}
		require.InDelta(t, 7500/8, o.Effective, 150)
	}
	for i := range mean {
		require.InDelta(t, truth, mean[i], .003)
		require.InDelta(t, .95, covered[i], .05)
	}
}

func TestEvaluateRefusesSmallSamples(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 7))
	o, err := Evaluate(exploration(rng, 100, .1, 0), 100)
	require.NoError(t, err)
	require.Less(t, o.Effective, MinEffective)
	require.True(t, o.IPS.Refused && o.SNIPS.Refused && o.DR.Refused)
	o, err = Evaluate(nil, 0)
	require.NoError(t, err)
	require.True(t, o.SNIPS.Refused)
	for _, l := range []Logged{
		{Propensity: 0}, {Propensity: 1.1}, {Propensity: math.NaN()}, {Propensity: .5, Target: -1},
		{Propensity: .5, Person: 1}, {Propensity: .5, Person: -1}, {Propensity: .5, Reward: math.NaN()},
	} {
		_, err = Evaluate([]Logged{l}, 1)
		require.ErrorIs(t, err, kairos.ErrInvalid)
	}
}

func TestPageHinkleyRates(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 7))
	const years = 4000
	false1 := 0
	for range years {
		var w PageHinkley
		for range 365 {
			if w.Add(rng.NormFloat64()) {
				false1++
				break
			}
		}
	}
	require.InDelta(t, .015, float64(false1)/years, .007)
	late := 0
	for range 1000 {
		var w PageHinkley
		for range 100 {
			w.Add(0.2 * rng.NormFloat64())
		}
		days := 1
		for !w.Add(rng.NormFloat64() - 2) {
			days++
		}
		if days > 6 {
			late++
		}
	}
	require.Less(t, late, 500, "the median delay is 6 days at most")
}

func TestPageHinkleySkipsUndefinedDays(t *testing.T) {
	var w PageHinkley
	require.False(t, w.Add(math.NaN()))
	require.False(t, w.Add(math.Inf(-1)))
	require.Equal(t, PageHinkley{}, w)
	require.True(t, math.IsNaN(Residual(0, 0, .1)))
	require.InDelta(t, -1.0, Residual(900, 81, .1), 1e-12)
	require.True(t, (&PageHinkley{Lambda: 1}).Add(-3))
}

func TestPSI(t *testing.T) {
	s, err := PSI([]float64{5000, 5000}, []float64{2500, 7500})
	require.NoError(t, err)
	require.InDelta(t, .25*math.Log(3), s.Index, 1e-3)
	require.True(t, s.Alarm)
	s, err = PSI([]float64{500, 500}, []float64{250, 750})
	require.NoError(t, err)
	require.False(t, s.Enough || s.Alarm)
	s, err = PSI([]float64{0, 0}, []float64{0, 0})
	require.NoError(t, err)
	require.False(t, s.Alarm)
	for _, now := range [][]float64{{1}, {1, -1}, {1, math.NaN()}, {1, math.Inf(1)}} {
		_, err = PSI([]float64{1, 1}, now)
		require.ErrorIs(t, err, kairos.ErrInvalid)
	}
	rng := rand.New(rand.NewPCG(4, 7)) // no drift, no alarm
	for range 100 {
		then, now := make([]float64, 192), make([]float64, 192)
		for range 5000 {
			then[rng.IntN(192)]++
			now[rng.IntN(192)]++
		}
		s, err := PSI(then, now)
		require.NoError(t, err)
		require.False(t, s.Alarm, "%+v", s)
	}
}
