package delivery

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestFlightFollowsThePace(t *testing.T) {
	f := newFlight(MinFlight, MaxFlight)
	require.Equal(t, MinFlight/fewest, f.window())
	require.Equal(t, 1, f.chain(100, 10, 16), "nothing is known yet")
	now := start
	sent := func(n int, each time.Duration) {
		f.begin(now)
		f.answered.Add(int64(n))
		now = now.Add(time.Duration(n) * each)
		f.end(now)
	}
	sent(20, 10*time.Microsecond)
	require.Equal(t, 2*MinFlight, f.bound, "up twofold at a time")
	sent(20, time.Millisecond)
	require.Equal(t, 2*MinFlight, f.bound, "too little to learn from")
	sent(20000, 10*time.Microsecond)
	require.Equal(t, 4*MinFlight, f.bound)
	for range 20 {
		sent(20000, 10*time.Microsecond)
	}
	require.Equal(t, MaxFlight, f.bound)
	require.Equal(t, MaxFlight/fewest, f.window())
	require.Equal(t, 16, f.chain(512, 10, 16), "as long as a chain may be")
	require.Equal(t, 2, f.chain(40, 10, 16), "half of a connection's share")
	for range 20 {
		sent(200, time.Millisecond)
	}
	require.InDelta(t, 200, f.bound, 2, "200 ms of sending")
	require.InDelta(t, 50, f.window(), 1, "a quarter of it")
	require.InDelta(t, f.bound, InFlight(1000), 2)
	require.Equal(t, 2, f.chain(50, 10, 16), "25 ms of a connection")
	sent(20, time.Second)
	require.Equal(t, MinFlight, f.bound)
	require.Equal(t, MinFlight/fewest, f.window())
	f.begin(now)
	f.end(now.Add(time.Hour))
	require.Equal(t, MinFlight, f.bound, "no answers teach nothing")
}

func TestInFlightWithinItsBounds(t *testing.T) {
	require.Equal(t, MinFlight, InFlight(0))
	require.Equal(t, 166, InFlight(10/0.012))
	require.Equal(t, MaxFlight, InFlight(1e6))
}

// TestFlightCountsOverlap: two windows at once are one stream of answers.
func TestFlightCountsOverlap(t *testing.T) {
	f := newFlight(MinFlight, MaxFlight)
	f.begin(start)
	f.begin(start)
	f.answered.Add(100)
	f.end(start.Add(100 * time.Millisecond))
	require.Equal(t, time.Millisecond, f.pace)
	f.answered.Add(100)
	f.end(start.Add(200 * time.Millisecond))
	require.Equal(t, time.Millisecond, f.pace)
	f.begin(start.Add(time.Hour))
	f.answered.Add(100)
	f.end(start.Add(time.Hour + 100*time.Millisecond))
	require.Equal(t, time.Millisecond, f.pace, "an hour without work says nothing")
}

func TestFlightWaits(t *testing.T) {
	f := newFlight(10, 10)
	ctx, cancel := context.WithCancel(t.Context())
	require.NoError(t, f.acquire(ctx, 7))
	took := make(chan error)
	go func() { took <- f.acquire(ctx, 4) }()
	select {
	case err := <-took:
		t.Fatal("more than the bound", err)
	case <-time.After(20 * time.Millisecond):
	}
	f.release(1)
	require.NoError(t, <-took)
	go func() { took <- f.acquire(ctx, 1) }()
	cancel()
	require.ErrorIs(t, <-took, context.Canceled)
	f.release(10)
	require.NoError(t, f.acquire(t.Context(), 20), "alone it always goes")
}

func TestShare(t *testing.T) {
	for _, c := range []struct{ limit, left, want int }{
		{512, 1000, 500}, {512, 512, 512}, {512, 513, 257}, {21, 1000, 21}, {512, 40, 40}, {512, 0, 512}, {512, -3, 512}, {1, 9, 1},
	} {
		require.Equal(t, c.want, share(c.limit, c.left), "%+v", c)
	}
}

// chained takes one message after another, as SMTP does.
type chained struct {
	*fake
	stop   func(i int) // before message i of a call
	chains []int
}

func (c *chained) Send(ctx context.Context, msgs []*Message) []Result {
	out := make([]Result, len(msgs))
	c.mu.Lock()
	c.chains = append(c.chains, len(msgs))
	c.mu.Unlock()
	for i, m := range msgs {
		if c.stop != nil {
			c.stop(i)
		}
		if i > 0 && !MayBegin(ctx) {
			out[i] = Result{Outcome: NotSent, NotBegun: true}
			continue
		}
		out[i].Outcome = Accepted
		c.accept(m)
	}
	return out
}

// TestChainEndsAtAStop: what a call hasn't begun stays in its batch.
func TestChainEndsAtAStop(t *testing.T) {
	w := plan(t, 60, 60)
	ctx, stop := context.WithCancel(w.ctx)
	f := &chained{fake: newFake(1, 1)}
	f.limits.Chain = 8
	var once sync.Once
	f.stop = func(i int) {
		if i == 3 {
			once.Do(stop)
		}
	}
	d := w.deliveryWith(Options{Providers: []Provider{f}})
	d.routes[kairos.Email][0].flight.pace = time.Microsecond // known already
	_, err := d.Send(ctx, SendTask{w.due()[0]})
	require.NoError(t, err)
	require.Contains(t, f.chains, 8)
	require.Less(t, f.total(), 60)
	require.Equal(t, map[string]int{"planned": 1}, w.counts("batches"), "given back at once, whole")
	require.Zero(t, w.counts("attempts")["sending"])
	require.Equal(t, f.total(), w.counts("notifications")["accepted"])
	w.drain(d)
	require.Equal(t, 60, f.total())
	require.Equal(t, 1, f.most())
}
