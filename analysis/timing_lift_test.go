package analysis

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

func sentAnd(n, responses int64) armCount { return armCount{sent: n, responses: responses} }

func TestTimingVerdicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		treated, control armCount
		verdict          string
		needed, lift     bool
	}{
		"no control":               {sentAnd(900, 61), armCount{}, VerdictNotEnoughData, false, false},
		"nobody in optimised":      {armCount{}, sentAnd(900, 61), VerdictNotEnoughData, false, false},
		"no response at all":       {sentAnd(900, 0), sentAnd(900, 0), VerdictNotEnoughData, false, false},
		"clearly better":           {sentAnd(5000, 600), sentAnd(5000, 400), VerdictBetter, false, true},
		"clearly worse":            {sentAnd(5000, 400), sentAnd(5000, 600), VerdictWorse, false, true},
		"a few":                    {sentAnd(900, 61), sentAnd(900, 58), VerdictNotEnoughData, true, true},
		"large and equal":          {sentAnd(50000, 5000), sentAnd(50000, 5010), VerdictNoDifference, false, true},
		"large against few":        {sentAnd(50000, 5000), sentAnd(100, 9), VerdictNotEnoughData, true, true},
		"everybody of five":        {sentAnd(5, 5), sentAnd(5, 0), VerdictNotEnoughData, true, true},
		"none against many":        {sentAnd(1000, 0), sentAnd(1000, 100), VerdictWorse, false, true},
		"many against none":        {sentAnd(1000, 100), sentAnd(1000, 0), VerdictBetter, false, true},
		"a handful against none":   {sentAnd(10000, 6), sentAnd(10000, 0), VerdictNotEnoughData, true, true},
		"everybody, in small arms": {sentAnd(100, 100), sentAnd(100, 100), VerdictNotEnoughData, true, true},
		"everybody, in large arms": {sentAnd(9000, 9000), sentAnd(9000, 9000), VerdictNoDifference, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := compareRates(c.treated, c.control, 0.1)
			require.NoError(t, err)
			require.Equal(t, c.verdict, r.verdict)
			require.Equal(t, c.needed, r.needed > 0, r.needed)
			require.Equal(t, c.lift, r.lift != nil)
			if !c.lift {
				return
			}
			require.Equal(t, c.control.responses > 0, r.lift.Estimate != nil)
			require.Equal(t, c.control.responses > 0, r.lift.Interval != nil)
			if r.lift.Estimate != nil {
				require.LessOrEqual(t, r.lift.Interval[0], *r.lift.Estimate)
				require.GreaterOrEqual(t, r.lift.Interval[1], *r.lift.Estimate)
			}
		})
	}
}

// By hand: 120 of 1,000 against 100 of 1,000.
func TestTimingLiftByHand(t *testing.T) {
	t.Parallel()
	r, err := compareRates(sentAnd(1000, 120), sentAnd(1000, 100), 0.1)
	require.NoError(t, err)
	// log 1.2 = .182322; se = sqrt(1/120 - 1/1000 + 1/100 - 1/1000) = .127802
	require.InDelta(t, 0.2, *r.lift.Estimate, 1e-12)
	require.InDelta(t, -0.06590, r.lift.Interval[0], 1e-4)
	require.InDelta(t, 0.54158, r.lift.Interval[1], 1e-4)
	// z = .02 / sqrt(.11 .89 / 500) = 1.42930
	require.InDelta(t, 0.15292, r.lift.P, 1e-4)
	require.Equal(t, VerdictNotEnoughData, r.verdict)
	// p = 221/2020, l = .02/p = .182805: 21 (1-p)/(p l^2) = 5115.5, less the 1,000 that are there
	require.InDelta(t, 4116, float64(r.needed), 1)
}

func TestTimingSampleRatio(t *testing.T) {
	t.Parallel()
	drawn := func(n int64) armCount { return armCount{drawn: n} }
	e := kairos.Experiment{Holdout: 0.05, Control: 0.2, Explore: 0.1}
	for name, c := range map[string]struct {
		spec kairos.CampaignSpec
		arms map[kairos.Arm]armCount
		is   bool
		ok   bool
	}{
		"as planned":             {optimisedSpec(e), map[kairos.Arm]armCount{kairos.ArmHoldout: drawn(5000), kairos.ArmControl: drawn(20000), kairos.ArmExplore: drawn(10000), kairos.ArmOptimised: drawn(58500), kairos.ArmPreferred: drawn(6500)}, true, true},
		"control lost some":      {optimisedSpec(e), map[kairos.Arm]armCount{kairos.ArmHoldout: drawn(5000), kairos.ArmControl: drawn(19000), kairos.ArmExplore: drawn(10000), kairos.ArmOptimised: drawn(66000)}, true, false},
		"the holdout is missing": {optimisedSpec(e), map[kairos.Arm]armCount{kairos.ArmControl: drawn(200), kairos.ArmExplore: drawn(100), kairos.ArmOptimised: drawn(650)}, true, false},
		"one arm":                {optimisedSpec(kairos.Experiment{}), map[kairos.Arm]armCount{kairos.ArmOptimised: drawn(100)}, false, false},
		"somebody without a lot": {optimisedSpec(kairos.Experiment{}), map[kairos.Arm]armCount{kairos.ArmOptimised: drawn(100), kairos.ArmControl: drawn(1)}, true, false},
		"nobody yet":             {optimisedSpec(e), nil, false, false},
		"thirds":                 {optimisedSpec(kairos.Experiment{Control: 0.9, Explore: 0.1}), map[kairos.Arm]armCount{kairos.ArmControl: drawn(900), kairos.ArmExplore: drawn(100)}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := sampleRatio([]*experiment{{shares: sharesOf(c.spec.Schedule.Mode, c.spec.Shares()), arms: c.arms}})
			require.NoError(t, err)
			require.Equal(t, c.is, got != nil)
			if got != nil {
				require.Equal(t, c.ok, got.OK, got.P)
			}
		})
	}
}

// Simulated campaigns: the interval holds the true lift, and where there is no
// lift hardly any campaign claims one.
func TestTimingIntervalCoverage(t *testing.T) {
	t.Parallel()
	draw := func(rng *rand.Rand, n int64, p float64) armCount {
		a := sentAnd(n, 0)
		for range n {
			if rng.Float64() < p {
				a.responses++
			}
		}
		return a
	}
	for name, c := range map[string]struct {
		treated, control int64
		rate, lift       float64
	}{
		"usual":       {1300, 400, 0.07, 0.2},
		"even":        {1000, 1000, 0.10, 0.1},
		"rare":        {1500, 1500, 0.01, 0.3},
		"worse":       {1300, 400, 0.20, -0.3},
		"small, even": {120, 120, 0.10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(11, uint64(c.treated+c.control)))
			held := 0
			for range 500 {
				r, err := compareRates(draw(rng, c.treated, c.rate*(1+c.lift)), draw(rng, c.control, c.rate), 0.1)
				require.NoError(t, err)
				if l := r.lift; l != nil && l.Interval != nil && l.Interval[0] <= c.lift && c.lift <= l.Interval[1] {
					held++
				}
			}
			claims := 0
			for range 1000 {
				r, err := compareRates(draw(rng, c.treated, c.rate), draw(rng, c.control, c.rate), 0.1)
				require.NoError(t, err)
				if r.verdict == VerdictBetter || r.verdict == VerdictWorse {
					claims++
				}
			}
			t.Logf("%d of 500 intervals hold the truth, %d of 1000 nulls are called better or worse", held, claims)
			require.GreaterOrEqual(t, held, 465)
			require.LessOrEqual(t, claims, 60)
			require.Positive(t, claims, "a test that never rejects shows nothing")
		})
	}
}
