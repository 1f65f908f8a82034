package analysis

import (
	"math"

	"kairos"
	"kairos/dto"
)

// minExpected is the number of responses, and of messages without one, that
// each arm must lead to expect before a verdict is given: below it the normal
// approximation misleads (W. G. Cochran, Biometrics 10, 1954).
const minExpected = 5

// rates is the comparison of two arms' response rates.
type rates struct {
	verdict string
	needed  int64 // messages that the smaller arm lacks; 0: none, or nothing can be said
	lift    *TimingLift
}

// stratum is the randomised comparison within one campaign.
type stratum struct{ treated, control armCount }

// compareStrata estimates the lift of treated over control. Of one campaign it
// is compareRates; of several each is compared within itself, so that
// messages of different appeal sent at different shares cannot pass for a lift.
func compareStrata(strata []stratum, minLift float64) (rates, error) {
	if len(strata) == 1 {
		return compareRates(strata[0].treated, strata[0].control, minLift)
	}
	return compareWithin(strata, minLift), nil
}

// compareRates estimates the relative lift r = p1/p0 - 1 of treated over
// control, p = responses/sent. The 95 % interval is that of the logarithm of
// the relative risk (Katz et al., Biometrics 34, 1978):
//
//	log(p1/p0) -+ z(0.975) sqrt(1/x1 - 1/n1 + 1/x0 - 1/n0)
//
// with half a response added to both arms when one has none; nobody in the
// treated arm leaves -1 as the lower end, nobody in control no estimate at all.
// P is that of the pooled two-proportion z test. For the verdict see judge.
func compareRates(treated, control armCount, minLift float64) (rates, error) {
	if treated.sent == 0 || control.sent == 0 || treated.responses+control.responses == 0 {
		return rates{verdict: VerdictNotEnoughData}, nil
	}
	l, err := dto.Compare(treated.arm(), control.arm(), dto.LiftOptions{Alpha: 1 - confidence, Effect: minLift})
	if err != nil {
		return rates{}, err
	}
	return judge(stratum{treated, control}, contrast{l.Relative, l.RelativeLow, l.RelativeHigh, l.Difference, l.P}, minLift), nil
}

// contrast is an estimate of how treated differs from control.
type contrast struct {
	relative, low, high float64 // ratio of rates - 1 and its 95 % interval
	difference          float64 // of the rates
	p                   float64 // two-sided
}

// judge gives the verdict on a contrast between arms of the given sums. Better
// and worse take both: p below 0.05 and an interval without 0. No detectable
// difference takes arms large enough for a lift of minLift.
//
// needed is how many messages the smaller arm lacks to find a lift l with 90 %
// power at the two-sided 5 % level, at the response rate p of both arms:
//
//	n = 21 (1 - p) / (p l^2),  21 = 2 (z(0.975) + z(0.90))^2
//
// (J. L. Fleiss, Statistical Methods for Rates and Proportions, 2nd ed., 3.2,
// equal variances). l is the larger of the observed lift and minLift.
func judge(s stratum, c contrast, minLift float64) rates {
	r := rates{verdict: VerdictNotEnoughData, lift: &TimingLift{P: c.p}}
	if s.control.responses > 0 {
		r.lift.Estimate, r.lift.Interval = &c.relative, &[2]float64{c.low, c.high}
	}
	if s.treated.responses == 0 {
		r.lift.Interval[0] = -1
	}
	// The rate to plan with stays clear of 0 and 1.
	x, n := s.treated.responses+s.control.responses, s.treated.sent+s.control.sent
	p, least := (float64(x)+1)/(float64(n)+20), min(s.treated.sent, s.control.sent)
	fewest := max(minPeople, int64(math.Ceil(minExpected/min(p, 1-p))))
	significant := c.p < 1-confidence
	switch {
	case least < fewest:
	case significant && c.low > 0:
		r.verdict = VerdictBetter
	case significant && c.high < 0:
		r.verdict = VerdictWorse
	case least >= dto.ArmSize(p, minLift):
		r.verdict = VerdictNoDifference
	}
	if r.verdict == VerdictNotEnoughData {
		need := max(fewest, dto.ArmSize(p, max(minLift, math.Abs(c.difference)/p)))
		r.needed = max(0, need-least)
	}
	return r
}

// sharesOf returns the share of people that each arm is to have. Preferred
// hours are part of optimised: both are what the other arms leave.
func sharesOf(mode string, e kairos.Experiment) map[kairos.Arm]float64 {
	shares := map[kairos.Arm]float64{}
	put := func(arm kairos.Arm, share float64) {
		if share > 1e-9 {
			shares[arm] = share
		}
	}
	put(kairos.ArmHoldout, e.Holdout)
	if mode != kairos.ModeOptimised {
		put(kairos.ArmAll, 1-e.Holdout)
		return shares
	}
	put(kairos.ArmControl, e.Control)
	put(kairos.ArmExplore, e.Explore)
	put(kairos.ArmOptimised, 1-e.Holdout-e.Control-e.Explore)
	return shares
}
