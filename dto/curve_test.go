package dto

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// explored draws deliveries of n people over the mask's slots, with responses at
// the given rates times each person's level.
func explored(seed uint64, people, deliveries int, rate []float64, mask Mask) (r, n Matrix) {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := len(rate)
	var slots []int
	for i := range s {
		if mask.Has(i) {
			slots = append(slots, i)
		}
	}
	r, n = NewMatrix(people, s), NewMatrix(people, s)
	for u := range people {
		level := math.Exp(0.5*rng.NormFloat64() - 0.125)
		for range deliveries {
			i := slots[rng.IntN(len(slots))]
			row(n, u)[i]++
			if rng.Float64() < level*rate[i] {
				row(r, u)[i]++
			}
		}
	}
	return r, n
}

func flat(s int, v float64) []float64 {
	x := make([]float64, s)
	for i := range x {
		x[i] = v
	}
	return x
}

func wave(s int, base, amplitude float64) []float64 {
	x := make([]float64, s)
	for i := range x {
		x[i] = base * math.Exp(amplitude*math.Sqrt2*math.Cos(2*math.Pi*float64(i)/float64(s)))
	}
	return x
}

func TestSmoothKeepsTheSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.Float64Range(0, 100), 24, 24).Draw(t, "x")
		bw := rapid.Float64Range(0, 6).Draw(t, "bw")
		y := Smooth(make([]float64, 24), x, bw)
		a, b := 0.0, 0.0
		for i := range x {
			a, b = a+x[i], b+y[i]
			if y[i] < 0 {
				t.Fatalf("negative %v", y)
			}
		}
		if math.Abs(a-b) > 1e-9*(1+a) {
			t.Fatalf("sum %g became %g", a, b)
		}
	})
}

func TestSmoothIsCircularAndSymmetric(t *testing.T) {
	x := make([]float64, 24)
	x[0] = 1
	y := Smooth(make([]float64, 24), x, 1)
	require.Greater(t, y[0], y[1])
	for d := 1; d < 12; d++ {
		require.InDelta(t, y[d], y[24-d], 1e-15)
	}
	require.InDelta(t, math.Exp(-0.5), y[1]/y[0], 1e-12)
	require.Equal(t, x, Smooth(make([]float64, 24), x, 0))
}

func TestCommonCurveFindsTheTruth(t *testing.T) {
	truth := wave(24, 0.1, 0.4)
	r, n := explored(1, 20_000, 20, truth, AllSlots(24))
	got := CommonCurve(make([]float64, 24), r, n, 0)
	normalise(truth, AllSlots(24))
	require.InDeltaSlice(t, truth, got, 0.06)
}

// Exposure that follows the responders must not look like a preference.
func TestCommonCurveIsFreeOfExposure(t *testing.T) {
	r, n := explored(2, 4000, 10, flat(24, 0.2), AllSlots(24))
	more, moreN := explored(3, 4000, 90, flat(24, 0.2), AllSlots(6))
	for i := range r.Data {
		r.Data[i] += more.Data[i]
		n.Data[i] += moreN.Data[i]
	}
	got := CommonCurve(make([]float64, 24), r, n, 0)
	require.InDeltaSlice(t, flat(24, 1), got, 0.12)
}

func TestCommonCurveWithoutExposure(t *testing.T) {
	mask := AllSlots(24) &^ AllSlots(7) // quiet until 07:00
	r, n := explored(4, 3000, 20, wave(24, 0.1, 0.3), mask)
	g := CommonCurve(make([]float64, 24), r, n, 0)
	smoothCurve(g, mask)
	sum := 0.0
	for i, v := range g {
		if mask.Has(i) {
			sum += v
			require.InDelta(t, 1, v, 0.9, "slot %d", i)
		} else {
			require.Equal(t, 1.0, v, "slot %d", i)
		}
	}
	require.InDelta(t, 17, sum, 1e-9)
	empty := NewMatrix(3, 24)
	require.Equal(t, flat(24, 1), CommonCurve(make([]float64, 24), empty, empty, 0))
}

func TestExpectedKeepsThePersonsTotal(t *testing.T) {
	r, n := explored(5, 50, 20, flat(24, 0.2), AllSlots(24))
	g, e := wave(24, 1, 0.5), make([]float64, 24)
	for u := range 50 {
		seen, expected := 0.0, 0.0
		for i, v := range Expected(e, row(r, u), row(n, u), g) {
			seen += float64(row(r, u)[i])
			expected += v
		}
		require.InDelta(t, seen, expected, 1e-9)
	}
}

func TestRhythmIsADistribution(t *testing.T) {
	prior := flat(24, 1.0/24)
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.Float32Range(0, 500), 24, 24).Draw(t, "a")
		q := Rhythm(make([]float64, 24), a, prior, rapid.Float64Range(0.1, 50).Draw(t, "k0"), rapid.Float64Range(0, 3).Draw(t, "bw"))
		sum := 0.0
		for _, v := range q {
			if v <= 0 && v != 0 {
				t.Fatalf("negative %v", q)
			}
			sum += v
		}
		if math.Abs(sum-1) > 1e-6 {
			t.Fatalf("sum %g", sum)
		}
	})
	require.InDeltaSlice(t, prior, Rhythm(make([]float64, 24), make([]float32, 24), prior, 12, 1.5), 1e-12, "nobody's history is the prior")
}

func TestPreferenceAndDecay(t *testing.T) {
	a := make([]float32, 24)
	AddPreference(a, Mask(0).With(8).With(9).With(63))
	require.InDelta(t, 5, a[8], 1e-6)
	require.InDelta(t, 5, a[9], 1e-6)
	AddPreference(a, 0)
	Decay(a, HalfLife)
	require.InDelta(t, 2.5, a[8], 1e-6)
	Decay(a, -3)
	Decay(a, math.NaN())
	require.InDelta(t, 2.5, a[8], 1e-6)
}

func TestFastMath(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200_000 {
		x := math.Exp(60 * (rng.Float64() - .5))
		require.InDelta(t, math.Log(x), fastLog(x), 2e-7*math.Max(1, math.Abs(math.Log(x))))
		y := 80 * (rng.Float64() - .5)
		require.InEpsilon(t, math.Exp(y), fastExp(y), 2e-8)
	}
	require.InDelta(t, 0, fastLog(1), 1e-15)
	require.InDelta(t, 1, fastExp(0), 1e-15)
}

func TestActivityWeight(t *testing.T) {
	for day, want := range map[string]float64{
		"2020-01-01": 1,
		"2020-03-01": 2,                 // 60 days
		"2026-01-01": 99455584693.01239, // 2^(2192/60)
	} {
		at, err := time.Parse(time.DateOnly, day)
		require.NoError(t, err)
		require.InEpsilon(t, want, ActivityWeight(at), 1e-12, day)
	}
	noon, half := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), time.Duration(HalfLife*24*float64(time.Hour))
	require.InEpsilon(t, 2, ActivityWeight(noon)/ActivityWeight(noon.Add(-half)), 1e-12)
	daily := ActivityWeight(time.Date(2039, 12, 1, 0, 0, 0, 0, time.UTC)) / (1 - math.Exp2(-1/HalfLife))
	require.Less(t, daily, math.MaxFloat32, "a daily habit fits until December 2039")
}
