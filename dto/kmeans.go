package dto

import (
	"math"
	"math/rand/v2"

	"kairos"
)

// KMeansOptions steer [KMeans]. The zero value of each field is usable.
type KMeansOptions struct {
	Starts     int    // seedings tried; 0: 4
	Iterations int    // limit for each run; 0: 100
	Sample     int    // rows on which starts compete, the best then runs on all; 0: 20,000
	Seed       uint64 // same seed, same clusters
}

// Clustering is the result of [KMeans].
type Clustering struct {
	Centroids  Matrix    // K x S
	Labels     []int32   // length N, 0..K-1
	Weights    []float64 // length K: sum of the weights of each cluster's rows
	Inertia    float64   // sum_i w_i |x_i - c_label(i)|^2
	Iterations int       // of the final run
}

// KMeans cuts the rows of x (N x S) into k clusters that minimise the inertia
// sum_i w_i |x_i - c(i)|^2: greedy k-means++ seeding, several starts, then
// Lloyd's iteration with Hamerly's two bounds per row, which skips the distance
// computations that cannot change a label. weights has length N (nil: all 1);
// rows of weight 0 are labelled but move nothing. k is cut to N.
//
// Errors: ErrInvalid when k < 1, a shape does not fit, or a value or weight is
// negative or not finite.
//
// Sources: Arthur and Vassilvitskii, k-means++: the advantages of careful
// seeding, SODA 2007; Hamerly, Making k-means even faster, SDM 2010.
func KMeans(x Matrix, weights []float32, k int, o KMeansOptions) (*Clustering, error) {
	if err := checkShape("x", x); err != nil {
		return nil, err
	}
	switch {
	case k < 1:
		return nil, kairos.Invalid("k", "must be at least 1, is %d", k)
	case weights != nil && len(weights) != x.Rows:
		return nil, kairos.Invalid("weights", "must have length %d, has %d", x.Rows, len(weights))
	}
	if i := checkValues(x.Data); i >= 0 {
		return nil, kairos.Invalid("x", "has a negative or undefined value in row %d", i/x.Cols)
	}
	if i := checkValues(weights); i >= 0 {
		return nil, kairos.Invalid("weights", "has a negative or undefined value in row %d", i)
	}
	if o.Starts <= 0 {
		o.Starts = 4
	}
	if o.Iterations <= 0 {
		o.Iterations = 100
	}
	if o.Sample <= 0 {
		o.Sample = 20_000
	}
	if weights == nil || !anyPositive(weights) {
		weights = make([]float32, x.Rows)
		for i := range weights {
			weights[i] = 1
		}
	}
	k = min(k, x.Rows)
	sx, sw := sampleRows(x, weights, max(o.Sample, k))
	var best *lloyd
	bestInertia := math.Inf(1)
	for start := range o.Starts {
		l := newLloyd(sx, sw, k)
		l.seed(rand.New(rand.NewPCG(o.Seed, uint64(start))))
		l.run(o.Iterations)
		if v := l.inertia(); v < bestInertia {
			best, bestInertia = l, v
		}
	}
	if sx.Rows < x.Rows {
		full := newLloyd(x, weights, k)
		copy(full.centroids, best.centroids)
		full.run(o.Iterations)
		best, bestInertia = full, full.inertia()
	}
	c := &Clustering{
		Centroids: NewMatrix(k, x.Cols), Labels: best.labels,
		Weights: append([]float64(nil), best.mass...), Inertia: bestInertia, Iterations: best.iterations,
	}
	copy(c.Centroids.Data, best.centroids)
	return c, nil
}

func anyPositive(w []float32) bool {
	for _, v := range w {
		if v > 0 {
			return true
		}
	}
	return false
}

// sampleRows returns every (N/n)-th row of positive weight, or x itself when it
// has no more than n rows.
func sampleRows(x Matrix, w []float32, n int) (Matrix, []float32) {
	if x.Rows <= n {
		return x, w
	}
	positive := 0
	for _, v := range w {
		if v > 0 {
			positive++
		}
	}
	n = min(n, positive)
	s, sw := NewMatrix(n, x.Cols), make([]float32, n)
	seen, taken := 0, 0
	for u, v := range w {
		if v <= 0 {
			continue
		}
		if taken < n && seen*n >= taken*positive {
			copy(row(s, taken), row(x, u))
			sw[taken] = v
			taken++
		}
		seen++
	}
	return s, sw
}
