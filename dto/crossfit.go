package dto

import (
	"fmt"
	"math/bits"
	"math/rand/v2"

	"kairos"
)

// Thin gives each delivery, with its outcome, to one of two halves by a coin:
// binomial thinning of r and of n-r. What is learnt on one half may be tested on
// the other. Shapes: N x S; counts must be whole ([Data.Validate]).
func Thin(r, n Matrix, seed uint64) (r1, n1, r2, n2 Matrix) {
	r1, n1, r2, n2 = NewMatrix(r.Rows, r.Cols), NewMatrix(r.Rows, r.Cols), NewMatrix(r.Rows, r.Cols), NewMatrix(r.Rows, r.Cols)
	each(r.Rows, func(chunk, lo, hi int) {
		coin := rand.NewPCG(seed, uint64(chunk)|1<<32)
		for i := lo * r.Cols; i < hi*r.Cols; i++ {
			if n.Data[i] == 0 {
				continue
			}
			yes := heads(coin, int(r.Data[i]))
			no := heads(coin, int(n.Data[i]-r.Data[i]))
			r1.Data[i], n1.Data[i] = float32(yes), float32(yes+no)
			r2.Data[i], n2.Data[i] = r.Data[i]-float32(yes), n.Data[i]-float32(yes+no)
		}
	})
	return r1, n1, r2, n2
}

// heads draws from Binomial(n, 1/2).
func heads(coin *rand.PCG, n int) (k int) {
	for ; n > 0; n -= 64 {
		k += bits.OnesCount64(coin.Uint64() >> (64 - min(n, 64)))
	}
	return k
}

// ExamineClusters tests whether k clusters (labels, length N, 0..k-1 or -1 for
// nobody's) differ in their response curves, whatever their rhythms say: the
// prediction log(theta_cs/g_s) is learnt from the responses of one half and
// tested on the other, both ways round, and the two z's are averaged
// ([CrossFit]). The labels must not have seen a response. It has less power than
// [Examine] where responses follow rhythms, and more where they do not. Errors:
// ErrInvalid.
func ExamineClusters(d Data, labels []int32, k int, seed uint64) (Test, error) {
	if err := d.Validate(); err != nil {
		return Test{}, fmt.Errorf("examine clusters: %w", err)
	}
	if len(labels) != d.Activity.Rows || k < 1 {
		return Test{}, kairos.Invalid("labels", "must have length %d", d.Activity.Rows)
	}
	for u, l := range labels {
		if l < -1 || int(l) >= k {
			return Test{}, kairos.Invalid("labels", "must lie in -1..%d, that of person %d is %d", k-1, u, l)
		}
	}
	r1, n1, r2, n2 := Thin(d.Responded, d.Delivered, seed)
	x := NewMatrix(d.Activity.Rows, d.Activity.Cols)
	ab := foldTest(x, labels, k, r1, n1, r2, n2)
	ba := foldTest(x, labels, k, r2, n2, r1, n1)
	return CrossFit(ab, ba), nil
}

// foldTest learns on the first half and tests on the second; x is overwritten.
func foldTest(x Matrix, labels []int32, k int, lr, ln, r, n Matrix) Test {
	s := r.Cols
	mask := exposedSlots(ln)
	g := CommonCurve(make([]float64, s), lr, ln, 0)
	smoothCurve(g, mask)
	theta := ClusterCurves(make([]float64, k*s), CountCells(lr, ln, labels, k, g), g, mask, Kappa, curveBandwidth)
	ratio := logRatio(theta, g)
	strata := Strata(make([]int32, r.Rows), r, n)
	for u, l := range labels {
		if l < 0 {
			strata[u] = 0
			continue
		}
		for i := range s {
			x.Data[u*s+i] = float32(ratio[int(l)*s+i])
		}
	}
	b := CommonOdds(make([]float64, s), r, n, CommonCurve(make([]float64, s), r, n, 0), 8)
	return focused(x, r, n, strata, func(dst []float64, r, n []float32) { ExpectedOdds(dst, r, n, b) })
}

// exposedSlots returns the slots with any delivery.
func exposedSlots(n Matrix) (m Mask) {
	for s, v := range sumByLabel(n, make([]int32, n.Rows), 1) {
		if v > 0 {
			m = m.With(s)
		}
	}
	return m
}
