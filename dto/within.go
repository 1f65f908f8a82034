package dto

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Pair is one randomised comparison: a campaign's.
type Pair struct{ Treated, Control Arm }

func (p Pair) figures() (x1, n1, x0, n0 float64) {
	return float64(p.Treated.Responses), float64(p.Treated.N), float64(p.Control.Responses), float64(p.Control.N)
}

// Common is what several pairs have in common.
type Common struct {
	Sum        Pair    // of the pairs that sent on both sides; the others say nothing
	Relative   float64 // ratio of rates minus 1; 0 when no control has a response
	Low, High  float64 // its interval
	Difference float64 // of the rates
	P          float64 // two-sided
}

// CompareWithin estimates the common relative lift of treated over control
// from several pairs, each compared within itself, so that messages of
// different appeal sent at different shares cannot pass for a lift. With x
// responses to n messages in treated (1) and control (0) of a pair, N = n1 + n0
// and m = x1 + x0, the ratio of rates is that of Mantel and Haenszel,
//
//	RR = R/S,  R = sum x1 n0/N,  S = sum x0 n1/N,
//
// its interval of level 1-alpha is log RR -+ z(1-alpha/2) sqrt(V) with the
// variance of Greenland and Robins, which holds for few large pairs and for
// many small ones:
//
//	V = sum (n1 n0 m/N^2 - x1 x0/N) / (R S),
//
// and p that of Cochran's test,
//
//	z = sum (x1 - n1 m/N) / sqrt(sum n1 n0 m (N - m)/N^3).
//
// Of one pair all three are those of [Compare]. Where a whole side has no
// response, half a one is added to both sides for the interval, spread over the
// pairs by size. Without a response anywhere there is nothing to estimate: then
// only the sums are given.
//
// Sources: Mantel and Haenszel, J. Natl. Cancer Inst. 22, 1959; Cochran,
// Biometrics 10, 1954; Greenland and Robins, Estimation of a common effect
// parameter from sparse follow-up data, Biometrics 41, 1985.
func CompareWithin(pairs []Pair, alpha float64) Common {
	c := Common{P: 1}
	var used []Pair
	for _, p := range pairs {
		if p.Treated.N > 0 && p.Control.N > 0 {
			used = append(used, p)
			c.Sum.Treated, c.Sum.Control = c.Sum.Treated.plus(p.Treated), c.Sum.Control.plus(p.Control)
		}
	}
	if c.Sum.Treated.Responses+c.Sum.Control.Responses == 0 {
		return c
	}
	var excess, variance, sum1, sum0, weight float64
	for _, p := range used {
		x1, n1, x0, n0 := p.figures()
		n, m := n1+n0, x1+x0
		excess += x1 - n1*m/n
		variance += n1 * n0 * m * (n - m) / (n * n * n)
		sum1, sum0, weight = sum1+x1*n0/n, sum0+x0*n1/n, weight+n1*n0/n
	}
	if variance > 0 {
		c.P = math.Erfc(math.Abs(excess) / math.Sqrt(2*variance))
	}
	c.Difference = (sum1 - sum0) / weight
	if sum0 > 0 {
		c.Relative = sum1/sum0 - 1
	}
	half := 0.0
	if sum1 == 0 || sum0 == 0 {
		half = 0.5
	}
	var r, s, v float64
	for _, p := range used {
		x1, n1, x0, n0 := p.figures()
		more1, more0 := half*n1/float64(c.Sum.Treated.N), half*n0/float64(c.Sum.Control.N)
		x1, n1, x0, n0 = x1+more1, n1+more1, x0+more0, n0+more0
		n := n1 + n0
		r, s = r+x1*n0/n, s+x0*n1/n
		v += n1*n0*(x1+x0)/(n*n) - x1*x0/n
	}
	middle, spread := math.Log(r/s), distuv.UnitNormal.Quantile(1-alpha/2)*math.Sqrt(math.Max(0, v/(r*s)))
	c.Low, c.High = math.Expm1(middle-spread), math.Min(math.Expm1(middle+spread), math.MaxFloat64)
	return c
}

func (a Arm) plus(b Arm) Arm { return Arm{a.N + b.N, a.Responses + b.Responses} }

// SumTests returns the test of several chi-squares of separate data taken
// together: the statistics and the degrees of freedom add up.
func SumTests(tests ...Test) Test {
	sum := Test{P: 1}
	for _, t := range tests {
		sum.Statistic += t.Statistic
		sum.DF += t.DF
		sum.People += t.People
	}
	if sum.DF > 0 {
		sum.P = distuv.ChiSquared{K: float64(sum.DF)}.Survival(sum.Statistic)
	}
	return sum
}
