package dto

import "gonum.org/v1/gonum/stat/distuv"

// Band writes to low and high (length S) the interval of cluster c's response
// curve that holds each slot's value with the given probability: quantiles of
// the Gamma(R + kappa, E + kappa) posterior of the ratio to the common curve,
// times g. R is smoothed by 1 h as the curve is; smoothing leaves 1/w of
// the noise of w times as many responses, w the inverse sum of squared kernel,
// and the band takes that into account. Slots never explored get 0.
func (m *Model) Band(low, high []float64, c int, probability float64) {
	s := m.Slots
	k := kernel(s, curveBandwidth)
	w := 0.0
	for _, v := range k[:s] {
		w += v * v
	}
	w = 1 / w
	r := make([]float64, s)
	smooth(r, m.Cells.Responses[c*s:(c+1)*s], k)
	for i := range s {
		if !m.Mask.Has(i) {
			low[i], high[i] = 0, 0
			continue
		}
		// the curve itself as the mean, so that the band always holds it
		shape := w * (r[i] + m.Kappa)
		d := distuv.Gamma{Alpha: shape, Beta: shape}
		mean := m.ClusterCurve[c*s+i]
		low[i] = mean * d.Quantile((1-probability)/2)
		high[i] = mean * d.Quantile((1+probability)/2)
	}
}
