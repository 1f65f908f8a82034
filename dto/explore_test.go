package dto

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExploration(t *testing.T) {
	for _, c := range []struct{ responses, needed, want float64 }{
		{0, 3000, .3}, {1500, 3000, .175}, {3000, 3000, .05}, {1e9, 3000, .05}, {-1, 3000, .3}, {10, math.Inf(1), .3}, {10, 0, .3},
	} {
		require.InDelta(t, c.want, Exploration(c.responses, c.needed), 1e-12, "%+v", c)
	}
}

func TestDrawIsUniformOverTheMask(t *testing.T) {
	m := Mask(0).With(0).With(9).With(23).With(63).With(64).With(-1)
	require.Equal(t, 4, m.Len())
	rng, seen := rand.New(rand.NewPCG(1, 1)), map[int]int{}
	for range 8000 {
		slot, p := m.Draw(rng.Uint64())
		require.True(t, m.Has(slot))
		require.Equal(t, .25, p)
		seen[slot]++
	}
	for slot, n := range seen {
		require.InDelta(t, 2000, n, 150, "slot %d", slot)
	}
	require.Len(t, seen, 4)
	for _, u := range []uint64{0, math.MaxUint64} {
		slot, _ := m.Draw(u)
		require.True(t, m.Has(slot))
	}
	slot, p := Mask(0).Draw(5)
	require.Equal(t, -1, slot)
	require.Zero(t, p)
	require.Equal(t, 24, AllSlots(24).Len())
	require.Equal(t, 64, AllSlots(64).Len())
}
