package delivery

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestBackoff(t *testing.T) {
	require.Equal(t, time.Minute, backoff(0, 0))
	require.Equal(t, 5*time.Minute, backoff(1, 0))
	require.Equal(t, 15*time.Minute, backoff(2, 0))
	require.Equal(t, time.Hour, backoff(3, 0))
	require.Equal(t, time.Hour, backoff(100, time.Minute))
	require.Equal(t, 2*time.Hour, backoff(0, 2*time.Hour))
	require.Equal(t, 24*time.Hour, backoff(0, 999*time.Hour))
}

func TestTemporaryRefusalsAreTriedAgain(t *testing.T) {
	w := plan(t, 10, 10)
	f := newFake(1, 2)
	refuse := map[kairos.ID]int{w.people[2]: 2, w.people[5]: 1000}
	f.answer = func(_ context.Context, m *Message) Result {
		f.mu.Lock()
		defer f.mu.Unlock()
		if refuse[m.Contact] > 0 {
			refuse[m.Contact]--
			return Result{Outcome: RejectedTemp, Code: "451"}
		}
		return Result{Outcome: Accepted}
	}
	d := w.delivery(f)
	w.drain(d)
	require.Equal(t, map[string]int{"accepted": 8, "planned": 2}, w.counts("notifications"))
	n, err := d.Notification(w.ctx, w.notes[2])
	require.NoError(t, err)
	require.Equal(t, start, n.PlannedAt)
	require.Equal(t, start.Add(time.Minute), *n.NotBefore)
	w.clock.Advance(59 * time.Second)
	w.drain(d)
	require.Equal(t, 10, len(f.messages), "not before its time")
	w.clock.Advance(time.Second)
	w.drain(d)
	w.clock.Advance(5 * time.Minute)
	w.drain(d)
	require.Equal(t, map[string]int{"accepted": 9, "planned": 1}, w.counts("notifications"))
	require.Equal(t, find(f, w.people[2], 1).MessageID, find(f, w.people[2], 3).MessageID, "the same for every attempt")
	for range 10 {
		w.clock.Advance(time.Hour)
		w.drain(d)
	}
	n, err = d.Notification(w.ctx, w.notes[5])
	require.NoError(t, err)
	require.Equal(t, kairos.StateFailed, n.State)
	require.Equal(t, kairos.ReasonTooManyTries, n.Reason)
	require.Len(t, n.Attempts, 8)
	require.Equal(t, 1, w.events()[kairos.NotificationRejected])
	require.Equal(t, 1, f.most())
	require.Empty(t, w.due())
}

func find(f *fake, contact kairos.ID, number int32) *Message {
	for _, m := range f.messages {
		if m.Contact == contact && m.Ref.Number == number {
			return m
		}
	}
	return nil
}

func TestProviderDownBurnsNoTries(t *testing.T) {
	w := plan(t, 100, 50)
	var down atomic.Bool
	down.Store(true)
	f := newFake(1, 4)
	f.answer = func(context.Context, *Message) Result {
		if down.Load() {
			return Result{Outcome: NotSent, Code: "refused"}
		}
		return Result{Outcome: Accepted}
	}
	d := w.delivery(f)
	refs := w.due()
	for _, ref := range refs {
		_, err := d.Send(w.ctx, SendTask{ref})
		require.NoError(t, err)
	}
	require.Less(t, len(f.messages), 40, "a window at most")
	require.Equal(t, map[string]int{"planned": 100}, w.counts("notifications"))
	require.Equal(t, map[string]int{"planned": 2}, w.counts("batches"), "put back, not cut up")
	require.Empty(t, w.due(), "later")
	h := d.Health()
	require.True(t, h[0].Open)
	require.Equal(t, "unreachable (refused)", h[0].Cause)

	tried := len(f.messages)
	w.clock.Advance(time.Minute)
	for _, ref := range w.due() {
		_, err := d.Send(w.ctx, SendTask{ref})
		require.NoError(t, err)
	}
	require.Len(t, f.messages, tried, "the circuit is open by machine time: nothing is even marked")

	down.Store(false)
	d.routes[kairos.Email][0].health.until = time.Now()
	w.clock.Advance(time.Minute)
	w.drain(d)
	require.Equal(t, map[string]int{"accepted": 100}, w.counts("notifications"))
	require.False(t, d.Health()[0].Open)
	require.Equal(t, 1, f.most())
}

func TestProbeIsOneMessage(t *testing.T) {
	w := plan(t, 100, 100)
	f := newFake(1, 4)
	f.answer = func(context.Context, *Message) Result { return Result{Outcome: NotSent} }
	d := w.delivery(f)
	d.routes[kairos.Email][0].health.until = time.Now()
	_, err := d.Send(w.ctx, SendTask{w.due()[0]})
	require.NoError(t, err)
	require.Len(t, f.messages, 1)
	require.True(t, d.Health()[0].Open)
}

func TestFailover(t *testing.T) {
	w := plan(t, 100, 50)
	bad, good := newFake(1, 4), newFake(1000, 1)
	bad.name, good.name = "bad", "good"
	bad.answer = func(context.Context, *Message) Result { return Result{Outcome: NotSent, RetryAfter: time.Minute} }
	d := w.delivery(bad, good)
	w.clock.Advance(time.Second)
	w.drain(d)
	require.Equal(t, 100, good.total())
	require.Equal(t, 1, good.most())
	require.Equal(t, map[string]int{"accepted": 100}, w.counts("notifications"))
	var n int
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT count(*) FROM attempts WHERE provider = 'good' AND state = 'accepted'`).Scan(&n))
	require.Equal(t, 100, n)
}

// TestSilentProviderIsLeftAlone: a provider that answers nothing makes
// unknowns, and those must not pile up.
func TestSilentProviderIsLeftAlone(t *testing.T) {
	w := plan(t, 500, 100)
	f := newFake(1, 4)
	f.answer = func(context.Context, *Message) Result { return Result{Outcome: Unknown, Code: "500"} }
	d := w.delivery(f)
	w.drain(d)
	unknown := w.counts("notifications")["unknown"]
	require.Positive(t, unknown)
	require.LessOrEqual(t, unknown, 64)
	require.True(t, d.Health()[0].Open)
	require.Equal(t, 500-unknown, w.counts("notifications")["planned"])
}

func TestProviderThatPanics(t *testing.T) {
	w := plan(t, 3, 3)
	f := newFake(1, 1)
	f.answer = func(context.Context, *Message) Result { panic("nil map") }
	w.drain(w.delivery(f))
	require.Equal(t, map[string]int{"unknown": 3}, w.counts("notifications"))
}

func TestProviderThatForgetsResults(t *testing.T) {
	w := plan(t, 3, 3)
	w.drain(w.delivery(forgetful{newFake(1000, 1)}))
	require.Equal(t, map[string]int{"unknown": 2, "accepted": 1}, w.counts("notifications"))
}

type forgetful struct{ *fake }

func (f forgetful) Send(ctx context.Context, msgs []*Message) []Result {
	return f.fake.Send(ctx, msgs)[:1]
}

func TestNoProvider(t *testing.T) {
	w := plan(t, 3, 3)
	d := w.delivery()
	_, err := d.Send(w.ctx, SendTask{w.due()[0]})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"planned": 3}, w.counts("notifications"))
	require.Equal(t, map[string]int{"planned": 1}, w.counts("batches"))
}

func TestRate(t *testing.T) {
	w := plan(t, 30, 30)
	f := newFake(1, 4)
	f.limits.Rate = 100 // 10 at once, then one each 10 ms
	began := time.Now()
	w.drain(w.delivery(f))
	require.Equal(t, 30, f.total())
	require.GreaterOrEqual(t, time.Since(began), 180*time.Millisecond)
}

// TestProviderFallsMidWindow: some were taken, then nothing more; those whose
// calls never began are not left behind in a finished batch.
func TestProviderFallsMidWindow(t *testing.T) {
	w := plan(t, 100, 100)
	var n atomic.Int64
	f := newFake(1, 1)
	f.answer = func(context.Context, *Message) Result {
		if i := n.Add(1); i > 5 && i < 30 {
			return Result{Outcome: NotSent}
		}
		return Result{Outcome: Accepted}
	}
	d := w.deliveryWith(Options{Providers: []Provider{f}, Window: 400})
	w.drain(d)
	var behind int
	require.NoError(t, w.pool.QueryRow(w.ctx, `
		SELECT count(*) FROM notifications n JOIN batches b ON b.id = n.batch WHERE n.state = 'planned' AND b.state = 'done'`).Scan(&behind))
	require.Zero(t, behind)
	for range 8 {
		d.routes[kairos.Email][0].health.until = time.Time{}
		w.clock.Advance(time.Hour)
		w.drain(d)
	}
	require.Equal(t, map[string]int{"accepted": 100}, w.counts("notifications"))
	require.Equal(t, 1, f.most())
}
