package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"kairos"
	"kairos/delivery"
)

// Options of the provider. Only URL has no usable zero value.
type Options struct {
	// URL names the relay: smtp://user:pass@host:port?connections=10&tls=auto,
	// or smtps:// for TLS from the first byte. Parameters:
	//   connections  at most this many at once, default 10
	//   chunking     auto (messages go out several at once where the server offers
	//                CHUNKING and PIPELINING; default), off
	//   tls          auto (STARTTLS where the server offers it; default),
	//                required, implicit (as smtps), off
	// A password goes over an encrypted connection or to this machine only,
	// unless tls is off.
	URL string
	// DKIM signs each message. Nil: the relay does it.
	DKIM *DKIM
	// HelloName introduces this machine; default its host name.
	HelloName string
	// TLS verifies the server; default: its host name, the system's roots.
	TLS *tls.Config

	DialTimeout    time.Duration // until the greeting; default 10 s
	CommandTimeout time.Duration // for each reply before the message; default 30 s
	DataTimeout    time.Duration // for the message and the reply to it; default 60 s
	IdleTimeout    time.Duration // a connection unused for longer is closed; default 20 s
	MaxMessages    int           // over one connection; default 500
	Batch          int           // messages in one call; default 1
	Chain          int           // messages that go out one after another in one call; default 16
	LockStep       bool          // wait for each reply even where the server offers PIPELINING
}

// Provider hands messages to one SMTP relay.
type Provider struct {
	opts     Options
	relay    relay
	signer   *signer
	composer Composer
	pool     *pool
	buffers  sync.Pool // *[]byte

	distrust   time.Duration
	distrusted atomic.Int64 // Unix time in ns until which CHUNKING isn't used
}

// relay is what the URL says.
type relay struct {
	host, addr     string
	user, password string
	mode           string // auto, required, implicit, off
	connections    int
	chunking       bool
}

// New checks the options; it doesn't connect. Errors never hold the password.
func New(opts Options) (*Provider, error) {
	r, err := parseURL(opts.URL)
	if err != nil {
		return nil, fmt.Errorf("read SMTP URL: %w", err)
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&opts.DialTimeout, 10*time.Second)
	def(&opts.CommandTimeout, 30*time.Second)
	def(&opts.DataTimeout, 60*time.Second)
	def(&opts.IdleTimeout, 20*time.Second)
	if opts.MaxMessages <= 0 {
		opts.MaxMessages = 500
	}
	if opts.Batch <= 0 {
		opts.Batch = 1
	}
	if opts.Chain <= 0 {
		opts.Chain = 16
	}
	if opts.HelloName == "" {
		if opts.HelloName, err = os.Hostname(); err != nil || !isHost(opts.HelloName) {
			opts.HelloName = "localhost"
		}
	}
	if !isHost(opts.HelloName) {
		return nil, kairos.Invalid("hello_name", "is not a host name")
	}
	p := &Provider{opts: opts, relay: r, distrust: distrustFor}
	if opts.DKIM != nil {
		if p.signer, err = newSigner(opts.DKIM); err != nil {
			return nil, fmt.Errorf("read DKIM options: %w", err)
		}
	}
	p.pool = newPool(r.connections, opts.IdleTimeout, p.dial)
	p.buffers.New = func() any { b := make([]byte, 0, 16<<10); return &b }
	return p, nil
}

func parseURL(s string) (relay, error) {
	u, err := url.Parse(s)
	if err != nil {
		return relay{}, errors.New("is not a URL") // url's own error quotes the password
	}
	r := relay{host: u.Hostname(), mode: "auto", connections: 10, chunking: true}
	port := u.Port()
	switch u.Scheme {
	case "smtp":
	case "smtps":
		r.mode = "implicit"
	default:
		return r, errors.New("must begin with smtp:// or smtps://")
	}
	if r.host == "" || u.Path != "" && u.Path != "/" {
		return r, errors.New("must have the form smtp://user:pass@host:port")
	}
	for name, values := range u.Query() {
		v := values[len(values)-1]
		switch name {
		case "connections":
			if r.connections, err = strconv.Atoi(v); err != nil || r.connections < 1 || r.connections > 1000 {
				return r, errors.New("connections must lie between 1 and 1000")
			}
		case "chunking":
			if v != "auto" && v != "off" {
				return r, errors.New("chunking must be auto or off")
			}
			r.chunking = v == "auto"
		case "tls":
			switch v {
			case "auto", "required", "implicit", "off":
				r.mode = v
			default:
				return r, errors.New("tls must be auto, required, implicit or off")
			}
		default:
			return r, errors.New("has an unknown parameter")
		}
	}
	if port == "" {
		port = map[bool]string{true: "465", false: "587"}[r.mode == "implicit"]
	}
	r.addr = net.JoinHostPort(r.host, port)
	if u.User != nil {
		r.user = u.User.Username()
		r.password, _ = u.User.Password()
	}
	return r, nil
}

// Name returns "smtp".
func (p *Provider) Name() string { return "smtp" }

// Channel returns kairos.Email.
func (p *Provider) Channel() kairos.Channel { return kairos.Email }

// Limits follow from the options.
func (p *Provider) Limits() delivery.Limits {
	return delivery.Limits{
		Batch:       p.opts.Batch,
		Chain:       p.opts.Chain,
		Concurrency: p.relay.connections,
		Timeout:     p.opts.DialTimeout + 4*p.opts.CommandTimeout + p.opts.DataTimeout,
	}
}

// Close ends idle connections; those in use end with their call.
func (p *Provider) Close() error {
	p.pool.close()
	return nil
}

// letter is one composed message of a call.
type letter struct {
	from, to string
	size     int
	body     []byte // dot-stuffed, without the final dot
	result   *delivery.Result
}

// Send implements delivery.Provider. Any number of messages may be given; they
// travel over one connection, each after the answer to the one before.
func (p *Provider) Send(ctx context.Context, msgs []*delivery.Message) []delivery.Result {
	results := make([]delivery.Result, len(msgs))
	buf := p.buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= 1<<20 {
			p.buffers.Put(buf)
		}
	}()
	var one [1]letter
	letters := one[:0]
	bodies := (*buf)[:0]
	for i, m := range msgs {
		l := letter{result: &results[i]}
		start := len(bodies)
		var err error
		if bodies, err = p.compose(bodies, m, &l); err != nil {
			results[i] = Unwritable(err)
			continue
		}
		// A later message may move the buffer; this one's bytes stay as they are.
		end := len(bodies)
		bodies = slices.Grow(bodies, room)[:end+room]
		l.body = bodies[start:end:len(bodies)]
		letters = append(letters, l)
	}
	*buf = bodies
	p.deliver(ctx, letters)
	return results
}

// room is left behind each message for the commands of the next one, so that
// both go out in one write without a copy.
const room = 768

// compose writes one message at the end of dst.
func (p *Provider) compose(dst []byte, m *delivery.Message, l *letter) (_ []byte, err error) {
	if l.to, err = CleanAddress("to", m.To.Email); err != nil {
		return dst, err
	}
	from, field := m.ReturnPath, "return_path"
	if from == "" {
		from, field = m.From.Email, "from"
	}
	if l.from, err = CleanAddress(field, from); err != nil {
		return dst, err
	}
	start := len(dst)
	out, err := p.composer.AppendMessage(dst, m)
	if err != nil {
		return dst, err
	}
	if p.signer != nil {
		if out, err = p.signer.sign(out, start); err != nil {
			return dst, err
		}
	}
	out = append(out, dot...) // no line of ours begins with a dot, see appendQuoted
	l.size = len(out) - start
	return out, nil
}

// Unwritable is the result for a message that can't be composed.
func Unwritable(err error) delivery.Result {
	var field *kairos.FieldError
	if !errors.As(err, &field) {
		return delivery.Result{Outcome: delivery.NotSent, Detail: "message can't be signed"}
	}
	return delivery.Result{Outcome: delivery.RejectedPerm, Detail: field.Error(), BadAddress: field.Field == "to"}
}

// deliver sends the letters in order. A connection that breaks between two
// messages is replaced once it has made progress; nothing is sent twice. After
// the second message without an answer no further one begins.
func (p *Provider) deliver(ctx context.Context, letters []letter) {
	silent := 0
	for len(letters) > 0 {
		c, err := p.pool.get(ctx)
		if err != nil {
			r := notSent(err)
			for i := range letters {
				*letters[i].result = r
			}
			return
		}
		reused := c.messages > 0
		n, err := c.send(ctx, letters)
		p.pool.put(c, c.broken || c.messages >= p.opts.MaxMessages)
		if err == nil {
			letters = letters[n:]
			continue
		}
		for i := range letters[:n] {
			if letters[i].result.Outcome == delivery.Unknown {
				silent++
			}
		}
		letters = letters[n:]
		if silent > 1 && len(letters) > 0 {
			notBegun(letters)
			return
		}
		// A kept connection that was closed behind our back has taken nothing.
		if n == 0 && !(reused && errors.Is(err, errStale)) {
			r := notSent(err)
			for i := range letters {
				*letters[i].result = r
			}
			return
		}
	}
}
