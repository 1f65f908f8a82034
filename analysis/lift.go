package analysis

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Verdicts of an experiment.
const (
	VerdictBetter        = "better"
	VerdictWorse         = "worse"
	VerdictNoDifference  = "no_detectable_difference" // and it was large enough to see Options.MinLift
	VerdictNotEnoughData = "not_enough_data"
)

const (
	confidence = 0.95
	power      = 0.90
	minPeople  = 30 // in each group, below which nothing is said
	minPayers  = 10 // in a group, below which its own variance is not trusted
)

// sample is one group of people: how many, how many of them have a value that
// is not zero, the sum of the values and the sum of their squares.
type sample struct {
	n, payers    float64
	sum, squares float64
}

func (s sample) mean() float64 { return s.sum / s.n }

// variance is the unbiased estimate; 0 for fewer than two people.
func (s sample) variance() float64 {
	if s.n < 2 {
		return 0
	}
	return max(0, (s.squares-s.sum*s.sum/s.n)/(s.n-1))
}

// lift compares the mean of treated with that of the held out.
type lift struct {
	estimate, low, high float64 // difference of the means per person, 95 % interval
	verdict             string
	needed              int64 // people of both groups together; 0: enough
}

// compareMeans estimates treated - heldOut by Welch's method for unequal variances
// (B. L. Welch, Biometrika 34, 1947): the standard error is
// sqrt(s1^2/n1 + s0^2/n0), with the degrees of freedom of Welch and
// Satterthwaite. Spending is skewed, and a group in which hardly anybody paid
// underestimates its own variance; with fewer than minPayers payers the larger
// of its own and the pooled variance is used.
//
// needed is the number of people, at the same shares, at which a difference of
// delta is found with 90 % power at the two-sided 5 % level:
//
//	n1 = (z(0.975) + z(0.90))^2 (s1^2 + s0^2/r) / delta^2,  n0 = r n1,  r = n0/n1 as it is
//
// (S.-C. Chow, J. Shao, H. Wang, Sample Size Calculations in Clinical Research,
// 2nd ed., 3.2.1, unequal allocation). delta is the larger of the observed
// difference and minLift times the mean of everybody. ok is false when there
// is nothing to compare.
func compareMeans(treated, heldOut sample, minLift float64) (l lift, ok bool) {
	l.verdict = VerdictNotEnoughData
	if treated.n < 2 || heldOut.n < 2 {
		return l, false
	}
	both := sample{n: treated.n + heldOut.n, sum: treated.sum + heldOut.sum, squares: treated.squares + heldOut.squares}
	v1, v0 := trusted(treated, both), trusted(heldOut, both)
	l.estimate = treated.mean() - heldOut.mean()
	a, b := v1/treated.n, v0/heldOut.n
	l.low, l.high = l.estimate, l.estimate
	if se := math.Sqrt(a + b); se > 0 {
		df := (a + b) * (a + b) / (a*a/(treated.n-1) + b*b/(heldOut.n-1))
		t := distuv.StudentsT{Sigma: 1, Nu: df}.Quantile(1 - (1-confidence)/2)
		l.low, l.high = l.estimate-t*se, l.estimate+t*se
	}
	delta := math.Max(math.Abs(l.estimate), minLift*math.Abs(both.mean()))
	need := math.Inf(1)
	if delta > 0 {
		z := distuv.UnitNormal.Quantile(1-(1-confidence)/2) + distuv.UnitNormal.Quantile(power)
		r := heldOut.n / treated.n
		need = math.Ceil(z * z * (v1 + v0/r) / (delta * delta) * (1 + r))
	}
	small := treated.n < minPeople || heldOut.n < minPeople || v1+v0 == 0
	switch {
	case !small && l.low > 0:
		l.verdict = VerdictBetter
	case !small && l.high < 0:
		l.verdict = VerdictWorse
	case !small && both.n >= need:
		l.verdict = VerdictNoDifference
	case need < math.MaxInt32*1e6 && need > both.n:
		l.needed = int64(need)
	}
	return l, true
}

func trusted(own, both sample) float64 {
	if own.payers < minPayers {
		return math.Max(own.variance(), both.variance())
	}
	return own.variance()
}
