package deliverytest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SinkOptions of an SMTPSink. The zero value accepts everything, fast.
type SinkOptions struct {
	Addr         string      // default 127.0.0.1:0
	Faults       []Fault     // the script at start
	Seed         uint64      // of the percentages
	Keep         int         // the newest so many messages are kept; 0: none
	NoPipelining bool        // don't offer PIPELINING
	Chunking     bool        // offer CHUNKING: messages by BDAT
	Size         int         // offer SIZE and refuse larger messages; 0: don't
	TLS          *tls.Config // offer STARTTLS
	User, Pass   string      // demand AUTH PLAIN or LOGIN
}

// SMTPSink is an SMTP server that counts what it takes. Safe for concurrent use.
type SMTPSink struct {
	opts   SinkOptions
	script script
	faulty atomic.Bool // the script isn't empty
	addr   string

	mu      sync.Mutex
	ln      net.Listener
	conns   map[net.Conn]struct{}
	kept    []Mail
	closed  bool
	serving sync.WaitGroup

	seed   maphash.Seed
	counts [64]countShard

	total, duplicates, connections, open, attempts atomic.Int64
	first, last                                    atomic.Int64 // Unix time in ns of what it took; 0: nothing
}

// Mail is a message that the sink took.
type Mail struct {
	From string
	To   []string
	Raw  []byte // with CRLF, dots unstuffed
}

type countShard struct {
	mu sync.Mutex
	n  map[string]int
}

// NewSMTPSink starts a sink.
func NewSMTPSink(opts SinkOptions) (*SMTPSink, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	s := &SMTPSink{opts: opts, conns: map[net.Conn]struct{}{}, seed: maphash.MakeSeed()}
	for i := range s.counts {
		s.counts[i].n = map[string]int{}
	}
	s.SetFaults(opts.Faults...)
	ln, err := net.Listen("tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for mail: %w", err)
	}
	s.addr = ln.Addr().String()
	s.listen(ln)
	return s, nil
}

// Addr returns host:port.
func (s *SMTPSink) Addr() string { return s.addr }

// URL returns smtp://host:port.
func (s *SMTPSink) URL() string { return "smtp://" + s.addr }

// SetFaults replaces the script; its counters begin anew.
func (s *SMTPSink) SetFaults(faults ...Fault) {
	s.script.set(faults, s.opts.Seed)
	s.faulty.Store(len(faults) > 0)
}

// Refuse closes the port, so that connecting fails, or opens it again.
func (s *SMTPSink) Refuse(refuse bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refuse == (s.ln == nil) || s.closed {
		return nil
	}
	if refuse {
		err := s.ln.Close()
		s.ln = nil
		return err
	}
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("listen for mail: %w", err)
	}
	s.listen(ln)
	return nil
}

func (s *SMTPSink) listen(ln net.Listener) {
	s.ln = ln
	s.serving.Add(1)
	go func() {
		defer s.serving.Done()
		for {
			c, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			s.mu.Lock()
			if s.closed {
				s.mu.Unlock()
				_ = c.Close()
				return
			}
			s.conns[c] = struct{}{}
			s.serving.Add(1)
			s.mu.Unlock()
			s.connections.Add(1)
			s.open.Add(1)
			go s.serve(c)
		}
	}()
}

func (s *SMTPSink) serve(c net.Conn) {
	defer s.serving.Done()
	newSession(s, c).run()
	_ = c.Close()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.open.Add(-1)
}

// Drop hangs up on every client.
func (s *SMTPSink) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// Close ends the sink and all sessions.
func (s *SMTPSink) Close() error {
	s.mu.Lock()
	s.closed = true
	var err error
	if s.ln != nil {
		err = s.ln.Close()
	}
	s.mu.Unlock()
	s.Drop()
	s.serving.Wait()
	return err
}

// take counts a message.
func (s *SMTPSink) take(m Mail, raw []byte) {
	now := time.Now().UnixNano()
	s.first.CompareAndSwap(0, now)
	s.last.Store(now)
	for _, to := range m.To {
		key := strings.ToLower(to)
		sh := &s.counts[maphash.String(s.seed, key)%uint64(len(s.counts))]
		sh.mu.Lock()
		n := sh.n[key] + 1
		sh.n[key] = n
		sh.mu.Unlock()
		if n > 1 {
			s.duplicates.Add(1)
		}
		s.total.Add(1)
	}
	if s.opts.Keep > 0 {
		m.To = append([]string(nil), m.To...)
		m.Raw = append([]byte(nil), raw...)
		s.mu.Lock()
		if s.kept = append(s.kept, m); len(s.kept) > s.opts.Keep {
			s.kept = append(s.kept[:0:0], s.kept[1:]...)
		}
		s.mu.Unlock()
	}
}

// Accepted returns how many messages for rcpt the sink took.
func (s *SMTPSink) Accepted(rcpt string) int {
	key := strings.ToLower(rcpt)
	sh := &s.counts[maphash.String(s.seed, key)%uint64(len(s.counts))]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.n[key]
}

// Total returns how many messages it took, counted by recipient.
func (s *SMTPSink) Total() int { return int(s.total.Load()) }

// Duplicates returns how many of them went to a recipient who already had one.
func (s *SMTPSink) Duplicates() int { return int(s.duplicates.Load()) }

// Span returns when it took its first and its newest message; zero: none.
func (s *SMTPSink) Span() (first, last time.Time) {
	if ns := s.first.Load(); ns != 0 {
		first, last = time.Unix(0, ns), time.Unix(0, s.last.Load())
	}
	return first, last
}

// Attempts returns how many final dots came in, taken or not.
func (s *SMTPSink) Attempts() int { return int(s.attempts.Load()) }

// Connections returns how many were ever made and how many are open.
func (s *SMTPSink) Connections() (ever, open int) {
	return int(s.connections.Load()), int(s.open.Load())
}

// Recipients returns the counts by recipient, in lower case.
func (s *SMTPSink) Recipients() map[string]int {
	out := map[string]int{}
	for i := range s.counts {
		sh := &s.counts[i]
		sh.mu.Lock()
		for k, n := range sh.n {
			out[k] = n
		}
		sh.mu.Unlock()
	}
	return out
}

// Kept returns the newest messages, oldest first.
func (s *SMTPSink) Kept() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.kept...)
}

// Reset forgets counts and messages.
func (s *SMTPSink) Reset() {
	for i := range s.counts {
		sh := &s.counts[i]
		sh.mu.Lock()
		clear(sh.n)
		sh.mu.Unlock()
	}
	s.mu.Lock()
	s.kept = nil
	s.mu.Unlock()
	for _, n := range []*atomic.Int64{&s.total, &s.duplicates, &s.attempts, &s.first, &s.last} {
		n.Store(0)
	}
}
