// Package timing keeps the models of delivery time: it trains them on
// snapshots of the log, puts candidates on trial, lets people promote, reject
// and roll back, scores everybody's hours, and watches for drift.
//
// Takes: profiles and exposures (analysis folds them), journeys, the
// contacts' preferences, decisions of people.
// Gives: for orchestration the active model and the one on trial with
// everybody's hours, best first; for reports a Model with its verdict,
// pictures and figures.
// Owns: the tables exposures, timing_models, timing_decisions, timing_scores,
// timing_days, timing_state.
// Promises: same snapshot and seed, same model, bit for bit; no model is
// promoted without a person and a trial it passed; the chance that any verdict
// ever sees an effect where there is none is at most alpha, however often it
// is trained (each look has its own share, see docs/adr).
// Fails: a training that fails leaves everything as it was and raises an
// alarm (event model.failed); kairos.ErrNotFound, ErrConflict and ErrInvalid
// for decisions that cannot be taken.
package timing

import (
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
)

// Options tune the registry. The zero value is usable.
type Options struct {
	// Owner names this process in batches; unique among all that live.
	Owner string
	// Code is the version of this program, kept with each model.
	Code string
	// DefaultZone is used for contacts without a time zone. Default UTC.
	DefaultZone *time.Location
	// ResponseWindow is how long after sending a click counts as a response to
	// the moment; deliveries younger than it are not looked at, and those of one
	// person that lie closer together are dropped. Default 24 h.
	ResponseWindow time.Duration
	// History is how far back deliveries are learnt from. Default 180 days.
	History time.Duration
	// TrainEvery is the time between trainings. Default 7 days; negative: only
	// on request.
	TrainEvery time.Duration
	// CanaryShare is a candidate's share of the optimised arm while it is on
	// trial. Default 0.5.
	CanaryShare float64
	// Alpha bounds the chance that a verdict ever sees an effect where there is
	// none. Default 0.05.
	Alpha float64
	// Seed of all that is drawn in training. Default 1.
	Seed uint64
	// Log hears what nobody else does. Default: discarded.
	Log *slog.Logger
}

// Registry keeps the models. Safe for concurrent use.
type Registry struct {
	pool  *pgxpool.Pool
	clock kairos.Clock
	opts  Options
	chunk int // people scored at a time

	mu   sync.Mutex
	last map[string]time.Time // when Watch last did what, in domain time
}

// New makes the registry on a pool of internal/pg.
func New(pool *pgxpool.Pool, clock kairos.Clock, opts Options) *Registry {
	if opts.Owner == "" {
		opts.Owner = "timing-" + kairos.NewID().String()
	}
	if opts.DefaultZone == nil {
		opts.DefaultZone = time.UTC
	}
	if opts.ResponseWindow <= 0 {
		opts.ResponseWindow = 24 * time.Hour
	}
	if opts.History <= 0 {
		opts.History = 180 * 24 * time.Hour
	}
	if opts.TrainEvery == 0 {
		opts.TrainEvery = 7 * 24 * time.Hour
	}
	if opts.CanaryShare <= 0 || opts.CanaryShare >= 1 {
		opts.CanaryShare = 0.5
	}
	if opts.Alpha <= 0 {
		opts.Alpha = 0.05
	}
	if opts.Seed == 0 {
		opts.Seed = 1
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Registry{pool: pool, clock: clock, opts: opts, chunk: scoreChunk, last: map[string]time.Time{}}
}

// States of a model.
const (
	Training  = "training"  // the run has not ended
	Failed    = "failed"    // the run ended with an error; nothing changed
	Candidate = "candidate" // good enough for a trial; another one is on trial now
	OnTrial   = "canary"    // receives a share of the optimised arm
	Active    = "active"    // plans the optimised arm
	Retired   = "retired"   // was active
	Rejected  = "rejected"  // never will be: verdict, trial or a person said so
)
