package dto

// Kappa is the default weight, in responses per slot, with which a cluster's
// curve leans on the common one.
const Kappa = 30.0

// ClusterRhythms writes to dst (k*S, row-major) the rhythm of each cluster and
// returns it: q_c = (K*a + 20 qbar) / (sum a + 20), a the activity of the
// cluster's people (labels, length N, in 0..k-1, or -1 for nobody's), K a circular Gaussian of 1 h,
// qbar the population's rhythm.
func ClusterRhythms(dst []float64, a Matrix, labels []int32, k int, qbar []float64) []float64 {
	s := a.Cols
	sums := sumByLabel(a, labels, k)
	clear(dst)
	kern := kernel(s, 1)
	for c := range k {
		q, total := dst[c*s:(c+1)*s], 20.0
		smooth(q, sums[c*s:(c+1)*s], kern)
		for _, v := range sums[c*s : (c+1)*s] {
			total += v
		}
		for i := range q {
			q[i] = (q[i] + 20*qbar[i]) / total
		}
	}
	return dst
}

func sumByLabel(a Matrix, labels []int32, k int) []float64 {
	s := a.Cols
	parts, sums := make([]float64, chunks*k*s), make([]float64, k*s)
	each(a.Rows, func(chunk, lo, hi int) {
		p := parts[chunk*k*s : (chunk+1)*k*s]
		for u := lo; u < hi; u++ {
			c := int(labels[u])
			if c < 0 {
				continue
			}
			q := p[c*s : (c+1)*s]
			for i, v := range row(a, u)[:len(q)] {
				q[i] += float64(v)
			}
		}
	})
	addUp(sums, parts)
	return sums
}

// Cells holds the responses and expectations behind the clusters' curves, both
// k*S row-major.
type Cells struct {
	Responses []float64 `json:"responses"` // R_cs
	Expected  []float64 `json:"expected"`  // E_cs under the common curve, each person's total given
}

// CountCells sums responses and expectations of each cluster's people.
// Shapes: r, n N x S; labels N; g S.
func CountCells(r, n Matrix, labels []int32, k int, g []float64) Cells {
	s := r.Cols
	width := 2 * k * s
	parts, sums := make([]float64, chunks*width), make([]float64, width)
	each(r.Rows, func(chunk, lo, hi int) {
		p := parts[chunk*width : (chunk+1)*width]
		for u := lo; u < hi; u++ {
			c := int(labels[u])
			if c < 0 {
				continue
			}
			countRow(p[c*s:(c+1)*s], p[(k+c)*s:(k+c+1)*s], row(r, u), row(n, u), g)
		}
	})
	addUp(sums, parts)
	return Cells{Responses: sums[: k*s : k*s], Expected: sums[k*s:]}
}

func countRow(cr, ce []float64, r, n []float32, g []float64) {
	total, d := 0.0, 0.0
	for i, v := range r {
		total += float64(v)
		cr[i] += float64(v)
		d += float64(n[i]) * g[i]
	}
	if total == 0 || d <= 0 {
		return
	}
	d = total / d
	for i, v := range n {
		ce[i] += float64(v) * g[i] * d
	}
}

// ClusterCurves writes to dst (k*S, row-major) each cluster's response curve
// and returns it:
//
//	theta_cs = g_s (R_cs + kappa) / (E_cs + kappa),
//
// R and E smoothed by bw hours first, each curve scaled to mean 1 over the
// mask's slots. It is the posterior mean under a Gamma(kappa, kappa) prior on
// the ratio to the common curve (Gamma-Poisson shrinkage).
func ClusterCurves(dst []float64, cells Cells, g []float64, mask Mask, kappa, bw float64) []float64 {
	s := len(g)
	k := kernel(s, bw)
	e := make([]float64, s)
	clear(dst)
	for c := 0; c < len(dst); c += s {
		th := dst[c : c+s]
		clear(e)
		smooth(th, cells.Responses[c:c+s], k)
		smooth(e, cells.Expected[c:c+s], k)
		for i := range th {
			th[i] = g[i] * (th[i] + kappa) / (e[i] + kappa)
		}
		normalise(th, mask)
	}
	return dst
}
