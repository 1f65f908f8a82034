package analysis

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func sampleOf(values ...float64) (s sample) {
	for _, v := range values {
		s.add(v)
	}
	return s
}

func (s *sample) add(v float64) {
	s.n++
	s.sum += v
	s.squares += v * v
	if v != 0 {
		s.payers++
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	group := func(n, payers int, amount float64) (s sample) {
		for i := range n {
			v := 0.0
			if i < payers {
				v = amount + float64(i%3)
			}
			s.add(v)
		}
		return s
	}
	for name, c := range map[string]struct {
		treated, heldOut sample
		verdict          string
		needed           bool
		ok               bool
	}{
		"no holdout":                   {group(100, 50, 10), sample{}, VerdictNotEnoughData, false, false},
		"tiny holdout":                 {group(1000, 900, 10), group(20, 0, 0), VerdictNotEnoughData, true, true},
		"clearly better":               {group(1000, 300, 10), group(1000, 100, 10), VerdictBetter, false, true},
		"clearly worse":                {group(1000, 100, 10), group(1000, 300, 10), VerdictWorse, false, true},
		"better than nothing":          {group(10000, 900, 10), group(1000, 0, 0), VerdictBetter, false, true},
		"nothing yet":                  {group(1000, 0, 0), group(1000, 0, 0), VerdictNotEnoughData, false, true},
		"a few":                        {group(1000, 11, 10), group(1000, 10, 10), VerdictNotEnoughData, true, true},
		"large and equal":              {group(200000, 100000, 10), group(200000, 100000, 10), VerdictNoDifference, false, true},
		"one payer, and not many more": {group(900, 3, 10), group(100, 0, 0), VerdictNotEnoughData, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			l, ok := compareMeans(c.treated, c.heldOut, 0.1)
			require.Equal(t, c.ok, ok)
			require.Equal(t, c.verdict, l.verdict)
			if name != "tiny holdout" {
				require.Equal(t, c.needed, l.needed > 0)
			}
			if l.needed > 0 {
				require.Greater(t, float64(l.needed), c.treated.n+c.heldOut.n)
			}
		})
	}
}

// Welch's example by hand, and the sample size against the textbook's formula.
func TestWelch(t *testing.T) {
	t.Parallel()
	a := sampleOf(27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4)
	b := sampleOf(27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 24.4)
	l, ok := compareMeans(a, b, 0.1)
	require.True(t, ok)
	// R: t.test(a, b): difference -2.833333, 95 percent confidence interval -4.8363 -0.8304, df = 27.847
	require.InDelta(t, -2.8333, l.estimate, 5e-4)
	se := math.Sqrt(a.variance()/15 + b.variance()/15)
	require.InDelta(t, 2.0490*se, l.high-l.estimate, 1e-3) // t quantile at 27.8 degrees of freedom

	p := sample{n: 100, payers: 50, sum: 50, squares: 50}
	q := sample{n: 100, payers: 45, sum: 45, squares: 45}
	l, _ = compareMeans(p, q, 0.1)
	z := 1.959964 + 1.281552
	want := 2 * math.Ceil(z*z*(p.variance()+q.variance())/(0.05*0.05))
	require.InDelta(t, want, float64(l.needed), 2)
}

// The 95 % interval of the incremental estimate holds the truth in at least
// 93 % of simulated campaigns: few payers, skewed amounts, unequal groups and
// a real effect.
func TestIntervalCoverage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		treated, heldOut int
		rate, lift       float64
	}{
		"large groups": {8000, 2000, 0.05, 1.3},
		"rare":         {4000, 1000, 0.02, 1.0},
		"even":         {1000, 1000, 0.10, 1.5},
		"ten per cent": {9000, 1000, 0.03, 1.2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(7, uint64(c.treated)))
			draw := func(n int, rate float64) (s sample) {
				for range n {
					v := 0.0
					if rng.Float64() < rate {
						v = math.Round(100*20*math.Exp(0.5*rng.NormFloat64())) / 100
					}
					s.add(v)
				}
				return s
			}
			const runs = 500
			mean := 20 * math.Exp(0.125)
			truth := mean * c.rate * (c.lift - 1)
			held := 0
			for range runs {
				l, ok := compareMeans(draw(c.treated, c.rate*c.lift), draw(c.heldOut, c.rate), 0.1)
				require.True(t, ok)
				if l.low <= truth && truth <= l.high {
					held++
				}
			}
			t.Logf("%d of %d intervals hold the truth", held, runs)
			require.GreaterOrEqual(t, held, runs*93/100)
		})
	}
}
