package delivery

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"kairos"
)

// route is one provider with everything that bounds its use in this process:
// attempts in flight, calls at once, messages per second, and a circuit that
// opens when the provider as a whole is in trouble.
type route struct {
	Provider
	limits Limits
	rate   *rate.Limiter // nil: unlimited
	calls  chan struct{} // one token for each call under way
	flight *flight       // attempts marked and not yet ended
	health circuit
}

func newRoute(p Provider, window int) *route {
	l := p.Limits()
	l.Batch, l.Concurrency = max(l.Batch, 1), max(l.Concurrency, 1)
	l.Chain = max(l.Chain, 1)
	if l.Timeout <= 0 {
		l.Timeout = 30 * time.Second
	}
	r := &route{Provider: p, limits: l, calls: make(chan struct{}, l.Concurrency)}
	if most := max(window, l.Concurrency); l.Batch == 1 {
		r.flight = newFlight(min(max(MinFlight, l.Concurrency), most), most)
	} else {
		r.flight = newFlight(l.Batch*l.Concurrency, l.Batch*l.Concurrency)
	}
	if l.Rate > 0 {
		r.rate = rate.NewLimiter(rate.Limit(l.Rate), max(l.Batch, l.Chain, int(l.Rate/10), 1))
	}
	return r
}

// window returns how many attempts to mark at once. A batch provider gets one
// call's; the others what they take in a moment.
func (r *route) window() int {
	if r.limits.Batch > 1 {
		return r.limits.Batch
	}
	return r.flight.window()
}

// call returns how many of a window's n messages go into one call.
func (r *route) call(n int) int {
	if r.limits.Batch > 1 {
		return r.limits.Batch
	}
	return r.flight.chain(n, r.limits.Concurrency, r.limits.Chain)
}

// choose returns the first provider of the channel that may be called and how
// many messages at most, or nil and how long to wait for one. A probe decides
// whether more may follow: wait for its end.
func (d *Delivery) choose(ch kairos.Channel) (r *route, window int, probe bool, wait time.Duration) {
	routes := d.routes[ch]
	wait = time.Minute
	for i, r := range routes {
		ok, probe, left := r.health.allows(time.Now())
		switch {
		case ok && probe:
			return r, 1, true, 0
		case ok:
			return r, r.window(), false, 0
		case i == 0 || left < wait:
			wait = left
		}
	}
	return nil, 0, false, wait
}

// wait takes n tokens of the rate.
func (r *route) wait(ctx context.Context, n int) error {
	if r.rate == nil {
		return nil
	}
	return r.rate.WaitN(ctx, n)
}

// Health of a provider as this process sees it.
type Health struct {
	Provider string    `json:"provider"`
	Channel  string    `json:"channel"`
	Open     bool      `json:"open"` // in trouble: not called before Until
	Until    time.Time `json:"until,omitzero"`
	Cause    string    `json:"cause,omitempty"`
}

// Health tells how the providers fare, in the order of failover.
func (d *Delivery) Health() []Health {
	var out []Health
	for _, p := range d.opts.Providers {
		for _, r := range d.routes[p.Channel()] {
			if r.Provider == p {
				until, cause := r.health.open(time.Now())
				out = append(out, Health{p.Name(), string(p.Channel()), !until.IsZero(), until, cause})
			}
		}
	}
	return out
}

// circuit is closed while a provider answers. Trouble of the provider as a
// whole opens it for a while that doubles; then one message probes.
type circuit struct {
	mu      sync.Mutex
	until   time.Time // machine time; zero: closed
	probing time.Time // when the present probe began; zero: none
	trips   int       // in a row
	silent  int       // messages in a row without any reply
	cause   string
}

const (
	firstPause  = 5 * time.Second
	longestTrip = 5 * time.Minute
	maxSilent   = 8 // unknowns in a row that open the circuit
)

// allows reports whether the provider may be called; probe: with one message.
func (c *circuit) allows(now time.Time) (ok, probe bool, left time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.until.IsZero():
		return true, false, 0
	case now.Before(c.until):
		return false, false, c.until.Sub(now)
	case !c.probing.IsZero() && now.Sub(c.probing) < time.Minute:
		return false, false, time.Second
	}
	c.probing = now
	return true, true, 0
}

func (c *circuit) open(now time.Time) (time.Time, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.until) {
		return c.until, c.cause
	}
	return time.Time{}, ""
}

// judge learns from the results of one window whose messages were all tried,
// and returns how long to leave the provider alone; 0: it is well.
func (c *circuit) judge(now time.Time, results []Result) time.Duration {
	var definite, notSent, silent int
	var after time.Duration
	var code string
	for _, r := range results {
		switch r.Outcome {
		case NotSent:
			notSent++
		case Unknown:
			silent++
		default:
			definite++
			continue
		}
		after = max(after, r.RetryAfter)
		if r.Code != "" {
			code = r.Code
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing = time.Time{}
	switch {
	case definite > 0:
		c.until, c.trips, c.silent, c.cause = time.Time{}, 0, 0, ""
		return 0
	case len(results) == 0:
		return 0
	case now.Before(c.until): // a window that was under way when another found out
		return c.until.Sub(now)
	}
	c.silent += silent
	if notSent == 0 && c.silent < maxSilent && c.until.IsZero() {
		return 0
	}
	pause := min(firstPause<<min(c.trips, 10), longestTrip)
	pause = max(pause, min(after, time.Hour))
	c.trips++
	c.until = now.Add(pause)
	c.cause = "unreachable"
	if notSent == 0 {
		c.cause = "no replies"
	}
	if code != "" {
		c.cause += " (" + code + ")"
	}
	return pause
}

// forget ends a probe that never happened.
func (c *circuit) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing = time.Time{}
}
