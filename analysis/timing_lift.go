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

// compareRates estimates the relative lift r = p1/p0 - 1 of treated over
// control, p = responses/sent. The 95 % interval is that of the logarithm of
// the relative risk (Katz et al., Biometrics 34, 1978):
//
//	log(p1/p0) -+ z(0.975) sqrt(1/x1 - 1/n1 + 1/x0 - 1/n0)
//
// with half a response added to both arms when one has none; nobody in the
// treated arm leaves -1 as the lower end, nobody in control no estimate at all.
// P is that of the pooled two-proportion z test. Better and worse take both: p
// below 0.05 and an interval without 0. No detectable difference takes arms
// large enough for a lift of minLift.
//
// needed is how many messages the smaller arm lacks to find a lift l with 90 %
// power at the two-sided 5 % level, at the response rate p of both arms:
//
//	n = 21 (1 - p) / (p l^2),  21 = 2 (z(0.975) + z(0.90))^2
//
// (J. L. Fleiss, Statistical Methods for Rates and Proportions, 2nd ed., 3.2,
// equal variances). l is the larger of the observed lift and minLift.
func compareRates(treated, control armCount, minLift float64) (rates, error) {
	r := rates{verdict: VerdictNotEnoughData}
	x, n := treated.responses+control.responses, treated.sent+control.sent
	if treated.sent == 0 || control.sent == 0 || x == 0 {
		return r, nil
	}
	l, err := dto.Compare(dto.Arm{N: treated.sent, Responses: treated.responses},
		dto.Arm{N: control.sent, Responses: control.responses}, dto.LiftOptions{Alpha: 1 - confidence, Effect: minLift})
	if err != nil {
		return r, err
	}
	r.lift = &TimingLift{P: l.P}
	if control.responses > 0 {
		r.lift.Estimate, r.lift.Interval = &l.Relative, &[2]float64{l.RelativeLow, l.RelativeHigh}
	}
	if treated.responses == 0 {
		r.lift.Interval[0] = -1
	}
	// The rate to plan with stays clear of 0 and 1.
	p, least := (float64(x)+1)/(float64(n)+20), min(treated.sent, control.sent)
	fewest := max(minPeople, int64(math.Ceil(minExpected/min(p, 1-p))))
	significant := l.P < 1-confidence
	switch {
	case least < fewest:
	case significant && l.RelativeLow > 0:
		r.verdict = VerdictBetter
	case significant && l.RelativeHigh < 0:
		r.verdict = VerdictWorse
	case least >= dto.ArmSize(p, minLift):
		r.verdict = VerdictNoDifference
	}
	if r.verdict == VerdictNotEnoughData {
		need := max(fewest, dto.ArmSize(p, max(minLift, math.Abs(l.Difference)/p)))
		r.needed = max(0, need-least)
	}
	return r, nil
}

// sharesOf returns the share of people that each arm is to have. Preferred
// hours are part of optimised: both are what the other arms leave.
func sharesOf(spec kairos.CampaignSpec) map[kairos.Arm]float64 {
	e, shares := spec.Shares(), map[kairos.Arm]float64{}
	put := func(arm kairos.Arm, share float64) {
		if share > 1e-9 {
			shares[arm] = share
		}
	}
	put(kairos.ArmHoldout, e.Holdout)
	if spec.Schedule.Mode != kairos.ModeOptimised {
		put(kairos.ArmAll, 1-e.Holdout)
		return shares
	}
	put(kairos.ArmControl, e.Control)
	put(kairos.ArmExplore, e.Explore)
	put(kairos.ArmOptimised, 1-e.Holdout-e.Control-e.Explore)
	return shares
}

// sampleRatio tests the sizes of the arms, as decided and before anything was
// sent, against their shares: Pearson's chi-square; alarm below p = 0.001
// (Fabijan et al., KDD 2019). nil: fewer than two arms, or nobody yet.
func sampleRatio(shares map[kairos.Arm]float64, arms map[kairos.Arm]armCount) (*TimingSRM, error) {
	drawn := map[kairos.Arm]int64{}
	for arm, n := range arms {
		if arm == kairos.ArmPreferred {
			arm = kairos.ArmOptimised
		}
		drawn[arm] += n.drawn
	}
	var total int64
	for arm, n := range drawn {
		if _, meant := shares[arm]; n > 0 && !meant { // somebody where nobody may be
			return &TimingSRM{}, nil
		}
		total += n
	}
	if len(shares) < 2 || total == 0 {
		return nil, nil
	}
	var observed []int64
	var expected []float64
	for _, arm := range []kairos.Arm{kairos.ArmHoldout, kairos.ArmControl, kairos.ArmExplore, kairos.ArmOptimised, kairos.ArmAll} {
		if share, meant := shares[arm]; meant {
			observed, expected = append(observed, drawn[arm]), append(expected, share)
		}
	}
	test, alarm, err := dto.SampleRatio(observed, expected)
	if err != nil {
		return nil, err
	}
	return &TimingSRM{P: test.P, OK: !alarm}, nil
}
