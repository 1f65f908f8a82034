package dto

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden is the reference's input and its answers.
type golden struct {
	n, r, x  Matrix
	labels   []int32
	strata   []int32
	clusters int
	curve    []float64
	gcmh     struct {
		Q, P float64
		DF   int
	}
	focused struct{ Z, P float64 }
	omnibus struct {
		Q, P float64
		DF   int
	}
	thetas [][]float64
}

func readGolden(t testing.TB) *golden {
	t.Helper()
	f, err := os.Open("testdata/golden_tests.json.gz")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var raw map[string]json.RawMessage // n and N differ only in case
	require.NoError(t, json.NewDecoder(z).Decode(&raw))
	get := func(key string, v any) { require.NoError(t, json.Unmarshal(raw[key], v), key) }
	g := &golden{}
	var rows, slots int
	get("N", &rows)
	get("S", &slots)
	get("K", &g.clusters)
	get("labels", &g.labels)
	get("strata", &g.strata)
	matrix := func(key string) Matrix {
		var v [][]float32
		get(key, &v)
		m := NewMatrix(rows, slots)
		for u := range v {
			copy(row(m, u), v[u])
		}
		return m
	}
	g.n, g.r, g.x = matrix("n"), matrix("r"), matrix("scores")
	var want struct {
		Curve []float64 `json:"common_curve"`
		GCMH  struct {
			Q, P float64
			DF   int
		}
		Focused struct {
			Z float64
			P float64 `json:"p_one_sided"`
		}
		Omnibus struct {
			Q, P float64
			DF   int
		}
		Thetas [][]float64 `json:"cluster_curves_kap30_bw1h"`
	}
	get("expect", &want)
	g.curve, g.gcmh, g.omnibus, g.thetas = want.Curve, want.GCMH, want.Omnibus, want.Thetas
	g.focused.Z, g.focused.P = want.Focused.Z, want.Focused.P
	return g
}

const digits = 1e-6

func TestGoldenCommonCurve(t *testing.T) {
	g := readGolden(t)
	require.InDeltaSlice(t, g.curve, CommonCurve(make([]float64, g.r.Cols), g.r, g.n, 0), digits)
}

func TestGoldenGCMH(t *testing.T) {
	g := readGolden(t)
	got := GCMH(g.r, g.n)
	require.InDelta(t, g.gcmh.Q, got.Statistic, digits)
	require.InDelta(t, g.gcmh.P, got.P, digits)
	require.Equal(t, g.gcmh.DF, got.DF)
}

func TestGoldenFocused(t *testing.T) {
	g := readGolden(t)
	got := Focused(g.x, g.r, g.n, g.curve, g.strata)
	require.InDelta(t, g.focused.Z, got.Statistic, digits)
	require.InDelta(t, g.focused.P, got.P, digits)
}

func TestGoldenOmnibus(t *testing.T) {
	g := readGolden(t)
	got := Omnibus(g.labels, g.clusters, g.r, g.n, g.curve, g.strata)
	require.InDelta(t, g.omnibus.Q, got.Statistic, digits)
	require.InEpsilon(t, g.omnibus.P, got.P, digits)
	require.Equal(t, g.omnibus.DF, got.DF)
}

func TestGoldenClusterCurves(t *testing.T) {
	g := readGolden(t)
	s := g.r.Cols
	cells := CountCells(g.r, g.n, g.labels, g.clusters, g.curve)
	got := ClusterCurves(make([]float64, g.clusters*s), cells, g.curve, AllSlots(s), Kappa, 1)
	for c, want := range g.thetas {
		require.InDeltaSlice(t, want, got[c*s:(c+1)*s], digits, "cluster %d", c)
	}
}
