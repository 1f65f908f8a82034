package analysis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/spool"
)

// world of a shipper in numbers: hits come at one rate, are shipped at another
// while it works, in chunks of 2,000. It returns the age of the oldest hit at
// each second.
func paced(p *pacer, seconds int, come func(second int) float64, perSecond float64) (ages []time.Duration, rested time.Duration) {
	now := time.Unix(1_000_000, 0)
	start, came, shipped, second := now, 0.0, 0.0, 0
	arrived := []float64{} // until each millisecond
	for second < seconds {
		worked := time.Millisecond
		if came-shipped > 0 {
			n := min(2_000, came-shipped)
			shipped += n
			worked = time.Duration(n / perSecond * float64(time.Second))
		}
		age := func() time.Duration {
			for i := len(arrived) - 1; i >= 0; i-- {
				if arrived[i] <= shipped {
					return time.Duration(len(arrived)-1-i) * time.Millisecond
				}
			}
			return time.Duration(len(arrived)) * time.Millisecond
		}
		wait := p.rest(now, spool.Stats{Appended: uint64(came), OldestSegmentAge: age()}, worked)
		rested += wait
		for range max(1, (worked+wait)/time.Millisecond) {
			came += come(second) / 1000
			arrived = append(arrived, came)
			now = now.Add(time.Millisecond)
			if int(now.Sub(start)/time.Second) > second {
				second++
				ages = append(ages, age())
			}
		}
	}
	return ages, rested
}

func always(rate float64) func(int) float64 { return func(int) float64 { return rate } }

func TestPaceFewHitsAreShippedAtOnce(t *testing.T) {
	ages, rested := paced(newPacer(ShipOptions{}), 20, always(500), 28_000)
	require.Zero(t, rested)
	require.Less(t, ages[19], 200*time.Millisecond)
}

func TestPaceHoldsBackWhileHitsAreDense(t *testing.T) {
	// 25 % of its time is enough for 5,000 a second.
	ages, rested := paced(newPacer(ShipOptions{}), 20, always(5_000), 28_000)
	require.Less(t, ages[19], time.Second)
	require.Greater(t, rested, 8*time.Second)
}

func TestPaceKeepsUpWithADenseMinute(t *testing.T) {
	ages, rested := paced(newPacer(ShipOptions{}), 90, always(15_000), 28_000)
	for second, age := range ages {
		require.Less(t, age, 4*time.Second, "after %d s", second)
	}
	require.Greater(t, rested, 20*time.Second)
}

// More than can be shipped: it takes what it may, and the rest is left to wait.
func TestPaceIsBoundedAndCatchesUp(t *testing.T) {
	p := newPacer(ShipOptions{})
	ages, _ := paced(p, 30, func(second int) float64 {
		if second < 10 {
			return 40_000
		}
		return 100
	}, 28_000)
	require.Greater(t, ages[9], 4*time.Second)
	require.Less(t, ages[29], time.Second)
}

// A backlog is not worked off at full speed as long as it shrinks.
func TestPaceOfABacklog(t *testing.T) {
	p := newPacer(ShipOptions{})
	now := time.Unix(1_000_000, 0)
	for i := range 100 {
		st := spool.Stats{Appended: uint64(i * 500), OldestSegmentAge: 30*time.Second - time.Duration(i)*50*time.Millisecond}
		wait := p.rest(now, st, 70*time.Millisecond)
		if i > 10 {
			require.GreaterOrEqual(t, wait, 2*70*time.Millisecond) // a third of its time
		}
		now = now.Add(100 * time.Millisecond)
	}
}

func TestShipOptions(t *testing.T) {
	for _, o := range []ShipOptions{{Share: -1}, {Share: 2}, {MaxShare: -1}, {MaxShare: 2}, {Lag: -1}} {
		require.ErrorIs(t, o.Validate(), kairos.ErrInvalid)
	}
	require.NoError(t, ShipOptions{}.Validate())
	_, rested := paced(newPacer(ShipOptions{Dense: -1}), 5, always(20_000), 28_000)
	require.Zero(t, rested)
}
