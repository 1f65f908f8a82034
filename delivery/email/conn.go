package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

// errStale: a kept connection was closed by the server before it answered.
var errStale = errors.New("connection was closed while idle")

// conn is one connection to the relay, used by one call at a time.
type conn struct {
	p        *Provider
	raw      net.Conn     // deadlines; writes too when there is no TLS
	client   *smtp.Client // greeting, EHLO, STARTTLS and AUTH
	text     *textproto.Conn
	secure   bool
	pipeline bool
	chunking bool
	limit    int // bytes of a message; 0: unknown
	messages int // transactions begun
	dirty    bool
	broken   bool
	used     time.Time
	out      []byte
	room     [2 * maxGroup][]byte // of pieces
	pieces   net.Buffers          // under way
}

// dial connects, introduces itself, encrypts and authenticates.
func (p *Provider) dial(ctx context.Context) (_ *conn, err error) {
	deadline := time.Now().Add(p.opts.DialTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	dialer := net.Dialer{Deadline: deadline}
	raw, err := dialer.DialContext(ctx, "tcp", p.relay.addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			_ = raw.Close()
		}
	}()
	if err := raw.SetDeadline(deadline); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err // ended before the deadline above was set
	}
	c := &conn{p: p, raw: raw}
	wire := raw
	if p.relay.mode == "implicit" {
		wire, c.secure = tls.Client(raw, p.tlsConfig()), true
	}
	if c.client, err = smtp.NewClient(wire, p.relay.host); err != nil {
		return nil, fmt.Errorf("greet: %w", err)
	}
	if err := c.client.Hello(p.opts.HelloName); err != nil {
		return nil, fmt.Errorf("greet: %w", err)
	}
	if err := c.encrypt(); err != nil {
		return nil, err
	}
	if err := c.authenticate(); err != nil {
		return nil, err
	}
	c.text = c.client.Text
	c.pipeline, _ = c.client.Extension("PIPELINING")
	c.pipeline = c.pipeline && !p.opts.LockStep
	c.chunking, _ = c.client.Extension("CHUNKING")
	c.chunking = c.chunking && c.pipeline && p.relay.chunking
	if ok, size := c.client.Extension("SIZE"); ok {
		c.limit, _ = strconv.Atoi(size)
	}
	c.used = time.Now()
	return c, nil
}

func (p *Provider) tlsConfig() *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.opts.TLS != nil {
		cfg = p.opts.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = p.relay.host
	}
	return cfg
}

func (c *conn) encrypt() error {
	mode := c.p.relay.mode
	if c.secure || mode == "off" {
		return nil
	}
	if ok, _ := c.client.Extension("STARTTLS"); !ok {
		if mode == "required" {
			return errors.New("encrypt: the server offers no STARTTLS")
		}
		return nil
	}
	if err := c.client.StartTLS(c.p.tlsConfig()); err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	c.secure = true
	return nil
}

func (c *conn) authenticate() error {
	r := c.p.relay
	if r.user == "" {
		return nil
	}
	_, offered := c.client.Extension("AUTH")
	mechanisms := strings.Fields(strings.ToUpper(offered))
	clear := r.mode == "off"
	var auth smtp.Auth
	for _, m := range mechanisms {
		if m == "PLAIN" {
			auth = smtp.PlainAuth("", r.user, r.password, r.host, clear)
			break
		}
		if m == "LOGIN" {
			auth = smtp.LoginAuth(r.user, r.password, r.host, clear)
		}
	}
	if auth == nil {
		return errors.New("authenticate: the server offers neither PLAIN nor LOGIN")
	}
	if err := c.client.Auth(auth); err != nil {
		return fmt.Errorf("authenticate: %w", err)
	}
	return nil
}

// write sends b in one call and returns how many bytes the kernel took. Under
// TLS that isn't known after an error; it then returns len(b), the safe answer.
func (c *conn) write(b []byte) (int, error) {
	if !c.secure {
		return c.raw.Write(b)
	}
	_, err := c.text.W.Write(b)
	if err == nil {
		err = c.text.W.Flush()
	}
	return len(b), err
}

// quit says good-bye without waiting and closes.
func (c *conn) quit() {
	_ = c.raw.SetDeadline(time.Now().Add(time.Second))
	if !c.broken {
		_, _ = c.write([]byte("QUIT\r\n"))
	}
	_ = c.raw.Close()
}
