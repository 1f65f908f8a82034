package kairos

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var clockOrigin = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// after waits until the clock shows more than at, ten seconds at most.
func after(t *testing.T, c *ScaledClock, at time.Time) {
	t.Helper()
	require.Eventually(t, func() bool { return c.Now().After(at) }, 10*time.Second, time.Millisecond)
}

func TestScaledClockRuns(t *testing.T) {
	began := time.Now()
	c := NewScaledClock(clockOrigin, began, 86400)
	after(t, c, clockOrigin.Add(time.Hour))
	low := time.Since(began)
	now := c.Now()
	require.GreaterOrEqual(t, now.Sub(clockOrigin), low*86400)
	require.LessOrEqual(t, now.Sub(clockOrigin), time.Since(began)*86400)
	require.Equal(t, time.UTC, now.Location())
}

func TestScaledClockHolds(t *testing.T) {
	c := NewScaledClock(clockOrigin, time.Now(), 86400)
	at := c.Hold()
	require.Equal(t, at, c.Now())
	require.Equal(t, at, c.Hold(), "a second hold stands where the first does")
	c.Release()
	time.Sleep(5 * time.Millisecond) // seven minutes of a clock that runs
	require.Equal(t, at, c.Now(), "one hold is left")
	c.Release()
	after(t, c, at)
	require.Less(t, c.Now().Sub(at), 7*24*time.Hour, "what it stood still is not caught up")
	require.Panics(t, c.Release)
}

func TestScaledClockLimit(t *testing.T) {
	c := NewScaledClock(clockOrigin, time.Now(), 1e6)
	first, second := clockOrigin.Add(time.Hour), clockOrigin.Add(2*time.Hour)
	require.False(t, c.Limit(first).After(first))
	require.Eventually(t, func() bool { return c.Now().Equal(first) }, 10*time.Second, time.Millisecond)
	time.Sleep(2 * time.Millisecond)
	require.Equal(t, first, c.Now(), "never beyond")

	c.Hold()
	require.Equal(t, first, c.Limit(second))
	require.Equal(t, first, c.Now(), "a hold stops it before its limit")
	c.Release()
	require.Eventually(t, func() bool { return c.Now().Equal(second) }, 10*time.Second, time.Millisecond)

	require.Equal(t, second, c.Limit(first), "a limit that has passed turns nothing back")
	require.Equal(t, second, c.Now())
	c.Limit(time.Time{})
	after(t, c, second)
}

func TestScaledClockPace(t *testing.T) {
	c := NewScaledClock(clockOrigin, time.Now(), 86400)
	c.Hold()
	c.Pace(1e-9)
	c.Release()
	at := c.Now()
	time.Sleep(5 * time.Millisecond)
	require.Less(t, c.Now().Sub(at), time.Microsecond)
}

// Whoever looks while others stop it and let it go never sees time run back.
func TestScaledClockNeverRunsBack(t *testing.T) {
	c := NewScaledClock(clockOrigin, time.Now(), 1e6)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range 2000 {
				at := c.Hold()
				if got := c.Now(); !got.Equal(at) {
					t.Errorf("held at %s, shows %s", at, got)
				}
				if n%10 == i {
					c.Limit(at.Add(time.Minute))
				}
				c.Release()
			}
		})
	}
	var look sync.WaitGroup
	look.Go(func() {
		last := c.Now()
		for {
			select {
			case <-stop:
				return
			default:
			}
			now := c.Now()
			if now.Before(last) {
				t.Errorf("%s after %s", now, last)
			}
			last = now
		}
	})
	wg.Wait()
	close(stop)
	look.Wait()
}
