package dto

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

// blobs draws rows around k centres at the corners of a cube.
func blobs(seed uint64, rows, cols, k int, noise float64) (Matrix, []float32, []int32) {
	rng := rand.New(rand.NewPCG(seed, 2))
	x, w, truth := NewMatrix(rows, cols), make([]float32, rows), make([]int32, rows)
	for u := range rows {
		c := rng.IntN(k)
		truth[u] = int32(c)
		w[u] = float32(rng.Float64())
		for i := range row(x, u) {
			row(x, u)[i] = float32(math.Abs(float64(c>>(i%6)&1) + noise*rng.NormFloat64()))
		}
	}
	return x, w, truth
}

func TestKMeansFindsWhatWasPlanted(t *testing.T) {
	x, w, truth := blobs(1, 4000, 24, 8, 0.1)
	c, err := KMeans(x, w, 8, KMeansOptions{Seed: 3})
	require.NoError(t, err)
	name := map[int32]int32{}
	for u, l := range c.Labels {
		if seen, ok := name[truth[u]]; ok {
			require.Equal(t, seen, l, "row %d", u)
		}
		name[truth[u]] = l
	}
	require.Len(t, name, 8)
}

// The bounds only skip work: labels are those of the plain algorithm.
func TestHamerlyIsLloyd(t *testing.T) {
	for seed := range uint64(8) {
		x, w, _ := blobs(seed, 1500, 12, 5, 0.7)
		l := newLloyd(x, w, 6)
		l.seed(rand.New(rand.NewPCG(seed, 0)))
		l.first()
		for range 40 {
			if l.move() == 0 {
				break
			}
			l.assign()
			for u := range x.Rows {
				label, d1, d2 := l.nearest(row(x, u))
				require.GreaterOrEqual(t, l.upper[u], d1-1e-6)
				require.LessOrEqual(t, l.lower[u], d2+1e-6)
				if label != l.labels[u] { // a tie to within rounding
					own := distance2(row(x, u), l.centroids[int(l.labels[u])*12:int(l.labels[u])*12+12])
					require.InDelta(t, d1*d1, own, 1e-5, "seed %d row %d", seed, u)
				}
			}
		}
	}
}

func TestKMeansObjectiveNeverRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, w, _ := blobs(rapid.Uint64().Draw(t, "seed"), rapid.IntRange(5, 400).Draw(t, "rows"), rapid.IntRange(2, 30).Draw(t, "cols"), 4, rapid.Float64Range(0, 1).Draw(t, "noise"))
		l := newLloyd(x, w, rapid.IntRange(1, 5).Draw(t, "k"))
		l.seed(rand.New(rand.NewPCG(1, 1)))
		l.first()
		last := l.inertia()
		for range 30 {
			moved := l.move()
			afterMove := l.inertia()
			changed := l.assign()
			now := l.inertia()
			if afterMove > last*(1+1e-5)+1e-6 || now > afterMove*(1+1e-5)+1e-6 {
				t.Fatalf("%g, moved to %g, assigned to %g", last, afterMove, now)
			}
			last = now
			if moved == 0 || changed == 0 {
				return
			}
		}
	})
}

func TestKMeansIsTheSameOnOneCoreOrTwo(t *testing.T) {
	x, w, _ := blobs(7, 30_000, 24, 8, 0.6)
	run := func(cores int) *Clustering {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		c, err := KMeans(x, w, 8, KMeansOptions{Seed: 5, Starts: 2, Iterations: 20})
		require.NoError(t, err)
		return c
	}
	require.Equal(t, run(1), run(2))
}

func TestKMeansEdges(t *testing.T) {
	x, w, _ := blobs(1, 10, 4, 2, 0.1)
	same := NewMatrix(50, 4)
	for _, c := range []struct {
		name string
		x    Matrix
		w    []float32
		k    int
	}{
		{"one cluster", x, w, 1},
		{"more clusters than rows", x, w, 50},
		{"all rows the same", same, nil, 3},
		{"no weight at all", x, make([]float32, 10), 2},
	} {
		got, err := KMeans(c.x, c.w, c.k, KMeansOptions{})
		require.NoError(t, err, c.name)
		require.LessOrEqual(t, got.Centroids.Rows, c.x.Rows)
		for _, v := range got.Centroids.Data {
			require.False(t, math.IsNaN(float64(v)), c.name)
		}
	}
	_, err := KMeans(x, w, 0, KMeansOptions{})
	require.ErrorIs(t, err, kairos.ErrInvalid)
	_, err = KMeans(x, w[:3], 2, KMeansOptions{})
	require.ErrorIs(t, err, kairos.ErrInvalid)
	x.Data[5] = float32(math.NaN())
	_, err = KMeans(x, w, 2, KMeansOptions{})
	require.ErrorIs(t, err, kairos.ErrInvalid)
	_, err = KMeans(Matrix{Rows: 2, Cols: 4, Stride: 4}, nil, 2, KMeansOptions{})
	require.ErrorIs(t, err, kairos.ErrInvalid)
}

// An iteration allocates a few words for its goroutines, nothing for its rows.
func TestKMeansIterationsDoNotAllocate(t *testing.T) {
	for _, rows := range []int{500, 5000} {
		x, w, _ := blobs(1, rows, 24, 8, 0.6)
		l := newLloyd(x, w, 8)
		l.seed(rand.New(rand.NewPCG(1, 1)))
		l.first()
		require.LessOrEqual(t, testing.AllocsPerRun(5, func() { l.move(); l.assign() }), 4.0, "%d rows", rows)
	}
}
