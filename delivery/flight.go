package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// How much one process keeps in flight towards a provider that takes one
// message a call. An attempt is in flight from its marking to its ending, so
// this is what a kill can leave unknown (docs/adr/0013).
const (
	// MinFlight may always be in flight.
	MinFlight = 64
	// MaxFlight is the default of Options.Window.
	MaxFlight = 1536

	span    = 50 * time.Millisecond // of sending, that a window is worth
	windows = 4                     // in flight: one is marked, two are sent, one is ended
	fewest  = 3                     // windows that the bound has room for, where it is narrow
)

// InFlight returns how many attempts one process with default options keeps in
// flight at most towards a provider that takes perSecond messages one by one:
// 200 ms of sending, within MinFlight and MaxFlight.
func InFlight(perSecond float64) int {
	return min(max(int(perSecond*(windows*span).Seconds()), MinFlight), MaxFlight)
}

// flight counts a route's attempts that are marked and not yet ended, and
// bounds them by how fast the provider answers.
type flight struct {
	least, most int // of the bound

	answered atomic.Int64 // messages that nothing was learned from yet

	mu      sync.Mutex
	bound   int
	open    int
	pace    time.Duration // from one answer to the next; 0: not known
	sending int           // windows
	since   time.Time     // machine time of the last look
	busy    time.Duration // of sending that nothing was learned from yet
	ended   chan struct{} // closed when places come free
}

func newFlight(least, most int) *flight {
	return &flight{least: least, most: most, bound: least, ended: make(chan struct{})}
}

// window returns how many attempts to mark at once.
func (f *flight) window() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.bound / fewest
	if f.pace > 0 {
		n = min(n, int(span/f.pace))
	}
	return max(n, 1, min(f.least, f.bound)/fewest)
}

// acquire takes n places, waiting for them to come free.
func (f *flight) acquire(ctx context.Context, n int) error {
	for {
		f.mu.Lock()
		if f.open == 0 || f.open+n <= f.bound {
			f.open += n
			f.mu.Unlock()
			return nil
		}
		ended := f.ended
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
		}
	}
}

// release gives n places back.
func (f *flight) release(n int) {
	if n == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open -= n
	close(f.ended)
	f.ended = make(chan struct{})
}

// begin starts the watch for a window that is sent now.
func (f *flight) begin(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sending == 0 {
		f.since = now
	}
	f.sending++
}

// end learns from what was answered by all windows, once there is half a span
// of it: replies come in bursts. The bound follows the pace: down at once, up
// twofold at most.
func (f *flight) end(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sending--
	f.busy += max(now.Sub(f.since), 0)
	f.since = now
	n := f.answered.Load()
	if n <= 0 || f.busy <= 0 || f.busy < span/2 && f.pace > 0 {
		return
	}
	pace := max(f.busy/time.Duration(n), 1)
	f.answered.Add(-n)
	f.busy = 0
	if f.pace > 0 {
		pace = (f.pace + pace) / 2
	}
	f.pace = pace
	f.bound = min(max(int(windows*span/pace), f.least), 2*f.bound, f.most)
}

// chain returns how many of a window's n messages one call may carry, at most
// so many, where calls go on at once: half of a connection's share, and no more
// than it takes in half a span.
func (f *flight) chain(n, calls, most int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pace == 0 {
		return 1
	}
	return max(min(n/(2*calls), int(span/2/f.pace)/calls, most), 1)
}
