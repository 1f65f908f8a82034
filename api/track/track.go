// Package track is the public door of the journey: opens, clicks, page events,
// preferences and unsubscriptions, by browsers and mail programs without a key.
//
// Takes: requests whose path holds a sealed token.
//
// Gives: the pixel, the redirect, the preference page, the snippet; hits in
// the spool.
//
// Owns: nothing; the spool's directory belongs to internal/spool.
//
// Promises: no answer needs a database. Opens and clicks are always answered,
// in 50 ms at the 99th percentile even while the disk is slow, full or gone;
// what the spool refused is counted as dropped. Page events and
// unsubscriptions are acknowledged only when they are on disk. A token that is
// not ours gets 404 with a constant body and stores nothing; no parameter of
// the request ever chooses where a redirect leads. Neither an address nor a
// query string of a request is kept.
//
// Fails: 404 for tokens, 400 for bodies, 413 for long ones, 503 when a hit that
// must be kept can't be.
//
// A Collector is a whole http.Handler. Lane puts a shorter way for opens and
// clicks in front of the server that runs it.
package track

import (
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kairos"
	"kairos/internal/spool"
	"kairos/internal/token"
)

// Options of the collector. Keyring and Spool are needed.
type Options struct {
	Keyring *token.Keyring
	Spool   *spool.Spool
	Clock   kairos.Clock // nil: the system's

	// PublicURL is the base of the links in messages. Where it has a path, as
	// behind a proxy that gives Kairos a folder of a site, requests are
	// understood with and without it. May be empty.
	PublicURL string

	// OnUnsubscribe is told of an unsubscription after it is on disk, so that
	// it holds at once and not only when the spool has been shipped. Its
	// failure is logged and changes nothing: the spool's copy follows. nil: nobody.
	OnUnsubscribe func(ctx context.Context, campaign, notification kairos.ID) error

	// Patience is how long an open or a click waits for the disk before it is
	// answered all the same; it still goes to disk with the next write.
	// Default 40 ms.
	Patience time.Duration
	// LongPatience is how long one in a hundred of them may wait, so that a
	// hiccup of the disk costs no certainty. Default 500 ms.
	LongPatience time.Duration
	// Wait is how long a page event or an unsubscription waits for the disk
	// before it gets 503. Default 5 s.
	Wait time.Duration
	// Sockets is how many WebSockets may be open at once; more get 503.
	// Default 1,000.
	Sockets int
	// SocketIdle ends a WebSocket that has sent no event for so long. Default 2 min.
	SocketIdle time.Duration

	Logger *slog.Logger // nil: discarded
}

// Validate names the first option that makes no sense.
func (o Options) Validate() error {
	switch {
	case o.Keyring == nil:
		return kairos.Invalid("track.keyring", "is missing")
	case o.Spool == nil:
		return kairos.Invalid("track.spool", "is missing")
	case o.Patience < 0 || o.LongPatience < 0 || o.Wait < 0 || o.SocketIdle < 0:
		return kairos.Invalid("track.patience", "or another wait is negative")
	case o.Sockets < 0:
		return kairos.Invalid("track.sockets", "is negative")
	}
	if _, err := url.Parse(o.PublicURL); err != nil {
		return kairos.Invalid("track.public_url", "is no URL")
	}
	return nil
}

// Collector answers the public paths. Safe for concurrent use.
type Collector struct {
	opts   Options
	prefix string // path of PublicURL without a slash at its end

	visits  sync.Pool    // of *visit
	credit  atomic.Int64 // hundredths of a long wait, see offer.go
	sockets atomic.Int64 // open
}

// New returns the collector.
func New(opts Options) (*Collector, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.Clock == nil {
		opts.Clock = kairos.SystemClock{}
	}
	if opts.Patience == 0 {
		opts.Patience = 40 * time.Millisecond
	}
	if opts.LongPatience == 0 {
		opts.LongPatience = 500 * time.Millisecond
	}
	if opts.Wait == 0 {
		opts.Wait = 5 * time.Second
	}
	if opts.Sockets == 0 {
		opts.Sockets = 1000
	}
	if opts.SocketIdle == 0 {
		opts.SocketIdle = 2 * time.Minute
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Collector{opts: opts}
	if u, err := url.Parse(opts.PublicURL); err == nil {
		c.prefix = strings.TrimRight(u.Path, "/")
	}
	c.visits.New = func() any { return newVisit() }
	return c, nil
}

// OpenToken reads the campaign and the notification of a page's token.
func (c *Collector) OpenToken(s string) (campaign, notification kairos.ID, err error) {
	claims, err := c.pageClaims(s)
	return claims.Campaign, claims.Notification, err
}

// pageClaims opens a kt token, or the click's own, which says the same.
func (c *Collector) pageClaims(s string) (token.Claims, error) {
	claims, err := c.opts.Keyring.Open(token.PurposeTrack, s)
	if err != nil {
		claims, err = c.opts.Keyring.Open(token.PurposeClick, s)
	}
	return claims, err
}
