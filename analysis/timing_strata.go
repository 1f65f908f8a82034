package analysis

import (
	"kairos"
	"kairos/dto"
)

// compareWithin estimates the common relative lift of treated over control
// from several campaigns, each compared within itself (dto.CompareWithin). Of
// one campaign the figures are those of compareRates.
func compareWithin(strata []stratum, minLift float64) rates {
	pairs := make([]dto.Pair, len(strata))
	for i, s := range strata {
		pairs[i] = dto.Pair{Treated: s.treated.arm(), Control: s.control.arm()}
	}
	c := dto.CompareWithin(pairs, 1-confidence)
	if c.Sum.Treated.Responses+c.Sum.Control.Responses == 0 {
		return rates{verdict: VerdictNotEnoughData}
	}
	both := stratum{
		armCount{sent: c.Sum.Treated.N, responses: c.Sum.Treated.Responses},
		armCount{sent: c.Sum.Control.N, responses: c.Sum.Control.Responses},
	}
	return judge(both, contrast{c.Relative, c.Low, c.High, c.Difference, c.P}, minLift)
}

func (a armCount) arm() dto.Arm { return dto.Arm{N: a.sent, Responses: a.responses} }

// sampleRatio tests the sizes of the arms, as decided and before anything was
// sent, against their shares: Pearson's chi-square, summed over the campaigns
// as are its degrees of freedom; alarm below dto.MismatchP (Fabijan et al., KDD
// 2019). Of several campaigns those too small for it, with fewer than
// minExpected people expected in an arm, are left out. nil: nothing to test.
func sampleRatio(experiments []*experiment) (*TimingSRM, error) {
	var tests []dto.Test
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
		tests = append(tests, test)
	}
	if len(tests) == 0 {
		return nil, nil
	}
	p := dto.SumTests(tests...).P
	return &TimingSRM{P: p, OK: p >= dto.MismatchP}, nil
}
