package deliverytest

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// RunSink runs an SMTPSink until SIGINT or SIGTERM, for a process of its own:
// a main function passes os.Args[1:] and os.Stdout. Flags:
//
//	--addr host:port        where it listens, default 127.0.0.1:0
//	--control host:port     HTTP: GET /stats, GET /accepted?to=, POST /faults (a
//	                        JSON list of ParseFault texts), POST /reset; default
//	                        127.0.0.1:0
//	--fault text            as ParseFault reads it; may be repeated
//	--seed, --keep, --size, --no-pipelining   as SinkOptions
//
// Its first line of output is {"smtp":"host:port","control":"http://host:port"},
// its last one the same as /stats.
func RunSink(args []string, out io.Writer) error {
	var opts SinkOptions
	fs := flag.NewFlagSet("sink", flag.ContinueOnError)
	fs.StringVar(&opts.Addr, "addr", "", "")
	control := fs.String("control", "127.0.0.1:0", "")
	fs.Uint64Var(&opts.Seed, "seed", 0, "")
	fs.IntVar(&opts.Keep, "keep", 0, "")
	fs.IntVar(&opts.Size, "size", 0, "")
	fs.BoolVar(&opts.NoPipelining, "no-pipelining", false, "")
	fs.Func("fault", "", func(s string) error {
		f, err := ParseFault(s)
		opts.Faults = append(opts.Faults, f)
		return err
	})
	if err := fs.Parse(args); err != nil {
		return err
	}
	s, err := NewSMTPSink(opts)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", *control)
	if err != nil {
		_ = s.Close()
		return fmt.Errorf("listen for control: %w", err)
	}
	srv := &http.Server{Handler: s.Control(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(ln) }()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	enc := json.NewEncoder(out)
	if err := enc.Encode(map[string]string{"smtp": s.Addr(), "control": "http://" + ln.Addr().String()}); err != nil {
		return fmt.Errorf("print addresses: %w", err)
	}
	<-stop
	_ = srv.Close()
	stats := s.Stats()
	if err := s.Close(); err != nil {
		return fmt.Errorf("end sink: %w", err)
	}
	return enc.Encode(stats)
}

// Stats are the counters of a sink.
type Stats struct {
	Total       int `json:"total"`
	Recipients  int `json:"recipients"`
	Duplicates  int `json:"duplicates"`
	Attempts    int `json:"attempts"`
	Connections int `json:"connections"`
	Open        int `json:"open"`
}

// Stats returns the counters.
func (s *SMTPSink) Stats() Stats {
	ever, open := s.Connections()
	return Stats{
		Total: s.Total(), Recipients: len(s.Recipients()), Duplicates: s.Duplicates(),
		Attempts: s.Attempts(), Connections: ever, Open: open,
	}
}

// Control returns the handler that RunSink serves.
func (s *SMTPSink) Control() http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Stats()) })
	mux.HandleFunc("GET /recipients", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Recipients()) })
	mux.HandleFunc("GET /accepted", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strconv.Itoa(s.Accepted(r.URL.Query().Get("to"))))
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		var texts []string
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&texts); err != nil {
			http.Error(w, "not a list of texts", http.StatusBadRequest)
			return
		}
		faults := make([]Fault, len(texts))
		for i, t := range texts {
			f, err := ParseFault(t)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			faults[i] = f
		}
		s.SetFaults(faults...)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}
