package email

import (
	"context"
	"sync"
	"time"
)

// pool keeps connections open between messages. The newest idle one is used
// first, so that what isn't needed grows old and is closed.
type pool struct {
	dial  func(context.Context) (*conn, error)
	idle  time.Duration
	slots chan struct{} // one token for each connection that may be in use

	mu     sync.Mutex
	kept   []*conn // oldest first
	sweep  *time.Timer
	closed bool
}

func newPool(size int, idle time.Duration, dial func(context.Context) (*conn, error)) *pool {
	return &pool{dial: dial, idle: idle, slots: make(chan struct{}, size)}
}

// get returns a kept connection or a new one, waiting for a free place.
func (p *pool) get(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := time.Now()
	p.mu.Lock()
	var c *conn
	if n := len(p.kept); n > 0 && now.Sub(p.kept[n-1].used) < p.idle {
		c = p.kept[n-1]
		p.kept = p.kept[:n-1]
	}
	p.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := p.dial(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return c, nil
}

// put takes a connection back.
func (p *pool) put(c *conn, done bool) {
	c.used = time.Now()
	p.mu.Lock()
	keep := !done && !p.closed
	if keep {
		p.kept = append(p.kept, c)
		if p.sweep == nil {
			p.sweep = time.AfterFunc(p.idle, p.expire)
		}
	}
	p.mu.Unlock()
	if !keep {
		c.quit()
	}
	<-p.slots
}

// expire closes connections that have been idle for too long.
func (p *pool) expire() {
	now := time.Now()
	p.mu.Lock()
	n := 0
	for n < len(p.kept) && now.Sub(p.kept[n].used) >= p.idle {
		n++
	}
	old := p.kept[:n:n]
	p.kept = append([]*conn(nil), p.kept[n:]...)
	p.sweep = nil
	if len(p.kept) > 0 && !p.closed {
		p.sweep = time.AfterFunc(p.idle-now.Sub(p.kept[0].used), p.expire)
	}
	p.mu.Unlock()
	for _, c := range old {
		c.quit()
	}
}

// close ends idle connections; later ones are closed when they come back.
func (p *pool) close() {
	p.mu.Lock()
	old := p.kept
	p.kept, p.closed = nil, true
	if p.sweep != nil {
		p.sweep.Stop()
		p.sweep = nil
	}
	p.mu.Unlock()
	for _, c := range old {
		c.quit()
	}
}
