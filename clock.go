package kairos

import (
	"sync"
	"time"
)

// Clock tells domain time. Everything a person would call "when" comes from a
// Clock and is passed into SQL as a parameter; leases, time-outs and measured
// durations use the machine's own time.
type Clock interface {
	Now() time.Time
}

// SystemClock is the machine's time in UTC.
type SystemClock struct{}

// Now returns the present moment in UTC.
func (SystemClock) Now() time.Time { return time.Now().UTC() }

// ScaledClock runs Scale times as fast as the machine's time from the moment
// it was made: with Scale 1440 a day passes in a minute. For simulations only.
type ScaledClock struct {
	origin time.Time // domain time at start
	start  time.Time // machine time at start
	scale  float64
}

// NewScaledClock starts a scaled clock at origin. Scale must be positive.
// Processes that share origin and start (machine time) share the clock.
func NewScaledClock(origin, start time.Time, scale float64) *ScaledClock {
	return &ScaledClock{origin: origin.UTC(), start: start, scale: scale}
}

// Now returns the scaled domain time in UTC.
func (c *ScaledClock) Now() time.Time {
	return c.origin.Add(time.Duration(float64(time.Since(c.start)) * c.scale))
}

// ManualClock stands still until it is moved; for tests. Safe for concurrent use.
type ManualClock struct {
	mu  sync.Mutex
	now time.Time
}

// NewManualClock returns a clock that stands at now.
func NewManualClock(now time.Time) *ManualClock { return &ManualClock{now: now.UTC()} }

// Now returns the moment the clock stands at.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock by d.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Set moves the clock to now.
func (c *ManualClock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now.UTC()
}
