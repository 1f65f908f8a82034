package dto

import "math"

// CommonOdds writes to dst (length S) the common curve of log-odds b, mean 0
// over the slots with exposure, and returns it: the maximum likelihood estimate
// in
//
//	P(response of u in s) = 1/(1 + exp(-a_u - b_s)),
//
// by b_s <- b_s + log(R_s/E_s) with every a_u solved for in between
// ([ExpectedOdds]). Where responses are rare it is log g ([CommonCurve]); where
// they are not, people of different levels share log-odds rather than rates,
// because rates saturate. start is g. Source: Rasch 1960; Bishop, Fienberg and
// Holland, Discrete Multivariate Analysis, 1975.
func CommonOdds(dst []float64, r, n Matrix, start []float64, rounds int) []float64 {
	s := r.Cols
	width := 3 * s
	parts, sums := make([]float64, chunks*width), make([]float64, width)
	b := dst[:s]
	for i, g := range start {
		b[i] = math.Log(math.Max(g, 1e-9))
	}
	for range rounds {
		clear(parts)
		each(r.Rows, func(c, lo, hi int) {
			p := parts[c*width : (c+1)*width]
			var buf [168]float64
			e := buf[:s]
			for u := lo; u < hi; u++ {
				ru, nu := row(r, u), row(n, u)
				if none(ru) {
					continue
				}
				ExpectedOdds(e, ru, nu, b)
				for i, v := range e {
					p[i] += float64(ru[i])
					p[s+i] += v
					p[2*s+i] += float64(nu[i])
				}
			}
		})
		addUp(sums, parts)
		mean, exposed := 0.0, 0
		for i := range b {
			if sums[2*s+i] > 0 {
				b[i] += math.Log((sums[i] + 1e-9) / math.Max(sums[s+i], 1e-12))
				b[i] = math.Min(math.Max(b[i], -20), 20)
				mean += b[i]
				exposed++
			}
		}
		for i := range b {
			if sums[2*s+i] > 0 {
				b[i] -= mean / float64(exposed)
			}
		}
	}
	return b
}

// ExpectedOdds writes to dst (length S) the responses expected in each slot of
// one person given the person's total and the curve of log-odds b:
// E_s = n_s/(1 + exp(-a - b_s)), the level a such that sum E = r_u.
func ExpectedOdds(dst []float64, r, n []float32, b []float64) []float64 {
	total, of := 0.0, 0.0
	for i, v := range n {
		total += float64(r[i])
		of += float64(v)
	}
	if total <= 0 || total >= of {
		for i, v := range n {
			dst[i] = float64(v) * total / math.Max(of, 1)
		}
		return dst
	}
	z := 0.0 // start: the level at which the mean rate is right for a flat curve
	for i, v := range n {
		z += float64(v) * b[i]
	}
	a := math.Log(total/(of-total)) - z/of
	for range 6 {
		sum, slope := 0.0, 0.0
		for i, v := range n {
			if v == 0 {
				dst[i] = 0
				continue
			}
			p := 1 / (1 + fastExp(-a-b[i]))
			dst[i] = float64(v) * p
			sum += dst[i]
			slope += dst[i] * (1 - p)
		}
		step := (total - sum) / math.Max(slope, 1e-9)
		if math.Abs(step) < 1e-4 {
			break
		}
		a += math.Min(math.Max(step, -2), 2)
	}
	sum := 0.0
	for _, v := range dst {
		sum += v
	}
	for i := range dst {
		dst[i] *= total / sum
	}
	return dst
}
