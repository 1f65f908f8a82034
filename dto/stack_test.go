package dto

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// choice draws people whose responses follow eta = sum c_j f_j.
func choice(seed uint64, people int, c [3]float64) Choice {
	rng := rand.New(rand.NewPCG(seed, 4))
	const s, k = 12, 3
	out := Choice{Labels: make([]int32, people), Person: NewMatrix(people, s)}
	t0, t1 := make([]float64, k*s), make([]float64, k*s)
	for i := range t0 {
		t0[i], t1[i] = rng.NormFloat64(), rng.NormFloat64()
	}
	f := Fold{LogCurve: make([]float64, s), Tables: [][]float64{t0, t1}, R: NewMatrix(people, s), N: NewMatrix(people, s)}
	for u := range people {
		l := rng.IntN(k)
		out.Labels[u] = int32(l)
		for i := range s {
			row(out.Person, u)[i] = float32(rng.NormFloat64())
		}
		for range 20 {
			i := rng.IntN(s)
			row(f.N, u)[i]++
			eta := c[0]*t0[l*s+i] + c[1]*t1[l*s+i] + c[2]*float64(row(out.Person, u)[i])
			if rng.Float64() < math.Min(1, 0.05*math.Exp(eta)) {
				row(f.R, u)[i]++
			}
		}
	}
	out.Folds = []Fold{f}
	return out
}

func TestStackFindsTheWeights(t *testing.T) {
	c := choice(1, 20_000, [3]float64{0.6, 0.3, 0.15})
	got, _ := Stack([]float64{.2, .2, .2}, c)
	require.InDeltaSlice(t, []float64{0.6, 0.3, 0.15}, got, 0.04)
	got, _ = Stack(make([]float64, 3), choice(2, 20_000, [3]float64{}))
	require.InDeltaSlice(t, []float64{0, 0, 0}, got, 0.03)
}

func TestStackSlopesAreThoseOfTheValue(t *testing.T) {
	c := choice(3, 400, [3]float64{0.5, 0.5, 0.5})
	c.Ridge = 2
	parts := make([]float64, chunks*gradientWidth)
	x := [maxFeatures]float64{0.3, 0.1, 0.4}
	at := c.evaluate(x, 3, 1, parts)
	const h = 1e-4
	for i := range x {
		up, down := x, x
		up[i] += h
		down[i] -= h
		a, b := c.evaluate(up, 3, 1, parts), c.evaluate(down, 3, 1, parts)
		require.InDelta(t, (a.value-b.value)/(2*h), at.slope[i], 1e-2)
		for k := i; k < 3; k++ {
			require.InDelta(t, (a.slope[k]-b.slope[k])/(2*h), at.curve[i][k], 1e-2)
		}
	}
}

func TestStackIsTheMaximumInTheBox(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		truth := [3]float64{rapid.Float64Range(-2, 4).Draw(t, "a"), rapid.Float64Range(-1, 1).Draw(t, "b"), rapid.Float64Range(-1, 1).Draw(t, "c")}
		c := choice(rapid.Uint64Range(0, 1000).Draw(t, "seed"), 60, truth)
		got, value := Stack([]float64{.2, .2, .2}, c)
		c.Ridge = 2
		parts := make([]float64, chunks*gradientWidth)
		for i := range got {
			if got[i] < 0 || got[i] > maxWeight {
				t.Fatalf("%v leaves the box", got)
			}
			for _, step := range []float64{-0.1, -0.03, 0.03, 0.1} {
				x := [maxFeatures]float64(got)
				x[i] = math.Min(math.Max(x[i]+step, 0), maxWeight)
				if v := c.evaluate(x, 3, 1, parts).value; v > value+0.02 {
					t.Fatalf("%g at %v, but %g at %v", value, got, v, x)
				}
			}
		}
	})
}
