// Package analysis is the fourth stage: it turns the event log into funnels
// and returns on investment.
//
// Takes: what collectors spooled (Ship), what clients report (Record), and
// the event log that all stages write.
// Gives: the funnel, ROI and timing reports and their CSV, the log's events page by
// page, by person and live, and posted to those who subscribed; each person's activity
// by local hour, for the models of delivery time.
// Owns: the tables journeys, actions, rollups, arms, revenue, conversions,
// profiles, subscriptions, subscription_deliveries.
// Promises: every event counts once, whatever is repeated or killed; the
// reports depend on the set of events alone, never on the order in which they
// came; a rebuild by replay gives the same rows.
//
// The fold has a share of the machine, not all of it (pause.go): while the
// reports are within Options.Lag of the log it rests after each transaction, twice
// as long as it worked when it is right behind the log, less the further behind
// it is, and not at all beyond the bound; so it can neither starve those who send
// nor be starved. A transaction takes in at most Options.Chunk events. What several
// events of a chunk say of one message is written once: messages new to the fold are
// copied, others updated in one statement that leaves all indexes alone.
//
// Fails: with wrapped Postgres errors; kairos.ErrNotFound for an unknown
// campaign; input is refused per item with kairos.ErrInvalid. The fold never
// fails on an event's content: what makes no sense stays in the log uncounted.
package analysis

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
	"kairos/internal/outbound"
)

// Options tune the stage. The zero value is usable.
type Options struct {
	// Owner names this process in batches; unique among all that live.
	// Default: a fresh id.
	Owner string
	// FastClick: a click this close to the message's sending is a machine's.
	// Default 250 ms: a mail can hardly be read sooner. Negative turns the rule off.
	FastClick time.Duration
	// Burst: three distinct links (or both of a message that has two) clicked
	// within it are a machine's clicks. Default 2 s; negative turns the rule off.
	Burst time.Duration
	// Confirming names the providers that report deliveries themselves. For
	// all others "accepted and not bounced" is delivered. Default: sendgrid.
	Confirming []string
	// Bucket: hits without a key of their own that are alike and fall into the
	// same span of this length are one event. Default 1 s.
	Bucket time.Duration
	// ResponseWindow is how long after one of our messages a person's activity
	// is taken for an answer to it, not for a rhythm of their own. Default 24 h.
	ResponseWindow time.Duration
	// DefaultZone is used for contacts without a time zone. Default UTC.
	DefaultZone *time.Location
	// MinLift is the smallest relative difference to the mean revenue that an
	// experiment must be able to see before it may say "no detectable
	// difference". Default 0.1.
	MinLift float64
	// Chunk is how many events are folded in one transaction. Default 5,000.
	Chunk int
	// Lag is how far the reports may be behind the log while the fold can choose:
	// within it, it rests between transactions and leaves the machine to those who
	// send and answer; beyond it, it works without a pause. Default 3 s; negative:
	// it never rests.
	Lag time.Duration
	// Turn is how long one fold task works before it lets others in. Default 10 s.
	Turn time.Duration
	// SealKey returns the 32-byte key with an id that seals the secrets of web
	// hooks, false where there is none; SealID is the one that seals new ones.
	// Without keys there are no subscriptions.
	SealKey func(id byte) (key []byte, ok bool)
	SealID  byte
	// Hooks bounds the calls of web hooks.
	Hooks outbound.Options
	// Patience: a web hook that has failed for so long is disabled. Default 72 h.
	Patience time.Duration
	// Log receives what nobody else hears of: quarantined records and waits
	// for the database. Default: discarded.
	Log *slog.Logger
}

// Analysis is the stage. Safe for concurrent use.
type Analysis struct {
	pool       *pgxpool.Pool
	clock      kairos.Clock
	opts       Options
	confirming map[string]bool
	hooks      *outbound.Client

	shipped, quarantined, unresolved atomic.Int64
}

// New makes the stage on a pool of internal/pg.
func New(pool *pgxpool.Pool, clock kairos.Clock, opts Options) *Analysis {
	if opts.Owner == "" {
		opts.Owner = "analysis-" + kairos.NewID().String()
	}
	if opts.FastClick == 0 {
		opts.FastClick = 250 * time.Millisecond
	}
	if opts.Burst == 0 {
		opts.Burst = 2 * time.Second
	}
	if opts.Confirming == nil {
		opts.Confirming = []string{"sendgrid"}
	}
	if opts.Bucket <= 0 {
		opts.Bucket = time.Second
	}
	if opts.ResponseWindow <= 0 {
		opts.ResponseWindow = 24 * time.Hour
	}
	if opts.DefaultZone == nil {
		opts.DefaultZone = time.UTC
	}
	if opts.MinLift <= 0 {
		opts.MinLift = 0.1
	}
	if opts.Chunk <= 0 {
		opts.Chunk = 5_000
	}
	if opts.Lag == 0 {
		opts.Lag = 3 * time.Second
	}
	if opts.Turn <= 0 {
		opts.Turn = 10 * time.Second
	}
	if opts.Patience <= 0 {
		opts.Patience = 72 * time.Hour
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	a := &Analysis{pool: pool, clock: clock, opts: opts, confirming: map[string]bool{}, hooks: outbound.NewClient(opts.Hooks)}
	for _, name := range opts.Confirming {
		a.confirming[name] = true
	}
	return a
}

// Stats counts what this process shipped since it started.
type Stats struct {
	Shipped     int64 // events new to the log
	Quarantined int64 // records that cannot be an event of the log
	Unresolved  int64 // hits whose message or person is unknown
}

// Stats returns the figures of this moment.
func (a *Analysis) Stats() Stats {
	return Stats{Shipped: a.shipped.Load(), Quarantined: a.quarantined.Load(), Unresolved: a.unresolved.Load()}
}
