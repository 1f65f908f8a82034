package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"kairos/delivery/deliverytest"
	"kairos/internal/rig"
)

// clock is when a sink took its messages, by its own watch.
type clock struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Total int       `json:"total"`
}

// counted is what a sink took for persons 0 to n-1 of the audience, and
// for all.
type counted struct {
	Right int `json:"right"` // persons who got as many as each should
	Total int `json:"total"`
	Other int `json:"other"` // -1, or the first of the others
}

// count counts by asking how many came for each of n persons; the first `more`
// of them should have one more than each.
func count(r *http.Request, total func() int, accepted func(rcpt string) int) counted {
	n, _ := strconv.Atoi(r.FormValue("n"))
	each, _ := strconv.Atoi(r.FormValue("each"))
	more, _ := strconv.Atoi(r.FormValue("more"))
	c := counted{Other: -1, Total: total()}
	for i := range n {
		want := each
		if i < more {
			want++
		}
		if accepted(email(i)) == want {
			c.Right++
		} else if c.Other < 0 {
			c.Other = i
		}
	}
	return c
}

// serveSink serves the pages that all sinks have, tells addr, and waits for the
// end.
func serveSink(out io.Writer, mux *http.ServeMux, addr string) error {
	control, stop, err := serveHTTP(mux)
	if err != nil {
		return err
	}
	defer stop()
	ctx, leave := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer leave()
	if err := json.NewEncoder(out).Encode(sinkAddress{SMTP: addr, Control: "http://" + control}); err != nil {
		return fmt.Errorf("tell addresses: %w", err)
	}
	<-ctx.Done()
	return nil
}

func page[T any](mux *http.ServeMux, at string, answer func(*http.Request) T) {
	mux.HandleFunc(at, func(w http.ResponseWriter, r *http.Request) { _ = json.NewEncoder(w).Encode(answer(r)) })
}

// runSink is the process that takes the mail: deliverytest's sink. Its arguments
// are how many messages it keeps, and how long it takes for each.
func runSink(args []string, out io.Writer) error {
	keep, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("read number of messages to keep: %w", err)
	}
	delay, err := time.ParseDuration(args[1])
	if err != nil {
		return fmt.Errorf("read the sink's delay: %w", err)
	}
	opts := deliverytest.SinkOptions{Chunking: true, Keep: keep}
	if delay > 0 {
		opts.Faults = []deliverytest.Fault{{At: deliverytest.AtDot, Delay: delay}}
	}
	s, err := deliverytest.NewSMTPSink(opts)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	mux := http.NewServeMux()
	page(mux, "GET /clock", func(*http.Request) clock {
		first, last := s.Span()
		return clock{First: first, Last: last, Total: s.Total()}
	})
	page(mux, "GET /count", func(r *http.Request) counted { return count(r, s.Total, s.Accepted) })
	page(mux, "GET /kept", func(*http.Request) []deliverytest.Mail { return s.Kept() })
	mux.HandleFunc("POST /again", func(http.ResponseWriter, *http.Request) { s.Reset() })
	return serveSink(out, mux, s.Addr())
}

type sinkAddress struct {
	SMTP    string `json:"smtp"` // of SendGrid's format: http://host:port
	Control string `json:"control"`
}

// sink is the process seen from the bench.
type sink struct {
	*process
	at sinkAddress
}

// sink starts one that keeps so many messages and takes so long for each.
func (w *world) sink(ctx context.Context, name string, keep int, delay time.Duration) (*sink, error) {
	return w.sinkOf(ctx, name, "sink", strconv.Itoa(keep), delay.String())
}

func (w *world) sinkOf(ctx context.Context, name string, args ...string) (*sink, error) {
	p, err := w.self(ctx, name, args...)
	if err != nil {
		return nil, err
	}
	s := &sink{process: p}
	return s, p.Told(&s.at)
}

// ask reads one of the control pages.
func (s *sink) ask(ctx context.Context, page string, into any) error {
	return (&rig.Client{Server: s.at.Control}).Get(ctx, page, into)
}

// again forgets what it has taken.
func (s *sink) again(ctx context.Context) error {
	return (&rig.Client{Server: s.at.Control}).Post(ctx, "/again", nil, nil)
}

// verify: each of n persons got so many messages, and nobody else any.
func (s *sink) verify(ctx context.Context, n, each int) error { return s.verifyMore(ctx, n, each, 0) }

// verifyMore is verify with one message more for each of the first persons.
func (s *sink) verifyMore(ctx context.Context, n, each, more int) error {
	var c counted
	if err := s.ask(ctx, fmt.Sprintf("/count?n=%d&each=%d&more=%d", n, each, more), &c); err != nil {
		return err
	}
	if c.Right != n || c.Total != n*each+more {
		return fmt.Errorf("verify: %d of %d people got what they should (not so person %d), %d messages came", c.Right, n, c.Other, c.Total)
	}
	return nil
}

// runNoop is a process that redirects and does nothing else: the ceiling of
// net/http and of the client on this machine.
func runNoop(_ []string, out io.Writer) error {
	addr, stop, err := serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "https://shop.example.com/offer")
		w.WriteHeader(http.StatusFound)
	}))
	if err != nil {
		return err
	}
	defer stop()
	ctx, leave := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer leave()
	if _, err := fmt.Fprintln(out, strconv.Quote(addr)); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
