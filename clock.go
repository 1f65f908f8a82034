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
//
// Within one process it can be stopped, so that a simulation waits for a
// pipeline that is behind: [ScaledClock.Hold] stops it where it stands,
// [ScaledClock.Limit] before it gets there. Time that it stood still is not
// caught up. It never runs backwards. Safe for concurrent use.
type ScaledClock struct {
	mu     sync.Mutex
	origin time.Time // domain time at start
	start  time.Time // machine time at start
	scale  float64
	holds  int       // that were not released
	limit  time.Time // zero: none
}

// NewScaledClock starts a scaled clock at origin. Scale must be positive.
// Processes that share origin and start (machine time) share the clock, as
// long as none of them stops it.
func NewScaledClock(origin, start time.Time, scale float64) *ScaledClock {
	return &ScaledClock{origin: origin.UTC(), start: start, scale: scale}
}

// Now returns the scaled domain time in UTC.
func (c *ScaledClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now(time.Now())
}

func (c *ScaledClock) now(machine time.Time) time.Time {
	if c.holds > 0 {
		return c.origin
	}
	at := c.origin.Add(time.Duration(float64(machine.Sub(c.start)) * c.scale))
	if !c.limit.IsZero() && at.After(c.limit) {
		return c.limit
	}
	return at
}

// rebase makes the present the origin; what was cut off is forgotten.
func (c *ScaledClock) rebase() time.Time {
	machine := time.Now()
	c.origin = c.now(machine)
	c.start = machine
	return c.origin
}

// Hold stops the clock until Release has been called as often as Hold, and
// returns where it stands.
func (c *ScaledClock) Hold() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.rebase()
	c.holds++
	return at
}

// Release takes one Hold back. It panics where there is none.
func (c *ScaledClock) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holds == 0 {
		panic("kairos: Release of a clock that nobody holds")
	}
	c.rebase()
	c.holds--
}

// Limit lets the clock run up to at and stop there, until the limit is moved
// on; the zero time takes it away. A limit that has passed stops the clock
// where it stands. It returns the present.
func (c *ScaledClock) Limit(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.rebase()
	c.limit = at.UTC()
	if at.IsZero() {
		c.limit = time.Time{}
	} else if c.limit.Before(now) {
		c.limit = now
	}
	return now
}

// Pace changes the scale from now on; it must be positive.
func (c *ScaledClock) Pace(scale float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rebase()
	c.scale = scale
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
