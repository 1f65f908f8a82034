package dashboard

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis"
	"kairos/delivery"
)

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 12345: "12,345", 1234567: "1,234,567", -1234: "−1,234", -123: "−123"} {
		require.Equal(t, want, count(n))
	}
	for a, want := range map[string]string{"0": "0.00 EUR", "1234.5": "1,234.50 EUR", "-755.314": "−755.31 EUR", "0.001": "0.001 EUR", "-0.5": "−0.50 EUR"} {
		v, err := kairos.ParseAmount(a)
		require.NoError(t, err)
		require.Equal(t, want, money(v, "EUR"))
	}
	for n, want := range map[int64]string{7: "7", 99: "99", 123: "120", 29_412: "29,000", 996_000: "1,000,000"} {
		require.Equal(t, want, roughly(n))
	}
	half := 0.5
	require.Equal(t, "50.0%", share(&half))
	require.Equal(t, "–", share(nil))
	require.Equal(t, "0%", portion(1, 0))
	require.Equal(t, "100.00%", portion(3, 2))
	require.Equal(t, "7 days", span(168*time.Hour))
	require.Equal(t, "a day", span(24*time.Hour))
	require.Equal(t, "+0.0", signed(-0.01))
	require.Equal(t, "−2.5", signed(-2.5))
}

func TestStandingAddsUp(t *testing.T) {
	s := standingOf(delivery.Progress{Planned: 80, Accepted: 50, Unknown: 2, Failed: 3, Skipped: 10, HeldOut: 10, Cancelled: 5, Pending: 20, Total: 100})
	var sum int64
	for _, g := range s.segments {
		sum += g.n
	}
	require.Equal(t, int64(100), sum)
	require.Equal(t, "80%", s.percent())
	require.Equal(t, "99%", standingOf(delivery.Progress{Accepted: 999, Pending: 1, Total: 1000}).percent(), "100% means all")
	require.Equal(t, "0%", standingOf(delivery.Progress{}).percent())
}

func TestVerdicts(t *testing.T) {
	needed := int64(41_000)
	for _, c := range []struct {
		in   analysis.Incremental
		want string
	}{
		{analysis.Incremental{Verdict: analysis.VerdictBetter, Treated: 10, HeldOut: 5}, "brought more"},
		{analysis.Incremental{Verdict: analysis.VerdictWorse, Treated: 10, HeldOut: 5}, "did harm"},
		{analysis.Incremental{Verdict: analysis.VerdictNoDifference, Treated: 10, HeldOut: 5}, "No difference"},
		{analysis.Incremental{Verdict: analysis.VerdictNotEnoughData, Treated: 10}, "No comparison"},
		{analysis.Incremental{Verdict: analysis.VerdictNotEnoughData, Treated: 1000, HeldOut: 50, Needed: &needed}, "About 40,000 more people"},
		{analysis.Incremental{Verdict: analysis.VerdictNotEnoughData, Treated: 10, HeldOut: 5}, "Too few"},
	} {
		v := verdictOf(analysis.ROI{Incremental: c.in})
		require.Contains(t, v.title+" "+v.text, c.want)
	}
}

func TestIntervalHoldsZero(t *testing.T) {
	for _, c := range []struct{ low, high, at float64 }{{-40, 532, 246}, {10, 20, 15}, {-9, -3, -6}, {0, 0, 0}} {
		i := intervalOf(kairos.AmountOf(c.low), kairos.AmountOf(c.high), kairos.AmountOf(c.at))
		for _, place := range []string{i.low, i.high, i.zero, i.at} {
			require.Regexp(t, `^\d{1,2}(\.\d+)?%$`, place, "%+v", c)
		}
	}
}

func TestMemoAsksOnce(t *testing.T) {
	var m memo[int]
	var asked atomic.Int32
	gate := make(chan struct{})
	ask := func(context.Context) (int, error) {
		<-gate
		return int(asked.Add(1)), nil
	}
	var done sync.WaitGroup
	for range 50 {
		done.Go(func() {
			v, err := m.get(context.Background(), "k", time.Hour, ask)
			if err != nil || v != 1 {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
	close(gate)
	done.Wait()
	require.Equal(t, int32(1), asked.Load())

	v, err := m.get(t.Context(), "other", 0, func(context.Context) (int, error) { return 7, errors.New("no") })
	require.Error(t, err)
	require.Equal(t, 7, v)
	v, err = m.get(t.Context(), "other", time.Hour, func(context.Context) (int, error) { return 8, nil })
	require.NoError(t, err, "an error isn't kept")
	require.Equal(t, 8, v)
	require.Panics(t, func() {
		_, _ = m.get(t.Context(), "panic", time.Hour, func(context.Context) (int, error) { panic("x") })
	})
	v, err = m.get(t.Context(), "panic", time.Hour, func(context.Context) (int, error) { return 9, nil })
	require.NoError(t, err)
	require.Equal(t, 9, v)
	for i := range 3 * memoSize {
		_, err := m.get(t.Context(), time.Duration(i).String(), -1, func(context.Context) (int, error) { return i, nil })
		require.NoError(t, err)
	}
	require.LessOrEqual(t, len(m.answers), 2*memoSize)
}
