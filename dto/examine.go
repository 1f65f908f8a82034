package dto

import "fmt"

// Examine runs both tests on exploration traffic without fitting a model:
// [GCMH], and [Focused] with the prediction log(q_us/qbar_s), each person's
// rhythm (k0 = 12, bw = 1.5 h) against the population's, which has seen no
// response. What is expected of a person follows the common curve of log-odds
// ([CommonOdds]): under a common curve of rates people of a high level, whose
// rates saturate, would seem to differ. People without activity take no part in the latter. Errors:
// ErrInvalid.
func Examine(d Data) (main, interaction Test, err error) {
	if err := d.Validate(); err != nil {
		return main, interaction, fmt.Errorf("examine log: %w", err)
	}
	a := d.Activity
	weights, labels := make([]float32, a.Rows), make([]int32, a.Rows)
	each(a.Rows, func(_, lo, hi int) {
		for u := lo; u < hi; u++ {
			for _, v := range row(a, u) {
				weights[u] += v
			}
		}
	})
	qbar := PopulationRhythm(make([]float64, a.Cols), a)
	interaction = examine(d, weights, labels, NewMatrix(a.Rows, a.Cols), qbar)
	return GCMH(d.Responded, d.Delivered), interaction, nil
}

// examine runs the interaction test; it overwrites labels and x; people of
// weight 0 have no activity.
func examine(d Data, weights []float32, labels []int32, x Matrix, qbar []float64) Test {
	r, n := d.Responded, d.Delivered
	for u, w := range weights {
		labels[u] = -1
		if w > 0 {
			labels[u] = 0
		}
	}
	deviations(x, d.Activity, Data{}, labels, qbar, clusterPrior, clusterBandwidth, 1)
	g := CommonCurve(make([]float64, r.Cols), r, n, 0)
	strata := Strata(make([]int32, r.Rows), r, n)
	for u, w := range weights {
		if w == 0 {
			strata[u] = 0
		}
	}
	b := CommonOdds(make([]float64, r.Cols), r, n, g, 8)
	return focused(x, r, n, strata, func(dst []float64, r, n []float32) { ExpectedOdds(dst, r, n, b) })
}

// deviations writes log(q_us/q_cs), the person's rhythm against the cluster's
// (rhythms, k*S), to dst (N x S); 0 for people of no cluster. With data given it
// leaves out what a choice among deliveries does not need: people without a
// response (their rows stay as they are) and slots without exposure (0). Only every stride-th
// row is written.
func deviations(dst, a Matrix, d Data, labels []int32, rhythms []float64, k0, bw float64, stride int) {
	s := a.Cols
	k := kernel(s, bw)
	inverse := make([]float64, len(rhythms))
	for i, q := range rhythms {
		inverse[i] = 1 / q
	}
	each((a.Rows+stride-1)/stride, func(_, lo, hi int) {
		var buf [MaxSlots]float64
		q := buf[:s]
		for u := lo * stride; u < hi*stride; u += stride {
			x, c := row(dst, u), int(labels[u])
			if d.Responded.Rows > 0 && none(row(d.Responded, u)) {
				continue
			}
			if c < 0 {
				clear(x)
				continue
			}
			rhythm(q, row(a, u), rhythms[c*s:(c+1)*s], k0, k)
			over := inverse[c*s : (c+1)*s]
			if d.Delivered.Rows == 0 {
				for i, v := range q {
					x[i] = float32(fastLog(v * over[i]))
				}
				continue
			}
			n := row(d.Delivered, u)[:len(q)]
			for i, v := range q {
				x[i] = 0
				if n[i] != 0 {
					x[i] = float32(fastLog(v * over[i]))
				}
			}
		}
	})
}

func none(x []float32) bool {
	for _, v := range x {
		if v != 0 {
			return false
		}
	}
	return true
}
