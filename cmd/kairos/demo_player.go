package main

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kairos"
)

// reaction is something a person will do at a moment of domain time.
type reaction struct {
	due time.Time
	do  func(context.Context) error
}

// player lets people do things when their moment has come, some at a time.
type player struct {
	clock kairos.Clock
	width int // at a time

	mu      sync.Mutex
	waiting reactions
	since   time.Time // due moment of the oldest that is being done; zero: none is
}

// at plans something; safe for concurrent use.
func (p *player) at(due time.Time, do func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	heap.Push(&p.waiting, reaction{due, do})
}

// oldest returns the due moment of the oldest thing that is not done; zero
// when there is none.
func (p *player) oldest() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 0 && (p.since.IsZero() || p.waiting[0].due.Before(p.since)) {
		return p.waiting[0].due
	}
	return p.since
}

// next takes what is due.
func (p *player) next() []reaction {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Now()
	var due []reaction
	for len(p.waiting) > 0 && len(due) < 16*p.width && !p.waiting[0].due.After(now) {
		due = append(due, heap.Pop(&p.waiting).(reaction))
	}
	p.since = time.Time{}
	if len(due) > 0 {
		p.since = due[0].due
	}
	return due
}

// run plays until ctx ends or somebody fails.
func (p *player) run(ctx context.Context) error {
	for {
		due := p.next()
		if len(due) == 0 {
			if err := poll(ctx, 2*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		g, each := errgroup.WithContext(ctx)
		g.SetLimit(p.width)
		for _, r := range due {
			g.Go(func() error { return r.do(each) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
}

// reactions is a heap by due moment.
type reactions []reaction

func (r reactions) Len() int           { return len(r) }
func (r reactions) Less(i, j int) bool { return r[i].due.Before(r[j].due) }
func (r reactions) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *reactions) Push(x any)        { *r = append(*r, x.(reaction)) }

// Pop implements heap.Interface.
func (r *reactions) Pop() any {
	last := len(*r) - 1
	x := (*r)[last]
	(*r)[last] = reaction{}
	*r = (*r)[:last]
	return x
}
