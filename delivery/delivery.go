// Package delivery is the third stage: planned notifications are handed to a
// provider, once.
//
// Takes: batches of planned notifications (kinds delivery.send and
// delivery.send_first), and what happened to messages afterwards: the event
// log, unsubscriptions, an operator's choices.
// Gives: messages to a Provider, events of what became of them, and answers
// about notifications, attempts, progress and unknowns.
// Owns: the tables attempts and suppressions, and the outcome columns of
// notifications (state, reason, done_at, and batch on a retry); delivery_state,
// watermarks and freezes, which hold sending back after a restore.
// Promises: an attempt is committed as "sending" before its first byte leaves
// and at most one attempt of a notification is live, so nobody is written to
// twice by us; every notification of a finished batch has an outcome or a new
// batch, so nobody is forgotten; after an unsubscription has been answered no
// attempt begins; what can't be known is called unknown.
// Fails: with wrapped Postgres errors. A provider's failures are outcomes, not
// errors. An attempt whose result can't be written stays "sending" and becomes
// unknown.
package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/token"
)

// Options of the stage. Providers, Keyring, PublicURL and From are needed; the
// zero value of everything else is usable.
type Options struct {
	Providers []Provider     // in the order of failover; those of a channel form its route
	Keyring   *token.Keyring // seals the links of messages
	PublicURL string         // base of these links: https://go.example.com
	From      Address        // the sender
	ReplyTo   Address        // none: replies go to From

	// BounceDomain receives bounces: the envelope sender becomes
	// bounce+<attempt>@BounceDomain. "": the envelope sender is From.
	BounceDomain string

	// Window bounds the attempts in flight of one process towards a provider
	// that takes one message a call, and so the unknowns that a kill can
	// leave. Default MaxFlight, at least the provider's concurrency. Below it
	// the bound is what the provider answers in 200 ms, at least MinFlight; see
	// InFlight. A batch provider's bound is its concurrency times its batch.
	Window int

	MaxTries   int           // refusals for now before a message fails; default 8
	UnknownAge time.Duration // after which an unknown marketing message is abandoned; default 72h

	Owner string        // names this process; default host, pid and a random part
	Lease time.Duration // of a batch; default batch.Lease
	Turn  time.Duration // machine time that a batch is sent at a stretch while others wait for a worker; default 10s
	Grace time.Duration // for writing results after a stop; default 20s

	Log *slog.Logger // for what an operator should see; default slog.Default()
}

// Validate names the first option that makes no sense.
func (o *Options) Validate() error {
	if o.Keyring == nil {
		return kairos.Invalid("keyring", "is missing")
	}
	u, err := url.Parse(o.PublicURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return kairos.Invalid("public_url", "must be the http or https base of the links in messages")
	}
	if at := strings.LastIndexByte(o.From.Email, '@'); at < 1 || at == len(o.From.Email)-1 {
		return kairos.Invalid("from", "must be an address such as news@example.com")
	}
	if strings.ContainsAny(o.BounceDomain, "@ \r\n<>") {
		return kairos.Invalid("bounce_domain", "must be a domain name")
	}
	names := map[string]bool{}
	for _, p := range o.Providers {
		if names[p.Name()] {
			return kairos.Invalid("providers", "must not hold %s twice", p.Name())
		}
		names[p.Name()] = true
	}
	return nil
}

// Delivery is the stage. Safe for concurrent use.
type Delivery struct {
	pool   *pgxpool.Pool
	clock  kairos.Clock
	opts   Options
	base   string // PublicURL without a slash at its end
	domain string // of From
	routes map[kairos.Channel][]*route

	contents templates
	tide     atomic.Pointer[tide] // nil: the database isn't watched

	ticks struct {
		sync.Mutex
		n        int64     // calls of Reconcile so far
		swept    bool      // cancelled batches of all ages have been looked at
		lastHeal time.Time // machine time
		lastWarn time.Time // machine time
	}
}

// New returns the stage on a pool.
func New(pool *pgxpool.Pool, clock kairos.Clock, opts Options) (*Delivery, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("configure delivery: %w", err)
	}
	if opts.Window <= 0 {
		opts.Window = MaxFlight
	}
	if opts.MaxTries <= 0 {
		opts.MaxTries = 8
	}
	if opts.UnknownAge <= 0 {
		opts.UnknownAge = 72 * time.Hour
	}
	if opts.Lease <= 0 {
		opts.Lease = batch.Lease
	}
	if opts.Turn <= 0 {
		opts.Turn = 10 * time.Second
	}
	if opts.Grace <= 0 {
		opts.Grace = 20 * time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	opts.Log = opts.Log.With("stage", "delivery")
	if opts.Owner == "" {
		host, _ := os.Hostname() // an empty name is unique enough beside the random part
		opts.Owner = fmt.Sprintf("%s:%d:%s", host, os.Getpid(), kairos.NewID().String()[24:])
	}
	d := &Delivery{
		pool: pool, clock: clock, opts: opts,
		base:   strings.TrimRight(opts.PublicURL, "/"),
		domain: opts.From.Email[strings.LastIndexByte(opts.From.Email, '@')+1:],
		routes: map[kairos.Channel][]*route{},
	}
	for _, p := range opts.Providers {
		d.routes[p.Channel()] = append(d.routes[p.Channel()], newRoute(p, opts.Window))
	}
	return d, nil
}

// Close closes the providers.
func (d *Delivery) Close() error {
	var errs []error
	for _, p := range d.opts.Providers {
		if err := p.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close provider %s: %w", p.Name(), err))
		}
	}
	return errors.Join(errs...)
}

// hopeless reports whether Postgres refuses the statement itself (its data, a
// constraint, its text): no repetition can mend that.
func hopeless(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) < 2 {
		return false
	}
	class := pgErr.Code[:2]
	return class == "22" || class == "23" || class == "42"
}

// retrying runs fn until it succeeds, backing off between tries, for as long
// as the process may: until Grace has passed since ctx ended. Each try has
// ten seconds. What is hopeless ends at once.
func (d *Delivery) retrying(ctx context.Context, fn func(ctx context.Context) error) error {
	pause := 50 * time.Millisecond
	var deadline time.Time
	for {
		try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		err := fn(try)
		cancel()
		if err == nil || hopeless(err) {
			return err
		}
		if ctx.Err() != nil {
			if deadline.IsZero() {
				deadline = time.Now().Add(d.opts.Grace)
			} else if time.Now().After(deadline) {
				return err
			}
			time.Sleep(pause) // the context has ended already; the deadline bounds this
		} else {
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
		pause = min(2*pause, 2*time.Second)
	}
}
