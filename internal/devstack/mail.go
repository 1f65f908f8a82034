package devstack

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"

	"kairos"
)

// MailOptions bounds a catcher of mail. The zero value is usable.
type MailOptions struct {
	// Addr is where SMTP listens; empty: a free port of 127.0.0.1.
	Addr string
	// MaxMessages is how many of the newest are kept; 0: 5,000.
	MaxMessages int
	// MaxBytes bounds what is kept in memory; 0: 256 MiB.
	MaxBytes int64
	// MaxMessageBytes bounds one message; a larger one is refused. 0: 25 MiB.
	MaxMessageBytes int64
	// Clock stamps the messages; nil: the machine's.
	Clock kairos.Clock
}

// Mail catches mail instead of delivering it: an SMTP server that takes
// everything from everyone and keeps the newest in memory. Safe for concurrent
// use. What it gives out is shared and must not be changed.
type Mail struct {
	opts   MailOptions
	server *smtp.Server
	ln     net.Listener
	served chan error

	mu       sync.RWMutex
	kept     []*Message // oldest first
	byID     map[kairos.ID]*Message
	bytes    int64
	received int64
	hooks    map[int]func(*Message)
	nextHook int
}

// StartMail starts a catcher.
func StartMail(opts MailOptions) (*Mail, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.MaxMessages <= 0 {
		opts.MaxMessages = 5000
	}
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = 256 << 20
	}
	if opts.MaxMessageBytes <= 0 {
		opts.MaxMessageBytes = 25 << 20
	}
	if opts.Clock == nil {
		opts.Clock = kairos.SystemClock{}
	}
	ln, err := net.Listen("tcp", opts.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for mail: %w", err)
	}
	m := &Mail{
		opts: opts, ln: ln, served: make(chan error, 1),
		byID: map[kairos.ID]*Message{}, hooks: map[int]func(*Message){},
	}
	m.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &mailSession{mail: m}, nil
	}))
	m.server.Domain = "localhost"
	m.server.AllowInsecureAuth = true
	m.server.EnableSMTPUTF8 = true
	m.server.MaxMessageBytes = opts.MaxMessageBytes
	m.server.MaxRecipients = 1000
	m.server.ReadTimeout = 5 * time.Minute // RFC 5321 4.5.3.2
	m.server.WriteTimeout = time.Minute
	m.server.ErrorLog = log.New(io.Discard, "", 0) // a client that hangs up is no news
	go func() { m.served <- m.server.Serve(ln) }()
	return m, nil
}

// SMTPAddr returns host:port.
func (m *Mail) SMTPAddr() string { return m.ln.Addr().String() }

// Close ends the SMTP server and its connections. The messages stay readable.
func (m *Mail) Close() error {
	err := m.server.Close()
	if errors.Is(err, smtp.ErrServerClosed) {
		return nil
	}
	_ = m.ln.Close() // the server doesn't know it yet when Serve hasn't begun
	if served := <-m.served; err == nil && !errors.Is(served, smtp.ErrServerClosed) && !errors.Is(served, net.ErrClosed) {
		err = served
	}
	if err != nil {
		return fmt.Errorf("close mail catcher: %w", err)
	}
	return nil
}

// Deliver keeps a message as if it had come by SMTP: from and to are the
// envelope, raw is the message with its headers (RFC 5322). raw is not copied.
// The hooks have run when it returns.
func (m *Mail) Deliver(from string, to []string, raw []byte) *Message {
	at := m.opts.Clock.Now()
	msg := parseMessage(raw)
	msg.ID, msg.Received = kairos.NewIDAt(at), at
	msg.From, msg.To = from, slices.Clone(to)

	m.mu.Lock()
	m.received++
	msg.seq = m.received
	m.kept = append(m.kept, msg)
	m.byID[msg.ID] = msg
	m.bytes += msg.size()
	m.evict()
	hooks := make([]func(*Message), 0, len(m.hooks))
	for _, fn := range m.hooks {
		hooks = append(hooks, fn)
	}
	m.mu.Unlock()

	for _, fn := range hooks {
		fn(msg)
	}
	return msg
}

// evict drops the oldest messages beyond the bounds, but never the newest.
func (m *Mail) evict() {
	drop := 0
	for drop < len(m.kept)-1 && (len(m.kept)-drop > m.opts.MaxMessages || m.bytes > m.opts.MaxBytes) {
		old := m.kept[drop]
		m.bytes -= old.size()
		delete(m.byID, old.ID)
		m.kept[drop] = nil
		drop++
	}
	m.kept = m.kept[drop:] // append reallocates in time and leaves the dropped front behind
}

// OnMessage calls fn for every message that arrives from now on, before the
// sender hears that it was accepted: fn sees each message once, possibly from
// several goroutines at a time, and should hand on what takes long. The
// returned function ends it.
func (m *Mail) OnMessage(fn func(*Message)) (cancel func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := m.nextHook
	m.nextHook++
	m.hooks[id] = fn
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.hooks, id)
	}
}

// Get returns a message that is still kept, or kairos.ErrNotFound.
func (m *Mail) Get(id kairos.ID) (*Message, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	msg, ok := m.byID[id]
	if !ok {
		return nil, fmt.Errorf("get message %s: %w", id, kairos.ErrNotFound)
	}
	return msg, nil
}

// MailQuery selects messages. The zero value is the newest 50.
type MailQuery struct {
	// To keeps messages with this envelope recipient, in upper or lower case. A
	// whole address has to match whole; a text without @ may stand anywhere.
	To string
	// Before continues after the last message of a page: older ones only.
	Before kairos.ID
	// Limit is the size of a page; 0: 50.
	Limit int
}

// List returns messages, the newest first.
func (m *Mail) List(q MailQuery) []*Message {
	if q.Limit <= 0 {
		q.Limit = 50
	}
	to := strings.ToLower(q.To)
	m.mu.RLock()
	defer m.mu.RUnlock()
	end := len(m.kept)
	if !q.Before.IsZero() {
		last, ok := m.byID[q.Before]
		if !ok {
			return nil // dropped by now, and so is all that is older
		}
		end = int(last.seq - m.kept[0].seq)
	}
	var page []*Message
	for i := end - 1; i >= 0 && len(page) < q.Limit; i-- {
		if m.kept[i].sentTo(to) {
			page = append(page, m.kept[i])
		}
	}
	return page
}

// Count returns how many messages are kept and how many ever came.
func (m *Mail) Count() (kept int, received int64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.kept), m.received
}

// Clear drops all messages.
func (m *Mail) Clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept, m.bytes = nil, 0
	clear(m.byID)
}

// mailSession is one SMTP connection.
type mailSession struct {
	mail *Mail
	from string
	to   []string
}

func (s *mailSession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *mailSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *mailSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err // go-smtp's own answer: too large, or the connection broke
	}
	s.mail.Deliver(s.from, s.to, raw)
	return nil
}

func (s *mailSession) Reset() { s.from, s.to = "", nil }

func (s *mailSession) Logout() error { return nil }
