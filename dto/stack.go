package dto

import "math"

// Fold is one part of the data that [Stack] scores curves on. The curves must
// not have seen its responses.
type Fold struct {
	LogCurve []float64   // S: log of the common curve
	Tables   [][]float64 // features that depend on the cluster, each k*S
	R, N     Matrix      // responses and deliveries, N x S
}

// Choice is a conditional logit of the slots of each person's responses:
//
//	P(slot s | a response of u) ~ n_us exp(eta_us),
//	eta_us = log g_s + sum_j c_j f_j[label_u, s] + c_J f_us.
type Choice struct {
	Folds  []Fold
	Labels []int32 // N: rows of the tables; -1: the person has none of the features
	Person Matrix  // N x S: the feature that depends on the person
	Ridge  float64 // weight of |c|^2/2; 0: 2
}

const (
	maxFeatures = 3
	maxWeight   = 2.0 // c lies in [0, maxWeight]
)

// gradient holds value, slope and (upper) curvature of the log-likelihood.
type gradient struct {
	value float64
	slope [maxFeatures]float64
	curve [maxFeatures][maxFeatures]float64
}

const gradientWidth = 1 + maxFeatures + maxFeatures*maxFeatures

// Stack maximises the penalised conditional log-likelihood
//
//	sum_folds sum_us r_us eta_us - r_u log sum_t n_ut exp(eta_ut) - ridge |c|^2/2
//
// over c in [0, 2]^J, J = tables + 1 <= 3, by projected Newton steps with
// halving, starting from dst (a nearby optimum saves time), and returns c (dst's
// first J values) and the maximum. The function is concave, so there is one; it
// is met to about 1e-3 nats.
//
// Source: McFadden, Conditional logit analysis of qualitative choice behavior,
// 1974; Bertsekas, Projected Newton methods, SIAM J. Control 20, 1982; Wolpert,
// Stacked generalization, 1992.
func Stack(dst []float64, c Choice) (coefficients []float64, value float64) {
	j := len(c.Folds[0].Tables) + 1
	if c.Ridge == 0 {
		c.Ridge = 2
	}
	x := [maxFeatures]float64{}
	for i := range j {
		x[i] = math.Min(math.Max(dst[i], 0), maxWeight)
	}
	parts := make([]float64, chunks*gradientWidth)
	if n := c.Folds[0].R.Rows; n > 1<<15 { // find the place on a part, finish on the whole
		x, _ = c.climb(x, j, n>>14, parts)
	}
	x, value = c.climb(x, j, 1, parts)
	copy(dst[:j], x[:j])
	return dst[:j], value
}

// climb runs the projected Newton steps on every stride-th person.
func (c *Choice) climb(x [maxFeatures]float64, j, stride int, parts []float64) ([maxFeatures]float64, float64) {
	at := c.evaluate(x, j, stride, parts)
	for range 40 {
		step, gain := at.newton(x, j)
		if gain < 0.02 { // the last step's error is of higher order
			for i := range j {
				x[i] = math.Min(math.Max(x[i]+step[i], 0), maxWeight)
			}
			return x, at.value + gain/2
		}
		moved := false
		for t := 1.0; t > 1e-3; t /= 2 {
			y := x
			for i := range j {
				y[i] = math.Min(math.Max(x[i]+t*step[i], 0), maxWeight)
			}
			if next := c.evaluate(y, j, stride, parts); next.value > at.value {
				x, at, moved = y, next, true
				break
			}
		}
		if !moved {
			break
		}
	}
	return x, at.value
}

// newton returns the step over the coefficients not held at a bound, and the
// product of slope and step, twice the gain a quadratic promises.
func (g *gradient) newton(x [maxFeatures]float64, j int) (step [maxFeatures]float64, gain float64) {
	var free [maxFeatures]bool
	for i := range j {
		free[i] = (x[i] > 0 || g.slope[i] > 0) && (x[i] < maxWeight || g.slope[i] < 0)
	}
	// Gauss on the free part of -curve * step = slope.
	var a [maxFeatures][maxFeatures + 1]float64
	for i := range j {
		a[i][i] = 1
		if !free[i] {
			continue
		}
		for k := range j {
			if free[k] {
				a[i][k] = -g.curve[min(i, k)][max(i, k)]
			}
		}
		a[i][maxFeatures] = g.slope[i]
	}
	for i := range j {
		if a[i][i] <= 0 {
			return step, 0
		}
		for k := i + 1; k < j; k++ {
			f := a[k][i] / a[i][i]
			for m := i; m <= maxFeatures; m++ {
				a[k][m] -= f * a[i][m]
			}
		}
	}
	for i := j - 1; i >= 0; i-- {
		v := a[i][maxFeatures]
		for k := i + 1; k < j; k++ {
			v -= a[i][k] * step[k]
		}
		step[i] = v / a[i][i]
		gain += step[i] * g.slope[i]
	}
	return step, gain
}

func (c *Choice) evaluate(x [maxFeatures]float64, j, stride int, parts []float64) (g gradient) {
	clear(parts)
	n := c.Folds[0].R.Rows
	for f := range c.Folds {
		fold := &c.Folds[f]
		known := c.known(fold, x, j)
		each((n+stride-1)/stride, func(chunk, lo, hi int) {
			var sum gradient
			for u := lo; u < hi; u++ {
				c.person(&sum, fold, known, u*stride, x[j-1], j)
			}
			p := parts[chunk*gradientWidth:]
			p[0] += sum.value
			for i := range maxFeatures {
				p[1+i] += sum.slope[i]
				for k := i; k < maxFeatures; k++ {
					p[1+maxFeatures+i*maxFeatures+k] += sum.curve[i][k]
				}
			}
		})
	}
	var sums [gradientWidth]float64
	addUp(sums[:], parts)
	g.value = sums[0]
	ridge := c.Ridge / float64(stride)
	for i := range j {
		g.value -= ridge * x[i] * x[i] / 2
		g.slope[i] = sums[1+i] - ridge*x[i]
		for k := i; k < j; k++ {
			g.curve[i][k] = sums[1+maxFeatures+i*maxFeatures+k]
		}
		g.curve[i][i] -= ridge
	}
	return g
}

// known returns log g_s + sum_j c_j f_j[c, s] for every cluster, and for nobody's
// people in the last row.
func (c *Choice) known(f *Fold, x [maxFeatures]float64, j int) []float64 {
	s, rows := len(f.LogCurve), 1
	if j > 1 {
		rows = len(f.Tables[0]) / s
	}
	out := make([]float64, 0, (rows+1)*s)
	for range rows + 1 {
		out = append(out, f.LogCurve...)
	}
	for i := range j - 1 {
		for k, v := range f.Tables[i] {
			out[k] += x[i] * v
		}
	}
	return out
}

// person adds one person's terms; cu is the weight of the person's feature.
func (c *Choice) person(g *gradient, f *Fold, known []float64, u int, cu float64, j int) {
	r := row(f.R, u)
	total := float32(0)
	for _, v := range r {
		total += v
	}
	if total == 0 {
		return
	}
	n := row(f.N, u)[:len(r)]
	own := row(c.Person, u)[:len(r)]
	s, label := len(r), int(c.Labels[u])
	base := known[len(known)-s:]
	var t0, t1 []float64
	if label >= 0 {
		base = known[label*s : (label+1)*s]
		if j > 1 {
			t0 = f.Tables[0][label*s : (label+1)*s]
		}
		if j > 2 {
			t1 = f.Tables[1][label*s : (label+1)*s]
		}
	}
	base = base[:len(n)]
	// Weighted sums over the slots with exposure; the feature of the person
	// goes last.
	var z, m0, m1, mu, h00, h01, h0u, h11, h1u, huu float64
	var s0, s1, su, value float64
	for i, k := range n {
		if k == 0 {
			continue
		}
		var f0, f1 float64
		if t0 != nil {
			f0 = t0[i]
		}
		if t1 != nil {
			f1 = t1[i]
		}
		fu := float64(own[i])
		eta := base[i] + cu*fu
		w := float64(k) * fastExp(eta)
		z += w
		a, b, d := w*f0, w*f1, w*fu
		m0 += a
		m1 += b
		mu += d
		h00 += a * f0
		h01 += a * f1
		h0u += a * fu
		h11 += b * f1
		h1u += b * fu
		huu += d * fu
		if q := float64(r[i]); q != 0 {
			value += q * eta
			s0 += q * f0
			s1 += q * f1
			su += q * fu
		}
	}
	if z <= 0 {
		return
	}
	q := float64(total)
	g.value += value - q*fastLog(z)
	m0, m1, mu = m0/z, m1/z, mu/z
	slope := [maxFeatures]float64{s0 - q*m0, s1 - q*m1}
	h := [maxFeatures][maxFeatures]float64{
		{q * (h00/z - m0*m0), q * (h01/z - m0*m1), q * (h0u/z - m0*mu)},
		{0, q * (h11/z - m1*m1), q * (h1u/z - m1*mu)},
	}
	vu, l := q*(huu/z-mu*mu), j-1
	for i := range l {
		g.slope[i] += slope[i]
		for k := i; k < l; k++ {
			g.curve[i][k] -= h[i][k]
		}
		g.curve[i][l] -= h[i][2]
	}
	g.slope[l] += su - q*mu
	g.curve[l][l] -= vu
}
