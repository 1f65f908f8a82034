// Package track is the public door of the journey: opens, clicks, page events,
// preferences and unsubscriptions, by browsers and mail programs without a key.
//
// Takes: requests whose path holds a sealed token.
// Gives: the pixel, the redirect, the preference page, the snippet; hits in
// the spool.
// Owns: nothing; the spool's directory belongs to internal/spool.
// Promises: no answer needs a database: opens and clicks are answered even
// when the spool can't write (counted as dropped), page events and
// unsubscriptions are acknowledged only when they are on disk. A token that is
// not ours gets 404 with a constant body and stores nothing; no parameter of
// the request ever chooses where a redirect leads.
// Fails: 404 for tokens, 400 for bodies, 413 for long ones, 503 when a hit that
// must be kept can't be.
package track

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"kairos"
	"kairos/internal/spool"
	"kairos/internal/token"
)

// Options of the collector. Keyring and Spool are needed.
type Options struct {
	Keyring   *token.Keyring
	Spool     *spool.Spool
	Clock     kairos.Clock // nil: the system's
	PublicURL string       // base of this door as the world sees it

	// OnUnsubscribe is told of an unsubscription after it is on disk, so that
	// it holds at once and not only when the spool has been shipped. Its
	// failure is logged and changes nothing: the spool's copy follows. nil: nobody.
	OnUnsubscribe func(ctx context.Context, campaign, notification kairos.ID) error

	// Patience is how long an open or a click waits for the disk before it is
	// answered all the same. Default 500 ms.
	Patience time.Duration
	Logger   *slog.Logger // nil: discarded
}

// Collector answers the public paths.
type Collector struct {
	opts   Options
	router *chi.Mux
}

// New returns the collector.
func New(opts Options) (*Collector, error) {
	if opts.Keyring == nil || opts.Spool == nil {
		return nil, kairos.Invalid("track", "needs a keyring and a spool")
	}
	if opts.Clock == nil {
		opts.Clock = kairos.SystemClock{}
	}
	if opts.Patience <= 0 {
		opts.Patience = 500 * time.Millisecond
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Collector{opts: opts, router: chi.NewRouter()}
	r := c.router
	r.Get("/o/{token}", c.open)
	r.Head("/o/{token}", c.open)
	r.Get("/c/{token}", c.click)
	r.Head("/c/{token}", c.click)
	r.Get("/u/{token}", c.preferencePage)
	r.Post("/u/{token}", c.preferences)
	r.Get("/t/ws", c.socket)
	r.Post("/t/{token}", c.page)
	r.Options("/t/{token}", preflight)
	r.Get("/k.js", snippet)
	r.NotFound(notFound)
	r.MethodNotAllowed(notAllowed)
	return c, nil
}

// ServeHTTP implements http.Handler.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.router.ServeHTTP(w, r) }

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

// pixel is the smallest transparent GIF, 1 by 1.
var pixel = []byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x21\xf9\x04\x01\x00\x00\x00\x00\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b")

func (c *Collector) open(w http.ResponseWriter, r *http.Request) {
	claims, err := c.opts.Keyring.Open(token.PurposeOpen, strings.TrimSuffix(chi.URLParam(r, "token"), ".gif"))
	if err != nil {
		notFound(w, r)
		return
	}
	c.keepIfPossible(r, claims, kairos.NotificationOpened, nil)
	h := w.Header()
	h.Set("Content-Type", "image/gif")
	h.Set("Content-Length", strconv.Itoa(len(pixel)))
	h.Set("Cache-Control", "no-store, max-age=0")
	if r.Method != http.MethodHead {
		_, _ = w.Write(pixel) // a reader that has gone is no failure
	}
}

func (c *Collector) click(w http.ResponseWriter, r *http.Request) {
	claims, err := c.opts.Keyring.Open(token.PurposeClick, chi.URLParam(r, "token"))
	if err != nil || claims.Destination == "" {
		notFound(w, r)
		return
	}
	c.keepIfPossible(r, claims, kairos.NotificationClicked, map[string]any{
		"link": claims.Link, "url": destinationOnly(claims.Destination),
	})
	h := w.Header()
	h.Set("Location", withToken(claims.Destination, c.opts.Keyring.Mint(claims.Track())))
	h.Set("Cache-Control", "no-store, max-age=0")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusFound)
}

// keepIfPossible spools an open or a click; one that can't be is counted.
func (c *Collector) keepIfPossible(r *http.Request, claims token.Claims, kind string, data map[string]any) {
	if machine := machine(r); machine != "" {
		if data == nil {
			data = map[string]any{}
		}
		data["machine"] = machine
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), c.opts.Patience)
	defer cancel()
	if _, err := c.keep(ctx, claims, kairos.Hit{Event: kairos.Event{Kind: kind}}, data); err != nil {
		c.opts.Spool.CountDropped(1)
	}
}

// keep completes a hit and returns when it is on disk.
func (c *Collector) keep(ctx context.Context, claims token.Claims, hit kairos.Hit, data map[string]any) (kairos.ID, error) {
	e := &hit.Event
	e.ID, e.Version, e.OccurredAt = kairos.NewID(), 1, c.opts.Clock.Now()
	e.Campaign, e.Notification = claims.Campaign, claims.Notification
	if len(data) > 0 {
		raw, err := json.Marshal(data)
		if err != nil {
			return e.ID, kairos.Invalid("data", "can't be written as JSON")
		}
		e.Data = raw
	}
	payload, err := json.Marshal(hit)
	if err != nil {
		return e.ID, kairos.Invalid("event", "can't be written as JSON")
	}
	return e.ID, c.opts.Spool.Append(ctx, e.ID, payload)
}

// withToken adds the page's token to a destination and leaves the rest as its
// author wrote it.
func withToken(destination, kt string) string {
	rest, fragment, hashed := strings.Cut(destination, "#")
	sep := "?"
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		sep = "&"
		if i == len(rest)-1 {
			sep = ""
		}
	}
	out := rest + sep + "kt=" + kt
	if hashed {
		out += "#" + fragment
	}
	return out
}

// destinationOnly is a destination for the log: without its query, which may
// hold what belongs to the person.
func destinationOnly(destination string) string {
	u, err := url.Parse(destination)
	if err != nil {
		return ""
	}
	u.RawQuery, u.Fragment = "", ""
	return u.String()
}

// notFound tells nothing: the same bytes for every token that is not ours.
func notFound(w http.ResponseWriter, _ *http.Request) {
	problem(w, http.StatusNotFound, "There is nothing here.")
}

func notAllowed(w http.ResponseWriter, _ *http.Request) {
	problem(w, http.StatusMethodNotAllowed, "This address does not take that method.")
}

// problem answers in the form of RFC 9457.
func problem(w http.ResponseWriter, status int, detail string) {
	body, _ := json.Marshal(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail})
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// refuse turns an error of a page event into its answer.
func refuse(w http.ResponseWriter, err error) {
	var field *kairos.FieldError
	if errors.As(err, &field) {
		problem(w, http.StatusBadRequest, field.Error())
		return
	}
	w.Header().Set("Retry-After", "5")
	problem(w, http.StatusServiceUnavailable, "The event could not be stored. Send it again.")
}
