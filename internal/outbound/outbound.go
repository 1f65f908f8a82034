// Package outbound calls HTTP servers whose addresses strangers chose.
//
// Takes: requests to addresses that somebody typed in, and the bounds of an
// answer.
// Gives: the status and the beginning of the body.
// Owns: its connections.
// Promises: no connection to this machine, to private, link-local or reserved
// networks, whatever the name resolves to and however the address is spelled:
// the resolved address itself is checked at the moment of the dial. No
// redirect is followed, no proxy of the environment is used, no more than
// Options.MaxBody is read, and the whole call ends within Options.Timeout.
// Fails: with ErrRefused, ErrTimeout, a kairos.FieldError for an address that
// is none, or the transport's error. None of them holds the URL.
package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

var (
	// ErrRefused reports an address that no request may go to.
	ErrRefused = errors.New("the address is private or reserved")
	// ErrTimeout reports an answer that was not complete in time.
	ErrTimeout = errors.New("no complete answer in time")
)

// Options of a client. The zero value is usable.
type Options struct {
	// AllowPrivate lets requests reach every address: for development and
	// tests. Scheme, spelling, redirects, proxies and bounds stay as they are.
	AllowPrivate bool
	// Timeout bounds a call from its start to the end of the answer. Default 10 s.
	Timeout time.Duration
	// MaxBody is how many bytes of an answer are read. Default 64 KiB.
	MaxBody int64
	// Resolver resolves names. Default: the system's.
	Resolver *net.Resolver
}

// Client makes the calls. Safe for concurrent use.
type Client struct {
	opts Options
	http *http.Client
}

// Response is what became of a request.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // its beginning, at most Options.MaxBody
}

// NewClient returns a client.
func NewClient(opts Options) *Client {
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.MaxBody <= 0 {
		opts.MaxBody = 64 << 10
	}
	dialer := &net.Dialer{Timeout: opts.Timeout, Resolver: opts.Resolver}
	if !opts.AllowPrivate {
		dialer.ControlContext = func(_ context.Context, network, address string, _ syscall.RawConn) error {
			return refuse(network, address)
		}
	}
	return &Client{opts: opts, http: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:       nil, // of the environment: it would dial for us, unchecked
			DialContext: dialer.DialContext, TLSHandshakeTimeout: opts.Timeout,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			MaxIdleConns:           64,
			MaxIdleConnsPerHost:    2,
			MaxConnsPerHost:        8,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			DisableCompression:     true,
		},
	}}
}

// CheckURL is the package's CheckURL under the client's options.
func (c *Client) CheckURL(raw string) error { return check(raw, c.opts.AllowPrivate) }

// Do sends a request and reads the beginning of its answer. An answer of any
// status is no error.
func (c *Client) Do(req *http.Request) (Response, error) {
	if err := c.CheckURL(req.URL.String()); err != nil {
		return Response{}, fmt.Errorf("call out: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(req.Context(), c.opts.Timeout, ErrTimeout)
	defer cancel()
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return Response{}, fmt.Errorf("call out: %w", cause(ctx, err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.opts.MaxBody))
	if err != nil {
		return Response{}, fmt.Errorf("read answer: %w", cause(ctx, err))
	}
	return Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// Close ends the connections that wait for the next request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// cause takes the URL out of an error and names what stands behind it.
func cause(ctx context.Context, err error) error {
	if errors.Is(err, ErrRefused) {
		return ErrRefused
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return ErrTimeout
	}
	return err
}
