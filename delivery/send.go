package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kairos"
	"kairos/internal/batch"
)

// SendTask asks for one batch of a campaign to be sent.
type SendTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (SendTask) Kind() string { return kairos.KindSend }

// UrgentTask asks for a transactional message to be sent, ahead of campaigns.
type UrgentTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (UrgentTask) Kind() string { return kairos.KindUrgent }

// Send hands the notifications of a batch to a provider. It returns nil when
// every one of them has its outcome or will be taken up again, and when there
// is nothing to do. When ctx ends it starts nothing more, finishes what is in
// flight within the provider's time-out and gives the rest of the batch back.
func (d *Delivery) Send(ctx context.Context, task SendTask) ([]kairos.Task, error) {
	return nil, d.send(ctx, task.Ref)
}

// SendFirst is Send for transactional messages.
func (d *Delivery) SendFirst(ctx context.Context, task UrgentTask) ([]kairos.Task, error) {
	return nil, d.send(ctx, task.Ref)
}

// frozenPause is how long a batch rests whose campaign was found frozen.
const frozenPause = 5 * time.Second

var errStopping = errors.New("the process is stopping")

func (d *Delivery) send(ctx context.Context, ref kairos.Ref) error {
	if ctx.Err() != nil {
		return nil // queued it stays; the reconciler rings again
	}
	if frozen, err := d.frozen(ctx); err != nil || frozen {
		return err
	}
	b, err := batch.Claim(ctx, d.pool, ref, d.opts.Owner, d.opts.Lease)
	if err != nil || b == nil {
		return err
	}
	// The lease is kept while results come in, also after ctx has ended.
	held, stop := batch.Keep(context.WithoutCancel(ctx), d.pool, b.Ref, d.opts.Owner, d.opts.Lease)
	defer stop()
	gate, closeGate := context.WithCancelCause(held)
	defer closeGate(nil)
	defer context.AfterFunc(ctx, func() { closeGate(errStopping) })()

	r := &run{d: d, b: b, ctx: ctx, gate: gate, until: time.Now().Add(d.opts.Turn), first: b.Epoch == 1 && b.Payload == nil}
	if err := r.all(); err != nil {
		return fmt.Errorf("send batch %s: %w", b.Batch, err)
	}
	return nil
}

// run is one pass over a claimed batch.
type run struct {
	d     *Delivery
	b     *batch.Claimed
	sheet *sheet
	ctx   context.Context // of the caller: its end is a stop
	gate  context.Context // ends with the lease or with ctx; while it lives, calls may begin

	until   time.Time // machine time: then the batch has had its turn
	first   bool      // nobody of the batch is thought to have an attempt yet; a marking finds out
	windows sync.WaitGroup
	slots   chan struct{} // windows under way

	mu      sync.Mutex
	opened  []kairos.ID   // notifications an attempt was opened for
	trouble time.Duration // the provider's, found by a window
	left    bool          // a window didn't begin all of its calls; these people are planned again
	failed  error         // a window's results could not be written
}

// verdict says how a pass over a batch ends.
type verdict struct {
	done  bool      // nothing is left to send
	later time.Time // else: when to go on, domain time
	cause error     // of that, for the operator
	torn  bool      // a marking's outcome is unclear
	gone  bool      // the batch is not ours any more
}

// all sends the batch and puts it where it belongs afterwards.
func (r *run) all() error {
	d, b := r.d, r.b
	now := d.clock.Now()
	if b.Slot.After(now) { // a doorbell may come a moment early
		return r.putBack(verdict{later: b.Slot})
	}
	c, err := d.campaign(r.gate, b.Campaign)
	if err != nil {
		return r.putBack(verdict{later: now.Add(firstPause), cause: err})
	}
	compiled, err := d.contents.get(r.gate, d.pool, c.template, c.version)
	if err != nil && !errors.Is(err, kairos.ErrPermanent) {
		return r.putBack(verdict{later: now.Add(firstPause), cause: err})
	}
	if err != nil { // every message will be skipped as render_failed
		d.opts.Log.Error("template can't be used", "campaign", c.id, "error", err)
	}
	r.sheet = d.newSheet(b, c, compiled)
	r.slots = make(chan struct{}, windows)

	v := r.loop()
	r.windows.Wait()
	switch {
	case r.failed != nil: // the lease runs out and the reconciler takes over
		return r.failed
	case v.torn:
		return r.mend(v)
	case v.gone || errors.Is(context.Cause(r.gate), batch.ErrFenced):
		return nil
	case r.trouble > 0:
		wait := min(r.trouble, d.peek(b.Channel)) // another provider may be called
		v = verdict{later: d.clock.Now().Add(wait), cause: errors.New("the provider is in trouble")}
	case r.left && r.ctx.Err() == nil: // a window broke off
		v = verdict{later: d.clock.Now().Add(firstPause), cause: errors.New("the provider was in trouble")}
	case r.left || !v.done && v.later.IsZero(): // stopping
		v = verdict{later: d.clock.Now()}
	}
	return r.putBack(v)
}

// loop marks window after window and lets each be sent beside it.
func (r *run) loop() verdict {
	d, b := r.d, r.b
	after := kairos.ID{} // ids are compared, none is below zero
	if !b.Lo.IsZero() {
		after = before(b.Lo)
	}
	var early time.Time
	seen := 0
	for {
		select {
		case <-r.gate.Done():
			return verdict{}
		case r.slots <- struct{}{}:
		}
		if r.halted() || !r.mayBegin() {
			return verdict{}
		}
		if seen > 0 && time.Now().After(r.until) { // others are waiting for a worker, perhaps a dead sender's
			return verdict{later: d.clock.Now()}
		}
		route, limit, probe, wait := d.choose(b.Channel)
		if route == nil {
			return verdict{later: d.clock.Now().Add(wait), cause: errors.New("no provider may be called")}
		}
		limit = share(limit, b.Size-seen)
		if err := route.flight.acquire(r.gate, limit); err != nil {
			route.health.forget()
			return verdict{}
		}
		m, err := r.mark(route, after, limit)
		if err != nil || !m.held || !m.runs() {
			route.flight.release(limit)
			route.health.forget()
			switch {
			case err != nil:
				return verdict{torn: true, later: d.clock.Now().Add(firstPause), cause: err}
			case !m.held:
				return verdict{gone: true}
			case m.state == stateFrozen:
				return verdict{later: d.clock.Now().Add(frozenPause), cause: errors.New("delivery is frozen")}
			}
			return verdict{later: d.clock.Now()} // paused: nobody claims it until it is resumed
		}
		w := window{run: r, route: route}
		for i := range m.all {
			p := &m.all[i]
			after = p.id
			switch {
			case p.reason == reasonEarly:
				if early.IsZero() || p.planned.Before(early) {
					early = p.planned
				}
			case p.reason != "":
				w.skips = append(w.skips, p)
			case p.number == 0:
				w.orphans = append(w.orphans, p.id)
			default:
				w.open = append(w.open, p)
			}
		}
		seen += len(m.all)
		route.flight.release(limit - len(w.open))
		if len(w.open) == 0 {
			route.health.forget()
		}
		r.windows.Go(func() {
			defer func() { <-r.slots }()
			defer route.flight.release(len(w.open))
			w.work()
		})
		if probe {
			r.windows.Wait()
		}
		if len(m.all) < limit || after == b.Hi {
			return verdict{done: early.IsZero(), later: early}
		}
	}
}

// share evens out the windows of what is left of a batch: two of 334 and 333
// rather than one of 512 and one of 155.
func share(limit, left int) int {
	if left <= 0 {
		return limit
	}
	parts := (left + limit - 1) / limit
	return min(limit, (left+parts-1)/parts)
}

// mark opens a window's attempts. It isn't cut short by a stop: that would
// leave its outcome unclear.
func (r *run) mark(route *route, after kairos.ID, limit int) (*marked, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), 15*time.Second)
	defer cancel()
	m, err := r.d.mark(ctx, marking{
		batch: r.b, campaign: r.sheet.campaign, provider: route.Name(), after: after, limit: limit,
		attributes: r.sheet.attributes, first: r.first,
	})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first = m.first // or else somebody had an attempt, and others may
	for i := range m.all {
		if m.all[i].number > 0 {
			r.opened = append(r.opened, m.all[i].id)
		}
	}
	return m, nil
}

// mayBegin reports whether calls may begin. The gate closes a moment after ctx
// ends, so both are asked.
func (r *run) mayBegin() bool { return r.ctx.Err() == nil && r.gate.Err() == nil }

func (r *run) halted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trouble > 0 || r.failed != nil
}

// putBack finishes the batch or defers it. A lost batch is not an error.
func (r *run) putBack(v verdict) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), 10*time.Second)
	defer cancel()
	var err error
	if v.done {
		err = batch.Finish(ctx, r.d.pool, r.b.Ref)
	} else {
		err = batch.Defer(ctx, r.d.pool, r.b.Ref, v.later, v.cause)
	}
	if errors.Is(err, batch.ErrFenced) {
		return nil
	}
	return err
}

// before returns the id below id.
func before(id kairos.ID) kairos.ID {
	for i := len(id) - 1; i >= 0; i-- {
		id[i]--
		if id[i] != 0xff {
			break
		}
	}
	return id
}

// peek returns how long until a provider of the channel may be called.
func (d *Delivery) peek(ch kairos.Channel) time.Duration {
	left := time.Hour
	for _, r := range d.routes[ch] {
		until, _ := r.health.open(time.Now())
		if until.IsZero() {
			return 0
		}
		left = min(left, time.Until(until))
	}
	return left
}
