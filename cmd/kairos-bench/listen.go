package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// serveHTTP serves on a free port of this machine.
func serveHTTP(h http.Handler) (addr string, stop func(), err error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("listen: %w", err)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(ln) }() // ends with Close
	return ln.Addr().String(), func() { _ = srv.Close() }, nil
}

// ticker notes when a counter first and last moved.
type ticker struct {
	mu sync.Mutex
	c  clock
}

func (t *ticker) see(total int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if total == t.c.Total {
		return
	}
	now := time.Now()
	if t.c.Total == 0 {
		t.c.First = now
	}
	t.c.Last, t.c.Total = now, total
}

func (t *ticker) read(total int) clock {
	t.see(total)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.c
}

func (t *ticker) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.c = clock{}
}
