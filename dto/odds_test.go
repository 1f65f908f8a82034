package dto

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCommonOddsFindsTheTruth(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 9))
	const people, s, deliveries = 4000, 12, 60
	r, n := NewMatrix(people, s), NewMatrix(people, s)
	truth := make([]float64, s)
	for i := range truth {
		truth[i] = 0.8 * math.Cos(2*math.Pi*float64(i)/s)
	}
	for u := range people {
		level := -1 + 1.2*rng.NormFloat64()
		for range deliveries {
			i := rng.IntN(s)
			row(n, u)[i]++
			if rng.Float64() < 1/(1+math.Exp(-level-truth[i])) {
				row(r, u)[i]++
			}
		}
	}
	g := CommonCurve(make([]float64, s), r, n, 0)
	b := CommonOdds(make([]float64, s), r, n, g, 8)
	require.InDeltaSlice(t, truth, b, 0.06)
	require.Less(t, math.Log(g[0]/g[6]), 1.45, "rates saturate: their curve is flatter")
}

func TestExpectedOddsKeepsThePersonsTotal(t *testing.T) {
	e := make([]float64, 4)
	b := []float64{-1, 0, 0.5, 2}
	for _, c := range []struct{ r, n []float32 }{
		{[]float32{1, 0, 2, 0}, []float32{3, 4, 5, 0}},
		{[]float32{0, 0, 0, 1}, []float32{0, 0, 0, 9}},
		{[]float32{0, 0, 0, 0}, []float32{3, 4, 5, 6}},
		{[]float32{3, 4, 5, 6}, []float32{3, 4, 5, 6}},
		{[]float32{0, 0, 0, 0}, []float32{0, 0, 0, 0}},
		{[]float32{50, 0, 0, 0}, []float32{50, 50, 0, 1}},
	} {
		ExpectedOdds(e, c.r, c.n, b)
		want, got := 0.0, 0.0
		for i := range e {
			want += float64(c.r[i])
			got += e[i]
			require.LessOrEqual(t, e[i], float64(c.n[i])+1e-6)
			require.False(t, math.IsNaN(e[i]))
		}
		require.InDelta(t, want, got, 1e-3, "%v of %v", c.r, c.n)
	}
}
