package dto

import (
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Focused is the interaction test: do people differ in their best hour, in the
// direction predicted? x (N x S) is each person's predicted log deviation from
// the common curve g; y_us = r_us - E_us the deviation seen ([Expected]). People
// are exchangeable within strata (length N, see [Strata]; <= 0 is left out):
//
//	F = sum (x_u - xbar)'(y_u - ybar),  Var F = sum_strata tr(S_x S_y)/(N-1),
//
// S_x and S_y the scatter matrices within the stratum: mean and variance of F
// over all permutations. z = F/sd is returned with its one-sided p. x must not
// have seen the responses in r; where its making needs responses, learn on one
// fold, test on the other and see [CrossFit].
//
// Source: Hoeffding, A combinatorial central limit theorem, Ann. Math. Stat. 22,
// 1951; Strasser and Weber, On the asymptotic theory of permutation statistics,
// 1999.
func Focused(x, r, n Matrix, g []float64, strata []int32) Test {
	return focused(x, r, n, strata, func(dst []float64, r, n []float32) { Expected(dst, r, n, g) })
}

// focused is Focused with any rule for the expected responses of a person.
func focused(x, r, n Matrix, strata []int32, expect func(dst []float64, r, n []float32)) Test {
	s := x.Cols
	tri := s * (s + 1) / 2
	// accumulator: sum x (S), sum y (S), x'y (1), xx' (tri), yy' (tri); and room
	// for one person's y (S)
	width := 3*s + 1 + 2*tri
	p := cut(strata)
	f, v, people := 0.0, 0.0, 0.0
	p.fold(width, func(acc []float64, u int) {
		y, ru := acc[width-s:], row(r, u)
		expect(y, ru, row(n, u))
		for i, v := range ru {
			y[i] = float64(v) - y[i]
		}
		focusedRow(acc, row(x, u), y)
	}, func(n float64, acc []float64) {
		sx, sy := acc[:s], acc[s:2*s]
		xx, yy := acc[2*s+1:2*s+1+tri], acc[2*s+1+tri:2*s+1+2*tri]
		f += acc[2*s]
		people += n
		k := 0
		for i := range s {
			f -= sx[i] * sy[i] / n
			for j := i; j < s; j++ {
				t := (xx[k] - sx[i]*sx[j]/n) * (yy[k] - sy[i]*sy[j]/n) / (n - 1)
				if j > i {
					t *= 2
				}
				v += t
				k++
			}
		}
	})
	return zTest(f, v, int(people))
}

func focusedRow(acc []float64, x []float32, y []float64) {
	s := len(y)
	tri := s * (s + 1) / 2
	xx, yy := acc[2*s+1:2*s+1+tri], acc[2*s+1+tri:2*s+1+2*tri]
	k := 0
	for i, yi := range y {
		xi := float64(x[i])
		acc[i] += xi
		acc[s+i] += yi
		acc[2*s] += xi * yi
		qx, qy := xx[k:k+s-i], yy[k:k+s-i]
		tx, ty := x[i:], y[i:]
		for j := range qx {
			qx[j] += xi * float64(tx[j])
		}
		if yi != 0 {
			for j := range qy {
				qy[j] += yi * ty[j]
			}
		}
		k += s - i
	}
}

func zTest(f, v float64, people int) Test {
	if v <= 1e-12 || math.IsNaN(v) {
		return Test{P: 1}
	}
	z := f / math.Sqrt(v)
	return Test{Statistic: z, P: distuv.UnitNormal.Survival(z), People: people}
}

// CrossFit joins the tests of two folds, each with features learnt on the
// other: it averages the two z's. They are correlated through the shared
// people, so their sum over sqrt 2 would reject too often; the average never
// does, whatever the correlation.
func CrossFit(ab, ba Test) Test {
	t := Test{Statistic: (ab.Statistic + ba.Statistic) / 2, People: max(ab.People, ba.People), P: 1}
	if t.People > 0 {
		t.P = distuv.UnitNormal.Survival(t.Statistic)
	}
	return t
}

// Omnibus tests any difference between k clusters (labels, length N, in
// 0..k-1) in the slots of their responses:
//
//	U = sum_strata H'(y - ybar),  C = sum_strata (H'H) kron (Y'Y) / (N-1),
//
// H the centred memberships, one cluster and one slot left out; U' C^+ U is
// chi-square with (k-1)(S-1) degrees of freedom. It looks in all directions at
// once and so has little power (.10 where [Focused] has .80): a diagnosis, not
// the basis of a verdict. Labels must not have seen the responses.
func Omnibus(labels []int32, k int, r, n Matrix, g []float64, strata []int32) Test {
	d := r.Cols - 1
	tri := d * d
	// accumulator: members (k), sum y by cluster (k*d), yy' (d*d)
	width := k + k*d + tri
	u := make([]float64, (k-1)*d)
	if len(u) == 0 {
		return Test{P: 1}
	}
	c := mat.NewSymDense(len(u), nil)
	total, people := make([]float64, d), 0.0
	cut(strata).fold(width, func(acc []float64, p int) {
		var buf [168]float64
		rp := row(r, p)
		y := Expected(buf[:len(rp)], rp, row(n, p), g)[:d]
		for i := range y {
			y[i] = float64(rp[i]) - y[i]
		}
		l := int(labels[p])
		acc[l]++
		own, yy := acc[k+l*d:k+(l+1)*d], acc[k+k*d:]
		for i, yi := range y {
			own[i] += yi
			for j, yj := range y {
				yy[i*d+j] += yi * yj
			}
		}
	}, func(n float64, acc []float64) {
		people += n
		clear(total)
		for l := range k {
			for i := range d {
				total[i] += acc[k+l*d+i]
			}
		}
		yy := acc[k+k*d:]
		for l := range k - 1 {
			for i := range d {
				u[l*d+i] += acc[k+l*d+i] - acc[l]*total[i]/n
			}
			for m := l; m < k-1; m++ {
				h := -acc[l] * acc[m] / n
				if l == m {
					h += acc[l]
				}
				for i := range d {
					for j := range d {
						a, b := l*d+i, m*d+j
						if a <= b {
							c.SetSym(a, b, c.At(a, b)+h*(yy[i*d+j]-total[i]*total[j]/n)/(n-1))
						}
					}
				}
			}
		}
	})
	t := Test{P: 1, People: int(people)}
	if people > 0 {
		t.Statistic, t.DF = quadratic(u, c)
	}
	if t.DF > 0 {
		t.P = distuv.ChiSquared{K: float64(t.DF)}.Survival(t.Statistic)
	}
	return t
}
