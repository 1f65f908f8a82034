package delivery

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
)

// kill makes a batch look as if its holder had died.
func (w *world) kill() {
	w.exec(`UPDATE batches SET lease_until = clock_timestamp() - interval '1 second' WHERE state = 'running'`)
}

func (w *world) claim(d *Delivery) (*batch.Claimed, *campaign) {
	w.t.Helper()
	refs := w.due()
	require.NotEmpty(w.t, refs)
	b, err := batch.Claim(w.ctx, w.pool, refs[0], d.opts.Owner, d.opts.Lease)
	require.NoError(w.t, err)
	require.NotNil(w.t, b)
	c, err := d.campaign(w.ctx, b.Campaign)
	require.NoError(w.t, err)
	return b, c
}

// open claims and marks as a sender does, and returns its window unsent.
func (w *world) open(d *Delivery, limit int) *window {
	w.t.Helper()
	b, c := w.claim(d)
	compiled, err := d.contents.get(w.ctx, w.pool, c.template, c.version)
	require.NoError(w.t, err)
	m, err := d.mark(w.ctx, marking{batch: b, campaign: c, provider: "fake", after: before(b.Lo), limit: limit, attributes: true, first: true})
	require.NoError(w.t, err)
	require.True(w.t, m.held)
	require.Len(w.t, m.all, limit)
	r := &run{d: d, b: b, ctx: w.ctx, gate: w.ctx, sheet: d.newSheet(b, c, compiled)}
	win := &window{run: r, route: d.routes[kairos.Email][0]}
	for i := range m.all {
		require.Positive(w.t, m.all[i].number)
		win.open = append(win.open, &m.all[i])
		r.opened = append(r.opened, m.all[i].id)
	}
	return win
}

func TestKilledAfterMarking(t *testing.T) {
	w := plan(t, 10, 10)
	f := newFake(1, 2)
	d := w.delivery(f)
	w.open(d, 4)
	w.kill()
	require.NoError(t, d.Reconcile(w.ctx))
	require.NoError(t, d.Reconcile(w.ctx))
	require.Equal(t, map[string]int{"unknown": 4, "planned": 6}, w.counts("notifications"))
	w.drain(w.delivery(f))
	require.Equal(t, map[string]int{"unknown": 4, "accepted": 6}, w.counts("notifications"))
	require.Equal(t, map[string]int{"unknown": 4, "accepted": 6}, w.counts("attempts"))
	require.Equal(t, 6, f.total())
	require.Equal(t, map[string]int{kairos.NotificationSent: 10, kairos.NotificationAccepted: 6, kairos.NotificationUnknown: 4}, w.events())
}

func TestKilledAfterTheProviderAccepted(t *testing.T) {
	w := plan(t, 10, 10)
	f := newFake(1, 2)
	d := w.delivery(f)
	w.open(d, 4).deliver() // and never writes it down
	require.Equal(t, 4, f.total())
	w.kill()
	require.NoError(t, d.Reconcile(w.ctx))
	w.drain(w.delivery(f))
	require.Equal(t, 10, f.total())
	require.Equal(t, 1, f.most())
	require.Equal(t, map[string]int{"unknown": 4, "accepted": 6}, w.counts("notifications"))
	// Evidence for one, none for the others.
	w.append(kairos.Event{Kind: kairos.NotificationOpened, Notification: w.notes[0], Campaign: w.campaign, Contact: w.people[0], OccurredAt: start})
	w.feedback(d)
	require.Equal(t, map[string]int{"unknown": 3, "accepted": 7}, w.counts("attempts"))
	w.clock.Advance(73 * time.Hour)
	require.NoError(t, d.Reconcile(w.ctx))
	require.Equal(t, map[string]int{"failed": 3, "accepted": 7}, w.counts("notifications"))
	require.Equal(t, map[string]int{"abandoned": 3, "accepted": 7}, w.counts("attempts"))
	require.Equal(t, 3, w.events()[kairos.NotificationResolved])
	w.drain(d)
	require.Equal(t, 10, f.total())
}

func TestTwoSendersOneBatch(t *testing.T) {
	w := plan(t, 200, 100)
	f := newFake(1, 4)
	refs := w.due()
	var wg sync.WaitGroup
	for range 4 {
		d := w.delivery(f)
		for _, ref := range refs {
			wg.Go(func() { _, _ = d.Send(w.ctx, SendTask{ref}) })
		}
	}
	wg.Wait()
	require.Equal(t, 200, f.total())
	require.Equal(t, 1, f.most())
}

// TestPausedPastTheLease stops a sender in the middle of its calls, lets
// another take over and finish, and wakes the first one up.
func TestPausedPastTheLease(t *testing.T) {
	w := plan(t, 40, 40)
	asleep, wake := make(chan struct{}, 100), make(chan struct{})
	f := newFake(1, 2)
	slow := newFake(1, 2)
	slow.accepted = f.accepted // one receiving side
	slow.answer = func(context.Context, *Message) Result {
		asleep <- struct{}{}
		<-wake
		return Result{Outcome: Accepted}
	}
	d1 := w.deliveryWith(Options{Providers: []Provider{slow}, Window: 15, Lease: 400 * time.Millisecond})
	d2 := w.delivery(f)
	refs := w.due()
	first := make(chan error, 1)
	go func() {
		_, err := d1.Send(w.ctx, SendTask{refs[0]})
		first <- err
	}()
	<-asleep
	<-asleep
	w.eventually("all windows to be open", func() bool { return w.counts("attempts")["sending"] == 15 })
	w.eventually("the batch to be taken over", func() bool {
		w.exec(`UPDATE batches SET lease_until = clock_timestamp() - interval '1 second' WHERE state = 'running'`)
		require.NoError(t, d2.Reconcile(w.ctx))
		return w.counts("attempts")["sending"] == 0
	})
	w.drain(d2)
	// On a slow machine the first one may know already that it lost, and have said what it never began.
	require.GreaterOrEqual(t, w.counts("notifications")["unknown"], 2)
	require.Less(t, len(f.accepted), 40)
	time.Sleep(300 * time.Millisecond) // the first one's keeper asks every 100 ms and learns that it lost
	close(wake)
	require.NoError(t, <-first)
	// Two had begun: their replies are evidence. The others never began: proof, so they go out again.
	require.Equal(t, 13, w.counts("attempts")["not_sent"])
	require.Zero(t, w.counts("attempts")["unknown"])
	w.drain(d2)
	require.Equal(t, map[string]int{"accepted": 40}, w.counts("notifications"))
	require.Equal(t, 1, f.most())
	require.Len(t, f.accepted, 40)
}

func TestSettlingTwiceIsOnce(t *testing.T) {
	w := plan(t, 12, 12)
	i := 0
	f := newFake(1, 1)
	f.answer = func(context.Context, *Message) Result {
		i++
		return Result{Outcome: []Outcome{Accepted, RejectedTemp, RejectedPerm, NotSent, Unknown}[i%5], BadAddress: i%5 == 2, Code: "x"}
	}
	d := w.delivery(f)
	win := w.open(d, 12)
	e := win.endings(win.deliver(), false)
	require.NoError(t, d.settle(w.ctx, e))
	snapshot := func() string {
		var s string
		require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT
			(SELECT string_agg(a::text, ';' ORDER BY notification) FROM attempts a) || (SELECT string_agg(n::text, ';' ORDER BY id) FROM notifications n) ||
			(SELECT string_agg(b.id::text || slot::text || size, ';' ORDER BY id) FROM batches b) || (SELECT count(*) FROM events) || (SELECT count(*) FROM suppressions)`).Scan(&s))
		return s
	}
	once := snapshot()
	require.NoError(t, d.settle(w.ctx, e))
	require.Equal(t, once, snapshot())
	require.Equal(t, map[string]int{"accepted": 2, "rejected_temp": 3, "rejected_perm": 3, "not_sent": 2, "unknown": 2}, w.counts("attempts"))
	var n int
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT count(*) FROM suppressions WHERE reason = 'bounced' AND scope = 'all'`).Scan(&n))
	require.Equal(t, 3, n)
}

func TestUnclearMarking(t *testing.T) {
	w := plan(t, 10, 10)
	f := newFake(1, 1)
	d := w.delivery(f)
	win := w.open(d, 10)
	win.run.opened = win.run.opened[:3] // of the other seven the commit's outcome never reached us
	win.open = win.open[:3]
	win.work()
	require.NoError(t, win.run.mend(verdict{torn: true, later: start}))
	require.NoError(t, win.run.mend(verdict{torn: true, later: start}))
	require.Equal(t, map[string]int{"accepted": 3, "not_sent": 7}, w.counts("attempts"))
	w.drain(d)
	require.Equal(t, map[string]int{"accepted": 10}, w.counts("notifications"))
	require.Equal(t, 1, f.most())
}

// TestMarkingCutOff terminates the connection in the middle of a marking.
func TestMarkingCutOff(t *testing.T) {
	w := plan(t, 10, 10)
	f := newFake(1, 1)
	d := w.delivery(f)
	refs := w.due()
	lock, err := w.pool.Begin(w.ctx)
	require.NoError(t, err)
	_, err = lock.Exec(w.ctx, `SELECT pg_advisory_xact_lock($1)`, int64(suppressionLock))
	require.NoError(t, err)
	sent := make(chan error, 1)
	go func() {
		_, err := d.Send(w.ctx, SendTask{refs[0]})
		sent <- err
	}()
	w.eventually("the marking to be cut off", func() bool {
		var n int
		require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`).Scan(&n))
		return n == 1
	})
	require.NoError(t, lock.Rollback(w.ctx))
	require.NoError(t, <-sent)
	require.Zero(t, f.total())
	w.clock.Advance(time.Minute)
	w.drain(d)
	require.Equal(t, 10, f.total())
	require.Equal(t, 1, f.most())
}

// TestReissuedBeforeSettling leaves an attempt as sending under a batch that
// was put back: the next holder finds it.
func TestOrphansAreAdopted(t *testing.T) {
	w := plan(t, 5, 5)
	f := newFake(1, 1)
	d := w.delivery(f)
	win := w.open(d, 2)
	require.NoError(t, batch.Defer(w.ctx, w.pool, win.run.b.Ref, start, nil))
	w.drain(d)
	require.Equal(t, map[string]int{"accepted": 3, "unknown": 2}, w.counts("notifications"))
	require.Equal(t, map[string]int{"done": 1}, w.counts("batches"))
	require.Equal(t, 3, f.total())
}

func TestStopGivesTheRestBack(t *testing.T) {
	w := plan(t, 100, 100)
	ctx, stop := context.WithCancel(w.ctx)
	f := newFake(1, 2)
	n := 0
	var mu sync.Mutex
	f.answer = func(callCtx context.Context, _ *Message) Result {
		mu.Lock()
		defer mu.Unlock()
		if n++; n == 5 {
			stop()
		}
		if callCtx.Err() != nil {
			return Result{}
		}
		return Result{Outcome: Accepted}
	}
	d := w.deliveryWith(Options{Providers: []Provider{f}, Window: 20})
	_, err := d.Send(ctx, SendTask{w.due()[0]})
	require.NoError(t, err)
	sent := f.total()
	require.Less(t, sent, 40)
	require.Equal(t, map[string]int{"planned": 1}, w.counts("batches"), "given back at once")
	require.Zero(t, w.counts("attempts")["sending"])
	require.Zero(t, w.counts("attempts")["unknown"], "what was in flight has ended")
	require.Equal(t, sent, w.counts("notifications")["accepted"])
	w.drain(w.delivery(f))
	require.Equal(t, 100, f.total())
	require.Equal(t, 1, f.most())
}

// TestStopInTheLastWindow: nobody is left behind in a finished batch.
func TestStopInTheLastWindow(t *testing.T) {
	w := plan(t, 10, 10)
	ctx, stop := context.WithCancel(w.ctx)
	f := newFake(1, 1)
	f.answer = func(context.Context, *Message) Result {
		stop()
		return Result{Outcome: Accepted}
	}
	d := w.deliveryWith(Options{Providers: []Provider{f}, Window: 200})
	_, err := d.Send(ctx, SendTask{w.due()[0]})
	require.NoError(t, err)
	require.Less(t, f.total(), 10)
	require.Equal(t, map[string]int{"planned": 1}, w.counts("batches"))
	w.drain(d)
	require.Equal(t, 10, f.total())
	require.Equal(t, 1, f.most())
}

// TestInFlightIsBounded: however many batches a process works on, what a kill
// could leave unknown is no more than its window.
func TestInFlightIsBounded(t *testing.T) {
	w := plan(t, 200, 50)
	const window = 16
	f := newFake(1, 8)
	var most int
	f.answer = func(context.Context, *Message) Result {
		n := w.counts("attempts")["sending"]
		f.mu.Lock()
		most = max(most, n)
		f.mu.Unlock()
		return Result{Outcome: Accepted}
	}
	d := w.deliveryWith(Options{Providers: []Provider{f}, Window: window})
	var wg sync.WaitGroup
	for _, ref := range w.due() {
		wg.Go(func() { _, _ = d.Send(w.ctx, SendTask{ref}) })
	}
	wg.Wait()
	require.Equal(t, 200, f.total())
	require.Positive(t, most)
	require.LessOrEqual(t, most, window)
}
