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

// runSink is the process that takes the mail: deliverytest's sink. Its arguments
// are how many messages it keeps, and how long it takes for each.
func runSink(args []string, out io.Writer) error {
	var opts deliverytest.SinkOptions
	if len(args) > 0 {
		var err error
		if opts.Keep, err = strconv.Atoi(args[0]); err != nil {
			return fmt.Errorf("read number of messages to keep: %w", err)
		}
	}
	if len(args) > 1 {
		delay, err := time.ParseDuration(args[1])
		if err != nil {
			return fmt.Errorf("read the sink's delay: %w", err)
		}
		if delay > 0 {
			opts.Faults = []deliverytest.Fault{{At: deliverytest.AtDot, Delay: delay}}
		}
	}
	s, err := deliverytest.NewSMTPSink(opts)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	mux := http.NewServeMux()
	mux.Handle("/", s.Control())
	mux.HandleFunc("GET /clock", func(w http.ResponseWriter, _ *http.Request) {
		first, last := s.Span()
		_ = json.NewEncoder(w).Encode(clock{First: first, Last: last, Total: s.Total()})
	})
	mux.HandleFunc("GET /kept", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(s.Kept()) })
	mux.HandleFunc("POST /again", func(http.ResponseWriter, *http.Request) { s.Reset() })
	addr, stop, err := serveHTTP(mux)
	if err != nil {
		return err
	}
	defer stop()
	ctx, leave := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer leave()
	if err := json.NewEncoder(out).Encode(sinkAddress{SMTP: s.Addr(), Control: "http://" + addr}); err != nil {
		return fmt.Errorf("tell addresses: %w", err)
	}
	<-ctx.Done()
	return nil
}

type sinkAddress struct {
	SMTP    string `json:"smtp"`
	Control string `json:"control"`
}

// sink is the process seen from the bench.
type sink struct {
	*process
	at sinkAddress
}

func (w *world) sink(ctx context.Context, name string, keep int) (*sink, error) {
	delay := w.SinkDelay
	if keep > 0 { // not measured
		delay = 0
	}
	p, err := w.self(ctx, name, "sink", strconv.Itoa(keep), delay.String())
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
