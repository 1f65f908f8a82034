package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// requests is what a drive asks for, again and again in this order.
type requests struct {
	addr   string
	paths  []string
	status int // of each answer; any other is an error
}

// driven is what a drive saw.
type driven struct {
	lasted time.Duration
	took   []time.Duration // of each answered request
	alike  int64           // requests begun within a second of the same one's answer
	cpu    float64         // seconds of this process
}

// driving is a drive that goes on.
type driving struct {
	requests
	began       time.Time
	answered    []atomic.Int64 // when, in microseconds since began
	next, alike atomic.Int64

	mu   sync.Mutex
	took []time.Duration
}

// hit sends the next request; it returns how long after due it was answered.
func (d *driving) hit(conn *rawConn, i int64, due time.Time) (time.Duration, error) {
	i %= int64(len(d.paths))
	if last := d.answered[i].Load(); last > 0 && time.Since(d.began).Microseconds()-last < 1_000_000 {
		d.alike.Add(1)
	}
	if err := conn.get(d.paths[i], d.status); err != nil {
		return 0, err
	}
	end := time.Now()
	d.answered[i].Store(end.Sub(d.began).Microseconds())
	return end.Sub(due), nil
}

// drive runs a client on each of so many connections until all are over.
func (r requests) drive(ctx context.Context, connections int, client func(d *driving, conn *rawConn, nth int) ([]time.Duration, error)) (*driven, error) {
	d := &driving{requests: r, answered: make([]atomic.Int64, len(r.paths))}
	conns := make([]*rawConn, connections)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.close()
			}
		}
	}()
	for i := range conns {
		var err error
		if conns[i], err = dialRaw(ctx, r.addr); err != nil {
			return nil, err
		}
	}
	g := errgroup.Group{}
	self := []int{os.Getpid()}
	cpu := cpuOf("bench", self)
	d.began = time.Now()
	for nth, conn := range conns {
		g.Go(func() error {
			took, err := client(d, conn, nth)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.took = append(d.took, took...)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return &driven{lasted: time.Since(d.began), took: d.took, alike: d.alike.Load(), cpu: cpuOf("bench", self) - cpu}, ctx.Err()
}

// closed keeps every connection busy, one request at a time on each.
func (r requests) closed(ctx context.Context, connections int, lasting time.Duration) (*driven, error) {
	return r.drive(ctx, connections, func(d *driving, conn *rawConn, _ int) ([]time.Duration, error) {
		took, over := make([]time.Duration, 0, 1<<14), d.began.Add(lasting)
		for ctx.Err() == nil {
			sent := time.Now()
			if sent.After(over) {
				break
			}
			t, err := d.hit(conn, d.next.Add(1)-1, sent)
			if err != nil {
				return nil, err
			}
			took = append(took, t)
		}
		return took, nil
	})
}

// open sends so many requests a second, whatever becomes of those before:
// those of a millisecond together, so that waiting costs little. An answer's
// time counts from the moment its request was due, so that a server that lags
// behind is seen to.
func (r requests) open(ctx context.Context, connections, rate int, lasting time.Duration) (*driven, error) {
	every := time.Second / time.Duration(rate)
	n := int64(lasting / every)
	return r.drive(ctx, connections, func(d *driving, conn *rawConn, nth int) ([]time.Duration, error) {
		took := make([]time.Duration, 0, int(n)/connections+1)
		for i := int64(nth); i < n && ctx.Err() == nil; i += int64(connections) {
			due := d.began.Add((time.Duration(i)*every + time.Millisecond - 1).Truncate(time.Millisecond))
			if wait := time.Until(due); wait > 0 {
				time.Sleep(wait)
			}
			t, err := d.hit(conn, i, due)
			if err != nil {
				return nil, err
			}
			took = append(took, t)
		}
		return took, nil
	})
}

// figures of a drive, with the share of the machine that its client took.
type figures struct {
	PerSecond   float64 `json:"per_second"`
	P50         float64 `json:"p50_ms"`
	P99         float64 `json:"p99_ms"`
	Max         float64 `json:"max_ms"`
	ClientCPU   float64 `json:"client_cpu_us"` // of each request
	ClientCores float64 `json:"client_cores"`  // on average
}

func (d *driven) figures() figures {
	f := figuresOf(d.took)
	f.PerSecond = float64(len(d.took)) / d.lasted.Seconds()
	f.ClientCPU, f.ClientCores = d.cpu*1e6/float64(len(d.took)), d.cpu/d.lasted.Seconds()
	return f
}

// figuresOf are the quantiles of how long things took.
func figuresOf(took []time.Duration) figures {
	if len(took) == 0 {
		return figures{}
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(float64(len(took)-1)*q)].Microseconds()) / 1000 }
	return figures{P50: at(.5), P99: at(.99), Max: at(1)}
}

func fetch(req *http.Request) ([]byte, error) {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answered %s", req.URL.Path, resp.Status)
	}
	return raw, err
}
