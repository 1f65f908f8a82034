package dto

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// ArmSize returns the deliveries per arm at which a relative lift over the base
// rate is found with 90 % power at two-sided .05: 21 (1-p) / (p l^2). It is
// MaxInt64 where rate or lift is not positive.
func ArmSize(rate, lift float64) int64 {
	if !(rate > 0 && rate < 1) || !(lift > 0) {
		return math.MaxInt64
	}
	n := math.Ceil(21 * (1 - rate) / (rate * lift * lift))
	if n >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(n)
}

// Canary is the outcome of a share of traffic given to a candidate.
type Canary struct {
	Candidate, Current               Arm // responses
	CandidateLeavers, CurrentLeavers Arm // unsubscribes
	CandidateAngry, CurrentAngry     Arm // complaints
}

// Gate is the decision on a canary.
type Gate struct {
	Pass   bool    `json:"pass"`
	Reason string  `json:"reason"`
	Lift   Lift    `json:"lift"`
	Lower  float64 `json:"lower"` // one-sided 97.5 % lower bound of the difference in rates
}

// Check passes a candidate whose lift over the current policy has a one-sided
// 97.5 % lower bound above 0, with arms of the planned ratio and neither
// unsubscribes nor complaints worse (one-sided p below .05). share is the
// candidate's planned part of the canary's traffic, in (0, 1). Errors:
// ErrInvalid.
func (c Canary) Check(share float64) (Gate, error) {
	var g Gate
	_, mismatch, err := SampleRatio([]int64{c.Candidate.N, c.Current.N}, []float64{share, 1 - share})
	if err != nil {
		return g, fmt.Errorf("check canary: %w", err)
	}
	if g.Lift, err = Compare(c.Candidate, c.Current, LiftOptions{}); err != nil {
		return g, fmt.Errorf("check canary: %w", err)
	}
	g.Lower = g.Lift.DifferenceLow
	left, err := worse(c.CandidateLeavers, c.CurrentLeavers)
	if err != nil {
		return g, fmt.Errorf("check canary's unsubscribes: %w", err)
	}
	angry, err := worse(c.CandidateAngry, c.CurrentAngry)
	if err != nil {
		return g, fmt.Errorf("check canary's complaints: %w", err)
	}
	switch {
	case mismatch:
		g.Reason = "the arms' sizes do not fit the planned share"
	case left:
		g.Reason = "more people unsubscribe under the candidate"
	case angry:
		g.Reason = "more people complain under the candidate"
	case g.Lower > 0:
		g.Pass, g.Reason = true, fmt.Sprintf("the candidate responds better by at least %.2g points", 100*g.Lower)
	case g.Lift.Verdict == TooFew:
		g.Reason = fmt.Sprintf("%d more deliveries per arm are needed", g.Lift.Needed)
	default:
		g.Reason = "the candidate is not shown to be better"
	}
	return g, nil
}

// worse reports whether the candidate's rate of a bad thing is higher, one-sided
// p below .05.
func worse(candidate, current Arm) (bool, error) {
	l, err := Compare(candidate, current, LiftOptions{})
	return l.Z > 0 && distuv.UnitNormal.Survival(l.Z) < 0.05, err
}
