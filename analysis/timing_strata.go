package analysis

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"kairos"
	"kairos/dto"
)

// compareWithin estimates the common relative lift of treated over control
// from several campaigns, each compared within itself. With x responses to n
// messages in treated (1) and control (0) of a campaign, N = n1 + n0 and
// m = x1 + x0, the ratio of rates is that of Mantel and Haenszel,
//
//	RR = R/S,  R = sum x1 n0/N,  S = sum x0 n1/N,
//
// its 95 % interval log RR -+ z(0.975) sqrt(V) with the variance of Greenland
// and Robins, which holds for few large campaigns and for many small ones:
//
//	V = sum (n1 n0 m/N^2 - x1 x0/N) / (R S),
//
// and p that of Cochran's test,
//
//	z = sum (x1 - n1 m/N) / sqrt(sum n1 n0 m (N - m)/N^3).
//
// Of one campaign all three are those of compareRates. Where a whole side has
// no response, half a one is added to both sides for the interval, spread over
// the campaigns by size. Campaigns that sent on one side only say nothing.
//
// Sources: Mantel and Haenszel, J. Natl. Cancer Inst. 22, 1959; Cochran,
// Biometrics 10, 1954; Greenland and Robins, Estimation of a common effect
// parameter from sparse follow-up data, Biometrics 41, 1985.
func compareWithin(strata []stratum, minLift float64) rates {
	var both stratum
	var used []stratum
	for _, s := range strata {
		if s.treated.sent > 0 && s.control.sent > 0 {
			used = append(used, s)
			both.treated, both.control = both.treated.plus(s.treated), both.control.plus(s.control)
		}
	}
	if both.treated.responses+both.control.responses == 0 {
		return rates{verdict: VerdictNotEnoughData}
	}
	c := contrast{p: 1}
	var excess, variance, sum1, sum0, weight float64
	for _, s := range used {
		x1, n1, x0, n0 := s.figures()
		n, m := n1+n0, x1+x0
		excess += x1 - n1*m/n
		variance += n1 * n0 * m * (n - m) / (n * n * n)
		sum1, sum0, weight = sum1+x1*n0/n, sum0+x0*n1/n, weight+n1*n0/n
	}
	if variance > 0 {
		c.p = math.Erfc(math.Abs(excess) / math.Sqrt(2*variance))
	}
	c.difference = (sum1 - sum0) / weight
	if sum0 > 0 {
		c.relative = sum1/sum0 - 1
	}
	half := 0.0
	if sum1 == 0 || sum0 == 0 {
		half = 0.5
	}
	var r, s, v float64
	for _, u := range used {
		x1, n1, x0, n0 := u.figures()
		more1, more0 := half*n1/float64(both.treated.sent), half*n0/float64(both.control.sent)
		x1, n1, x0, n0 = x1+more1, n1+more1, x0+more0, n0+more0
		n := n1 + n0
		r, s = r+x1*n0/n, s+x0*n1/n
		v += n1*n0*(x1+x0)/(n*n) - x1*x0/n
	}
	middle, spread := math.Log(r/s), distuv.UnitNormal.Quantile(1-(1-confidence)/2)*math.Sqrt(math.Max(0, v/(r*s)))
	c.low, c.high = math.Expm1(middle-spread), math.Min(math.Expm1(middle+spread), math.MaxFloat64)
	return judge(both, c, minLift)
}

// figures returns responses and messages of treated, then of control.
func (s stratum) figures() (x1, n1, x0, n0 float64) {
	return float64(s.treated.responses), float64(s.treated.sent), float64(s.control.responses), float64(s.control.sent)
}

// sampleRatio tests the sizes of the arms, as decided and before anything was
// sent, against their shares: Pearson's chi-square, summed over the campaigns
// as are its degrees of freedom; alarm below p = 0.001 (Fabijan et al., KDD
// 2019). Of several campaigns those too small for it, with fewer than
// minExpected people expected in an arm, are left out. nil: nothing to test.
func sampleRatio(experiments []*experiment) (*TimingSRM, error) {
	var statistic, df float64
	for _, e := range experiments {
		drawn := map[kairos.Arm]int64{}
		var total int64
		for arm, n := range e.arms {
			if arm == kairos.ArmPreferred {
				arm = kairos.ArmOptimised
			}
			if _, meant := e.shares[arm]; n.drawn > 0 && !meant { // somebody where nobody may be
				return &TimingSRM{}, nil
			}
			drawn[arm] += n.drawn
			total += n.drawn
		}
		var observed []int64
		var expected []float64
		least := 1.0
		for _, arm := range []kairos.Arm{kairos.ArmHoldout, kairos.ArmControl, kairos.ArmExplore, kairos.ArmOptimised, kairos.ArmAll} {
			if share, meant := e.shares[arm]; meant {
				observed, expected, least = append(observed, drawn[arm]), append(expected, share), min(least, share)
			}
		}
		if len(expected) < 2 || total == 0 || len(experiments) > 1 && least*float64(total) < minExpected {
			continue
		}
		test, _, err := dto.SampleRatio(observed, expected)
		if err != nil {
			return nil, err
		}
		statistic, df = statistic+test.Statistic, df+float64(test.DF)
	}
	if df == 0 {
		return nil, nil
	}
	p := distuv.ChiSquared{K: df}.Survival(statistic)
	return &TimingSRM{P: p, OK: p >= 0.001}, nil
}
