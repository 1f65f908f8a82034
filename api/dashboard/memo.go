package dashboard

import (
	"context"
	"errors"
	"sync"
	"time"
)

// memo keeps answers for a moment, so that many viewers ask the database as
// often as one. An answer that took long is kept for ten times as long as it
// took. Errors aren't kept. The zero value is usable.
type memo[V any] struct {
	mu      sync.Mutex
	answers map[string]*answer[V]
}

type answer[V any] struct {
	ready chan struct{}
	value V
	err   error
	until time.Time // set before ready is closed
}

var errAskFailed = errors.New("the question was not answered")

// memoSize is how many answers are held before the stale ones are dropped.
const memoSize = 1_000

// get returns what ask says about key, at most keep old (machine time). One
// caller asks, those who come meanwhile wait for its answer.
func (m *memo[V]) get(ctx context.Context, key string, keep time.Duration, ask func(ctx context.Context) (V, error)) (V, error) {
	m.mu.Lock()
	if a, ok := m.answers[key]; ok && !a.stale(time.Now()) {
		m.mu.Unlock()
		select {
		case <-a.ready:
			return a.value, a.err
		case <-ctx.Done():
			var none V
			return none, context.Cause(ctx)
		}
	}
	if m.answers == nil || len(m.answers) >= memoSize {
		m.sweep(time.Now())
	}
	a := &answer[V]{ready: make(chan struct{})}
	m.answers[key] = a
	m.mu.Unlock()

	// Others wait for it: it outlives the caller, but not for long.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	defer close(a.ready) // also when ask panics
	a.err = errAskFailed
	begun := time.Now()
	a.value, a.err = ask(ctx)
	if a.err == nil {
		a.until = time.Now().Add(max(keep, 10*time.Since(begun)))
	}
	return a.value, a.err
}

func (a *answer[V]) stale(now time.Time) bool {
	select {
	case <-a.ready:
		return now.After(a.until)
	default:
		return false
	}
}

// clear drops every answer; who waits for one still gets it.
func (m *memo[V]) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers = nil
}

// sweep drops what is stale; the caller holds mu.
func (m *memo[V]) sweep(now time.Time) {
	kept := map[string]*answer[V]{}
	for key, a := range m.answers {
		if !a.stale(now) {
			kept[key] = a
		}
	}
	m.answers = kept
}
