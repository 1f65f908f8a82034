package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"kairos"
)

// window is a part of a batch whose attempts are open at once.
type window struct {
	run     *run
	route   *route
	open    []*recipient // an attempt has been committed as sending
	skips   []*recipient // a rule says no
	orphans []kairos.ID  // still planned, though an attempt of an earlier epoch is live

	halt    atomic.Bool  // the provider is in trouble: begin no more calls
	badLuck atomic.Int64 // messages in a row that weren't taken or answered
}

// try is what this process knows of one open attempt.
type try struct {
	started bool // handed to the provider
	result  Result
	reason  kairos.Reason // it can't be made for this person: skipped
	detail  string
}

// work sends a window and writes down what became of it.
func (w *window) work() {
	r, d := w.run, w.run.d
	tries := w.deliver()
	var results []Result
	left := false
	for _, t := range tries {
		if t.started {
			results = append(results, t.result)
		} else if t.reason == "" {
			left = true
		}
	}
	trouble := w.route.health.judge(time.Now(), results)
	e := w.endings(tries, trouble > 0)
	err := d.retrying(r.ctx, func(ctx context.Context) error { return d.settle(ctx, e) })
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.failed = err
	}
	r.trouble, r.left = max(r.trouble, trouble), r.left || left
}

// deliver calls the provider for every open attempt, as many at once as it
// allows, and returns one try for each.
func (w *window) deliver() []try {
	tries := make([]try, len(w.open))
	size := w.route.call(len(w.open))
	w.route.flight.begin(time.Now())
	defer func() { w.route.flight.end(time.Now()) }()
	calls := (len(w.open) + size - 1) / size
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(calls, w.route.limits.Concurrency) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)-1) * size
				if i >= len(w.open) {
					return
				}
				end := min(i+size, len(w.open))
				w.call(w.open[i:end], tries[i:end])
			}
		})
	}
	workers.Wait()
	return tries
}

// call makes the messages and hands them over in one call.
func (w *window) call(people []*recipient, tries []try) {
	gate, sheet := w.run.gate, w.run.sheet
	if !w.mayBegin() {
		return
	}
	msgs, at := make([]*Message, 0, len(people)), make([]int, 0, len(people))
	for i, p := range people {
		if sheet.content == nil {
			tries[i].reason, tries[i].detail = kairos.ReasonRenderFailed, "the template can't be used"
			continue
		}
		m, reason, err := sheet.compose(gate, p)
		switch {
		case reason != "":
			tries[i].reason, tries[i].detail = reason, err.Error()
		case err != nil:
			return
		default:
			msgs, at = append(msgs, m), append(at, i)
		}
	}
	if len(msgs) == 0 || w.route.wait(gate, len(msgs)) != nil {
		return
	}
	select {
	case <-gate.Done():
		return
	case w.route.calls <- struct{}{}:
	}
	defer func() { <-w.route.calls }()
	if !w.mayBegin() {
		return
	}
	for _, i := range at {
		tries[i].started = true // with an unknown result until there is a better one
	}
	// What has begun may end: neither a stop nor a lost lease cuts it short.
	turns := 1
	if w.route.limits.Batch == 1 {
		turns = len(msgs) // each of a chain has its time
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(gate), time.Duration(turns)*w.route.limits.Timeout+5*time.Second)
	defer cancel()
	results := w.handOver(WithMayBegin(ctx, w.mayBegin), msgs)
	for j, i := range at[:min(len(at), len(results))] {
		tries[i].result = results[j]
		if results[j].NotBegun && results[j].Outcome == NotSent {
			tries[i] = try{}
			continue
		}
		switch results[j].Outcome {
		case NotSent, Unknown:
			if w.badLuck.Add(1) >= int64(max(maxSilent, w.route.limits.Concurrency)) {
				w.halt.Store(true)
			}
		default:
			w.badLuck.Store(0)
			w.route.flight.answered.Add(1)
		}
	}
}

// mayBegin reports whether this window's messages may still begin.
func (w *window) mayBegin() bool { return !w.halt.Load() && w.run.mayBegin() }

// handOver survives a provider that panics: its messages are unknown.
func (w *window) handOver(ctx context.Context, msgs []*Message) (results []Result) {
	defer func() {
		if p := recover(); p != nil {
			w.run.d.opts.Log.Error("provider panics", "provider", w.route.Name(), "panic", p)
			results = make([]Result, len(msgs))
			for i := range results {
				results[i].Detail = "the provider's code broke"
			}
		}
	}()
	return w.route.Send(ctx, msgs)
}
