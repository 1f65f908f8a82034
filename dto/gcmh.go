package dto

import (
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Test is the outcome of a significance test.
type Test struct {
	Statistic float64 `json:"statistic"` // chi-square, or z where DF is 0
	DF        int     `json:"df"`        // degrees of freedom of the chi-square
	P         float64 `json:"p"`         // 1 where the data say nothing
	People    int     `json:"people"`    // who carried information
}

// GCMH is the main test: does the hour matter to anybody? It is the
// generalised Cochran-Mantel-Haenszel statistic with people as strata, so that
// everybody is compared with himself:
//
//	U_s = sum_u (r_us - n_us r_u/n_u),
//	V   = sum_u r_u (n_u-r_u)/(n_u-1) (diag f_u - f_u f_u'),  f_us = n_us/n_u,
//
// U' V^+ U is chi-square with rank V (S-1, fewer when slots had no exposure)
// degrees of freedom when, given a person's deliveries and responses, the
// responses fall on the deliveries at random. r and n are N x S.
//
// Source: Landis, Heyman and Koch, Average partial association in three-way
// contingency tables, Int. Stat. Rev. 46, 1978; Mantel and Byar 1978.
func GCMH(r, n Matrix) Test {
	s := r.Cols
	width := s + s*s + 1
	parts, sums := make([]float64, chunks*width), make([]float64, width)
	each(r.Rows, func(chunk, lo, hi int) {
		p := parts[chunk*width : (chunk+1)*width]
		var f [168]float64
		for u := lo; u < hi; u++ {
			p[width-1] += gcmhRow(p[:s], p[s:s+s*s], f[:s], row(r, u), row(n, u))
		}
	})
	addUp(sums, parts)
	t := Test{P: 1, People: int(sums[width-1])}
	if t.People == 0 {
		return t
	}
	v := mat.NewSymDense(s-1, nil) // any one slot is redundant
	for i := range s - 1 {
		for j := i; j < s-1; j++ {
			v.SetSym(i, j, sums[s+i*s+j])
		}
	}
	t.Statistic, t.DF = quadratic(sums[:s-1], v)
	if t.DF > 0 {
		t.P = distuv.ChiSquared{K: float64(t.DF)}.Survival(t.Statistic)
	}
	return t
}

// gcmhRow adds one person to u (S) and the upper half of v (S x S); it returns
// 1 when the person carries information.
func gcmhRow(u, v, f []float64, r, n []float32) float64 {
	ru, nu := 0.0, 0.0
	for i, x := range r {
		ru += float64(x)
		nu += float64(n[i])
	}
	if ru <= 0 || ru >= nu || nu <= 1 {
		return 0
	}
	w := ru * (nu - ru) / (nu - 1)
	s := len(f)
	for i, x := range n {
		f[i] = float64(x) / nu
		u[i] += float64(r[i]) - ru*f[i]
		v[i*s+i] += w * f[i]
	}
	for i, fi := range f {
		if fi == 0 {
			continue
		}
		wi := w * fi
		q := v[i*s+i : (i+1)*s]
		for j, fj := range f[i:] {
			q[j] -= wi * fj
		}
	}
	return 1
}

// quadratic returns u' V^+ u and the rank of V by its eigenvalues.
func quadratic(u []float64, v *mat.SymDense) (q float64, rank int) {
	var e mat.EigenSym
	if !e.Factorize(v, true) {
		return 0, 0
	}
	values := e.Values(nil)
	var vectors mat.Dense
	e.VectorsTo(&vectors)
	largest := values[len(values)-1]
	for k, l := range values {
		if l <= 1e-10*largest || math.IsNaN(l) {
			continue
		}
		rank++
		d := 0.0
		for i := range u {
			d += vectors.At(i, k) * u[i]
		}
		q += d * d / l
	}
	return q, rank
}
