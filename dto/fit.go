package dto

import (
	"fmt"
	"math"
)

// Fit learns a model from a snapshot:
//
//  1. the common curve g, smoothed by 1 h and shrunk, as far as [GCMH] finds
//     noise in it, towards a power of the population's rhythm;
//  2. rhythms, and k-means++ on sqrt(q) (k0 = 12, bw = 1.5 h, weights
//     A/(A+12)) for each number of clusters tried;
//  3. each cluster's response curve from exploration alone, leaning on g;
//  4. the stack eta_us = log g_s + c1 log(theta_cs/g_s) + c2 log(q_cs/qbar_s) +
//     c3 log(q_us/q_cs), its weights and the choice of K, k0 and bw by held-out
//     likelihood: deliveries are thinned into two halves, curves learnt on one
//     and scored on the other; the common curve alone is left only for a gain of
//     3 nats, each further change must gain 1 (above 131,072 people, k0 and bw
//     of each K are chosen on 65,536 of them);
//  5. the two tests on all exploration traffic and the verdict.
//
// Clusters and rhythms never see a response, which is why the tests may use
// them. People without any activity belong to no cluster and get the common
// curve. Memory beside the data: about 6 N S float32. Errors: ErrInvalid.
func Fit(d Data, o Options) (*Model, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("fit model: %w", err)
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("fit model: %w", err)
	}
	o = o.defaults()
	f := newFitter(d, o)
	f.common()
	for _, k := range o.Clusters {
		if err := f.try(k); err != nil {
			return nil, fmt.Errorf("fit model with %d clusters: %w", k, err)
		}
	}
	m := f.finish()
	m.Interaction = examine(d, f.weights, f.labels, f.own, m.Rhythm)
	m.Decision = Decide(m.Main, m.Interaction, m.Deliveries, m.Responses, o.Verdict)
	return m, nil
}

// fitter is the state of one fit.
type fitter struct {
	d       Data
	o       Options
	s       int
	m       *Model
	halves  [2]Fold      // thinned exploration
	curves  [2][]float64 // g learnt on each half
	x       Matrix       // sqrt(q)
	own     Matrix       // log(q_us/q_cs)
	weights []float32
	labels  []int32
	all     Cells   // responses and expectations of everybody
	base    float64 // held-out log-likelihood of the common curve
	best    float64
}

func newFitter(d Data, o Options) *fitter {
	n, s := d.Activity.Rows, d.Activity.Cols
	f := &fitter{d: d, o: o, s: s, weights: make([]float32, n), labels: make([]int32, n)}
	f.m = &Model{
		Slots: s, Seed: o.Seed, K: 1, People: n, Kappa: o.Kappa,
		Prior: clusterPrior, Bandwidth: clusterBandwidth, ClusterPrior: clusterPrior, ClusterBandwidth: clusterBandwidth,
		Curve: make([]float64, s), Rhythm: make([]float64, s),
	}
	return f
}

// common learns the common curves and the population's rhythm, and makes what
// the rounds share: halves and features.
func (f *fitter) common() {
	m, r, n := f.m, f.d.Responded, f.d.Delivered
	exposure := sumByLabel(n, f.labels, 1)
	for s, v := range exposure {
		m.Deliveries += v
		if v > 0 {
			m.Mask = m.Mask.With(s)
		}
	}
	for _, v := range sumByLabel(r, f.labels, 1) {
		m.Responses += v
	}
	m.Main = GCMH(r, n)
	f.x, f.own = NewMatrix(f.d.Activity.Rows, f.s), NewMatrix(f.d.Activity.Rows, f.s)
	PopulationRhythm(m.Rhythm, f.d.Activity)
	f.curve(m.Curve, r, n, m.Main)
	m.GlobalSlot = best(m.Curve, m.Mask)
	f.halves[0].R, f.halves[0].N, f.halves[1].R, f.halves[1].N = Thin(r, n, f.o.Seed)
	for h := range f.halves {
		f.curves[h] = make([]float64, f.s)
		f.curve(f.curves[h], f.halves[h].R, f.halves[h].N, GCMH(f.halves[h].R, f.halves[h].N))
	}
	for h := range f.halves {
		f.halves[h].LogCurve = logs(f.curves[1-h])
	}
	hellinger(f.x, f.weights, f.d.Activity, m.Rhythm, clusterPrior, clusterBandwidth)
	parts := make([]float64, chunks*gradientWidth)
	c := Choice{Folds: f.halves[:], Labels: f.labels, Person: f.own, Ridge: f.o.Ridge}
	for u, w := range f.weights { // nobody's: no activity
		if w == 0 {
			f.labels[u] = -1
		}
	}
	f.base = c.evaluate([maxFeatures]float64{}, 1, 1, parts).value
	f.best = f.base
	// until something better is found: the common curve alone
	f.all = CountCells(r, n, make([]int32, r.Rows), 1, m.Curve)
	f.keep(1, nil, m.Rhythm, m.Curve, f.all)
}

// curve learns the common curve from r and n: smoothed, and shrunk towards the
// power of the population's rhythm that explains the responses best.
func (f *fitter) curve(dst []float64, r, n Matrix, main Test) {
	m, s := f.m, f.s
	smoothCurve(CommonCurve(dst, r, n, 0), m.Mask)
	prior := logs(m.Rhythm)
	fold := Fold{LogCurve: make([]float64, s), Tables: [][]float64{prior}, R: r, N: n}
	c := Choice{Folds: []Fold{fold}, Labels: make([]int32, r.Rows), Person: f.own, Ridge: f.o.Ridge} // own is 0 here
	stride := max(1, r.Rows>>16)
	parts := make([]float64, chunks*gradientWidth)
	flat := c.evaluate([maxFeatures]float64{}, 2, stride, parts).value
	power, value := c.climb([maxFeatures]float64{}, 2, stride, parts)
	mean, exposed := 0.0, 0
	for i := range prior {
		prior[i] *= power[0]
		if m.Mask.Has(i) {
			mean += dst[i] / math.Exp(prior[i])
			exposed++
		}
	}
	if exposed > 0 { // the prior on the curve's scale
		for i := range prior {
			prior[i] += math.Log(mean / float64(exposed))
		}
	}
	explained := 2 * (value - flat) * float64(stride)
	calm(dst, m.Mask, prior, main.Statistic-explained, main.DF-1)
}

func logs(x []float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = math.Log(math.Max(v, 1e-300))
	}
	return y
}

// logRatio returns log(x/y), y repeated over x's rows.
func logRatio(x, y []float64) []float64 {
	z := make([]float64, len(x))
	for i, v := range x {
		z[i] = math.Log(math.Max(v, 1e-300) / math.Max(y[i%len(y)], 1e-300))
	}
	return z
}

// try fits k clusters with every prior and bandwidth and keeps what gains.
func (f *fitter) try(k int) error {
	m, a, s := f.m, f.d.Activity, f.s
	var centroids []float32
	rhythms := m.Rhythm
	choice := Choice{Folds: make([]Fold, 2), Labels: f.labels, Person: f.own, Ridge: f.o.Ridge}
	copy(choice.Folds, f.halves[:])
	curves, cells := m.Curve, Cells{}
	if k == 1 {
		for u, w := range f.weights {
			f.labels[u] = -1
			if w > 0 {
				f.labels[u] = 0
			}
		}
	} else {
		if !anyPositive(f.weights) {
			return nil // no activity at all: nothing to cluster on
		}
		c, err := KMeans(f.x, f.weights, k, f.o.Means)
		if err != nil {
			return err
		}
		centroids, k = c.Centroids.Data, c.Centroids.Rows
		for u, w := range f.weights {
			f.labels[u] = -1
			if w > 0 {
				f.labels[u] = c.Labels[u]
			}
		}
		rhythms = ClusterRhythms(make([]float64, k*s), a, f.labels, k, m.Rhythm)
		x2 := logRatio(rhythms, m.Rhythm)
		for h := range f.halves { // learnt on the other half
			g := f.curves[1-h]
			other := CountCells(f.halves[1-h].R, f.halves[1-h].N, f.labels, k, g)
			theta := ClusterCurves(make([]float64, k*s), other, g, m.Mask, f.o.Kappa, curveBandwidth)
			choice.Folds[h].Tables = [][]float64{logRatio(theta, g), x2}
		}
	}
	c := [maxFeatures]float64{.2, .2, .2}
	for _, p := range f.shortlist(&choice, rhythms, c) {
		deviations(f.own, f.d.Activity, f.d, f.labels, rhythms, p.k0, p.bw, 1)
		got, value := Stack(c[:], choice) // starts from the last one's
		need := f.o.NextGain
		if f.best == f.base {
			need = f.o.FirstGain
		}
		if !(value > f.best+need) {
			continue
		}
		f.best = value
		m.Prior, m.Bandwidth = p.k0, p.bw
		if k == 1 {
			f.keep(1, nil, m.Rhythm, m.Curve, f.all)
			m.C = [3]float64{0, 0, got[0]}
			continue
		}
		if cells.Expected == nil {
			cells = CountCells(f.d.Responded, f.d.Delivered, f.labels, k, m.Curve)
			curves = ClusterCurves(make([]float64, k*s), cells, m.Curve, m.Mask, f.o.Kappa, curveBandwidth)
		}
		f.keep(k, centroids, rhythms, curves, cells)
		m.C = c
	}
	return nil
}

// own names a person's rhythm.
type own struct{ k0, bw float64 }

// shortlist returns the priors and bandwidths to be tried on everybody: all of
// them, or, where people abound, the one that is best on a part of them.
func (f *fitter) shortlist(choice *Choice, rhythms []float64, c [maxFeatures]float64) []own {
	const part = 1 << 16
	all := make([]own, 0, len(f.o.Priors)*len(f.o.Bandwidths))
	for _, k0 := range f.o.Priors {
		for _, bw := range f.o.Bandwidths {
			all = append(all, own{k0, bw})
		}
	}
	stride := f.d.Activity.Rows / part
	if stride < 2 || len(all) < 2 {
		return all
	}
	j := len(choice.Folds[0].Tables) + 1
	parts := make([]float64, chunks*gradientWidth)
	best, highest := 0, math.Inf(-1)
	for i, p := range all {
		deviations(f.own, f.d.Activity, f.d, f.labels, rhythms, p.k0, p.bw, stride)
		var value float64
		if c, value = choice.climb(c, j, stride, parts); value > highest {
			best, highest = i, value
		}
	}
	return all[best : best+1]
}

func (f *fitter) keep(k int, centroids []float32, rhythms, curves []float64, cells Cells) {
	m := f.m
	m.K, m.Centroids, m.ClusterRhythm, m.ClusterCurve, m.Cells = k, centroids, rhythms, curves, cells
	m.Sizes = make([]int, k)
	for _, l := range f.labels {
		if l >= 0 {
			m.Sizes[l]++
		}
	}
}

// finish fills in what follows from the rest.
func (f *fitter) finish() *Model {
	m := f.m
	m.Gain = f.best - f.base
	m.ClusterSlots = make([]int, m.K)
	eta := make([]float64, f.s)
	for c := range m.K {
		m.clusterScore(eta, c)
		m.ClusterSlots[c] = best(eta, m.Mask)
	}
	return m
}
