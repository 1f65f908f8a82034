package dto

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"kairos"
)

// Arm is the outcome of one randomised arm.
type Arm struct {
	N         int64 `json:"n"`
	Responses int64 `json:"responses"`
}

// Rate returns responses per delivery, 0 for an empty arm.
func (a Arm) Rate() float64 {
	if a.N <= 0 {
		return 0
	}
	return float64(a.Responses) / float64(a.N)
}

func (a Arm) validate(field string) error {
	if a.N < 0 || a.Responses < 0 || a.Responses > a.N {
		return kairos.Invalid(field, "must have 0 <= responses <= n, has %d of %d", a.Responses, a.N)
	}
	return nil
}

// LiftVerdict says what a comparison of two arms shows.
type LiftVerdict string

// The four verdicts on a comparison.
const (
	Better       LiftVerdict = "better"
	Worse        LiftVerdict = "worse"
	NoDifference LiftVerdict = "no_detectable_difference"
	TooFew       LiftVerdict = "not_enough_data"
)

// Lift compares two randomised arms.
type Lift struct {
	Difference     float64     `json:"difference"` // rate of the treated minus rate of the control
	DifferenceLow  float64     `json:"difference_low"`
	DifferenceHigh float64     `json:"difference_high"`
	Relative       float64     `json:"relative"` // ratio of rates minus 1; 0 when the control has no response
	RelativeLow    float64     `json:"relative_low"`
	RelativeHigh   float64     `json:"relative_high"` // +Inf is cut to MaxFloat64 so that JSON can hold it
	Z              float64     `json:"z"`
	P              float64     `json:"p"` // two-sided
	Verdict        LiftVerdict `json:"verdict"`
	Needed         int64       `json:"needed"` // per arm, still; 0 unless not_enough_data
}

// LiftOptions steer [Compare].
type LiftOptions struct {
	Alpha  float64 // two-sided; 0: .05
	Effect float64 // relative lift whose absence no_detectable_difference claims; 0: .1
}

// Compare returns the lift of treated over control with intervals of level
// 1-alpha: of the difference by Newcombe's hybrid of two Wilson scores, of the
// ratio on the log scale (Katz; half a response is added to both arms when one
// has none); p by the pooled two-proportion z. Without significance the verdict
// is no_detectable_difference once each arm has [ArmSize] deliveries for the
// effect, not_enough_data before. Errors: ErrInvalid.
//
// Sources: Newcombe, Interval estimation for the difference between independent
// proportions, Stat. Med. 17, 1998; Katz et al., Biometrics 34, 1978.
func Compare(treated, control Arm, o LiftOptions) (Lift, error) {
	if err := treated.validate("treated"); err != nil {
		return Lift{}, err
	}
	if err := control.validate("control"); err != nil {
		return Lift{}, err
	}
	if o.Alpha <= 0 {
		o.Alpha = 0.05
	}
	if o.Effect <= 0 {
		o.Effect = 0.1
	}
	l := Lift{P: 1, Verdict: TooFew, DifferenceLow: -1, DifferenceHigh: 1, RelativeLow: -1, RelativeHigh: math.MaxFloat64}
	least := min(treated.N, control.N)
	pooled := float64(treated.Responses+control.Responses+1) / float64(treated.N+control.N+20)
	needed := ArmSize(pooled, o.Effect)
	l.Needed = max(0, needed-least)
	if least == 0 {
		return l, nil
	}
	z := distuv.UnitNormal.Quantile(1 - o.Alpha/2)
	p1, p0 := treated.Rate(), control.Rate()
	n1, n0 := float64(treated.N), float64(control.N)
	l.Difference = p1 - p0
	lo1, hi1 := wilson(p1, n1, z)
	lo0, hi0 := wilson(p0, n0, z)
	l.DifferenceLow = l.Difference - math.Hypot(p1-lo1, hi0-p0)
	l.DifferenceHigh = l.Difference + math.Hypot(hi1-p1, p0-lo0)
	l.ratio(treated, control, z)
	p := float64(treated.Responses+control.Responses) / (n1 + n0)
	if v := p * (1 - p) * (1/n1 + 1/n0); v > 0 {
		l.Z = l.Difference / math.Sqrt(v)
		l.P = tail(l.Z)
	}
	switch {
	case l.P < o.Alpha && l.Difference > 0:
		l.Verdict = Better
	case l.P < o.Alpha:
		l.Verdict = Worse
	case l.Needed == 0:
		l.Verdict = NoDifference
	}
	if l.Verdict != TooFew {
		l.Needed = 0
	}
	return l, nil
}

func (l *Lift) ratio(treated, control Arm, z float64) {
	x1, x0 := float64(treated.Responses), float64(control.Responses)
	n1, n0 := float64(treated.N), float64(control.N)
	if x0 > 0 {
		l.Relative = x1/n1/(x0/n0) - 1
	}
	if x1 == 0 && x0 == 0 {
		return
	}
	if x1 == 0 || x0 == 0 {
		x1, x0, n1, n0 = x1+.5, x0+.5, n1+.5, n0+.5
	}
	log := math.Log(x1 / n1 / (x0 / n0))
	se := math.Sqrt(math.Max(0, 1/x1-1/n1+1/x0-1/n0))
	l.RelativeLow, l.RelativeHigh = math.Expm1(log-z*se), math.Expm1(log+z*se)
}

// wilson returns the score interval of a proportion p out of n.
func wilson(p, n, z float64) (lo, hi float64) {
	d := 1 + z*z/n
	mid := (p + z*z/(2*n)) / d
	w := z / d * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return math.Max(0, mid-w), math.Min(1, mid+w)
}

// MismatchP is the p-value below which arms do not have the sizes they were
// drawn with: then something, a filter or a crash, treats them differently, and
// no lift may be believed.
const MismatchP = 0.001

// SampleRatio tests whether arms of the observed sizes were drawn with the
// planned shares (any positive scale): chi-square with one degree of freedom
// less than there are arms. Alarm below [MismatchP]. Errors: ErrInvalid. Source:
// Fabijan et al., Diagnosing sample ratio mismatch in online
// controlled experiments, KDD 2019.
func SampleRatio(observed []int64, shares []float64) (t Test, alarm bool, err error) {
	if len(observed) != len(shares) || len(observed) < 2 {
		return t, false, kairos.Invalid("shares", "must have as many arms as observed, at least 2; have %d and %d", len(shares), len(observed))
	}
	n, total := 0.0, 0.0
	for i, o := range observed {
		if o < 0 || !(shares[i] > 0) || math.IsInf(shares[i], 0) {
			return t, false, kairos.Invalid("shares", "must be positive and sizes not negative; arm %d has %d of %g", i, o, shares[i])
		}
		n += float64(o)
		total += shares[i]
	}
	t = Test{DF: len(observed) - 1, P: 1, People: int(n)}
	if n == 0 {
		return t, false, nil
	}
	for i, o := range observed {
		e := n * shares[i] / total
		t.Statistic += (float64(o) - e) * (float64(o) - e) / e
	}
	t.P = distuv.ChiSquared{K: float64(t.DF)}.Survival(t.Statistic)
	return t, t.P < MismatchP, nil
}
