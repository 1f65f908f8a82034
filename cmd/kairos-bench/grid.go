package main

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"kairos/delivery/deliverytest"
)

// keptBodies is how many requests' bodies the fast server keeps: the bare
// client posts them again.
const keptBodies = 16

// grid is deliverytest's server of SendGrid's format, behind a watch.
type grid struct {
	fast        bool
	to          atomic.Pointer[deliverytest.SendGrid]
	first, last atomic.Int64 // Unix time in ns

	mu     sync.Mutex
	bodies [][]byte
}

// renew forgets what was taken, but not the bodies.
func (g *grid) renew() error {
	next, err := deliverytest.NewSendGrid(deliverytest.SendGridOptions{Fast: g.fast})
	if err != nil {
		return err
	}
	g.first.Store(0)
	g.last.Store(0)
	if old := g.to.Swap(next); old != nil {
		return old.Close()
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (g *grid) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.first.CompareAndSwap(0, time.Now().UnixNano()) // a call of many: it counts from its arrival
	g.mu.Lock()
	keep := len(g.bodies) < keptBodies
	g.mu.Unlock()
	if keep {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		g.mu.Lock()
		g.bodies = append(g.bodies, body)
		g.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	g.to.Load().ServeHTTP(w, r)
	g.last.Store(time.Now().UnixNano())
}

// letterTaken is a message as its receiver would see it.
type letterTaken struct {
	Notification string `json:"notification"`
	Text         string `json:"text"`
	HTML         string `json:"html"`
}

// runGrid is the process that speaks SendGrid's format. Its argument says
// whether it is strict, refusing what SendGrid refuses, or fast.
func runGrid(args []string, out io.Writer) error {
	g := &grid{fast: args[0] == "fast"}
	if err := g.renew(); err != nil {
		return err
	}
	defer func() { _ = g.to.Load().Close() }()
	mux := http.NewServeMux()
	page(mux, "GET /clock", func(*http.Request) clock {
		return clock{First: time.Unix(0, g.first.Load()), Last: time.Unix(0, g.last.Load()), Total: g.to.Load().Total()}
	})
	page(mux, "GET /count", func(r *http.Request) counted { return count(r, g.to.Load().Total, g.to.Load().Accepted) })
	page(mux, "GET /calls", func(*http.Request) int { return g.to.Load().Calls() })
	page(mux, "GET /bodies", func(*http.Request) [][]byte {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.bodies
	})
	page(mux, "GET /kept", func(*http.Request) (all []letterTaken) {
		for _, m := range g.to.Load().Messages() {
			_, text, html := m.Rendered()
			all = append(all, letterTaken{m.Args["notification"], text, html})
		}
		return all
	})
	mux.HandleFunc("POST /again", func(w http.ResponseWriter, _ *http.Request) {
		if err := g.renew(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	addr, stop, err := serveHTTP(g)
	if err != nil {
		return err
	}
	defer stop()
	return serveSink(out, mux, "http://"+addr)
}
