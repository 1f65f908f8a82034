package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"kairos"
	"kairos/analysis"
	"kairos/analysis/timing"
	"kairos/api"
	"kairos/api/dashboard"
	"kairos/api/track"
	"kairos/creation"
	"kairos/delivery"
	"kairos/internal/devstack"
	"kairos/internal/eventlog"
	"kairos/internal/outbound"
	"kairos/internal/pg"
	"kairos/internal/queue"
	"kairos/internal/spool"
	"kairos/internal/token"
	"kairos/migrations"
	"kairos/orchestration"
)

// partitionsAhead is how many days of the log have their partition before they come.
const partitionsAhead = 14

// spoolSegment is a second of very dense hits: what is shipped again after a
// crash, and how finely the age of the oldest hit is known.
const spoolSegment = 4 << 20

// lastShipment is how long a stop waits for the spool to be empty.
const lastShipment = 3 * time.Second

// system is one running process of Kairos.
type system struct {
	settings settings
	roles    []string
	clock    kairos.Clock
	pool     *pgxpool.Pool
	stages   *stages
	queue    *queue.Queue
	spool    *spool.Spool
	listener net.Listener
	lane     *track.Lane // in front of the server, where this process collects
	server   *http.Server
	keyring  *token.Keyring
	keys     *api.Keys
	stopping chan struct{} // closed when streams should end
	local    bool          // kairos dev: serves this machine alone
	registry *prometheus.Registry
	closers  []func() error // last in, first out
}

// assemble builds a process: straight-line wiring, in the order of the
// dependencies. mail is the catcher of `kairos dev`, nil in production.
func assemble(ctx context.Context, s settings, roles []string, mail *devstack.Mail) (_ *system, err error) {
	p := &system{settings: s, roles: roles, registry: prometheus.NewRegistry(), stopping: make(chan struct{}), local: mail != nil}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.clock, err = s.clock(); err != nil {
		return nil, err
	}
	zone, err := time.LoadLocation(s.DefaultZone)
	if err != nil {
		return nil, fmt.Errorf("default zone %q is no IANA time zone", s.DefaultZone)
	}
	if p.keyring, err = s.keyring(); err != nil {
		return nil, err
	}
	if p.pool, err = pg.Open(ctx, s.DatabaseURL, pg.WithMaxConns(s.MaxConns)); err != nil {
		return nil, err
	}
	p.closing(func() error { p.pool.Close(); return nil })
	p.keys = api.NewKeys(p.pool, p.clock)
	if err := p.gate(ctx); err != nil {
		return nil, err
	}
	if p.listener, err = net.Listen("tcp", s.Listen); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	p.closing(func() error { return ignoreClosed(p.listener.Close()) })
	if p.settings.PublicURL == "" {
		p.settings.PublicURL = "http://" + p.listener.Addr().String()
	}

	host, _ := os.Hostname() // an empty name is unique enough beside pid and id
	owner := fmt.Sprintf("%s:%d:%s", host, os.Getpid(), kairos.NewID().String()[24:])
	providers, err := p.providers(mail)
	if err != nil {
		return nil, err
	}
	from, err := address("KAIROS_EMAIL_FROM", p.settings.EmailFrom)
	if err != nil {
		return nil, err
	}
	replyTo, err := address("KAIROS_EMAIL_REPLY_TO", p.settings.EmailReplyTo)
	if err != nil {
		return nil, err
	}
	p.stages = &stages{
		pool:          p.pool,
		creation:      creation.New(p.pool, p.clock, creation.Options{Owner: owner}),
		orchestration: orchestration.New(p.pool, p.clock, orchestration.Options{Owner: owner, DefaultZone: zone}),
		analysis:      analysis.New(p.pool, p.clock, p.analysisOptions(owner, zone)),
		timing: timing.New(p.pool, p.clock, timing.Options{
			Owner: owner, Code: version, DefaultZone: zone, ResponseWindow: s.ResponseWindow,
			TrainEvery: s.TrainEvery, CanaryShare: s.CanaryShare, Log: slog.Default(),
		}),
	}
	p.stages.delivery, err = delivery.New(p.pool, p.clock, delivery.Options{
		Providers: providers, Keyring: p.keyring, PublicURL: p.settings.PublicURL,
		From: from, ReplyTo: replyTo, BounceDomain: p.settings.BounceDomain, Owner: owner,
	})
	if err != nil {
		return nil, err
	}
	p.closing(p.stages.delivery.Close)
	if s.DataDir != "" { // before anything is sent: the database may have been restored from a backup
		if err := p.stages.delivery.Watch(ctx, s.DataDir); err != nil {
			return nil, err
		}
	}

	if p.queue, err = queue.Open(ctx, s.RedisURL, p.pool, p.clock, queue.Options{Grace: s.Grace, Observe: observe(p.registry)}); err != nil {
		return nil, err
	}
	p.closing(p.queue.Close)
	pipeline(p.queue, p.stages, roles)
	queue.Every(p.queue, time.Hour, "partitions", p.partitions)
	if p.has("api") {
		queue.Every(p.queue, time.Hour, "idempotency keys", func(ctx context.Context) error {
			_, err := api.PurgeIdempotency(ctx, p.pool)
			return err
		})
	}

	o := api.Options{
		Pool: p.pool, Clock: p.clock, Creation: p.stages.creation, Orchestration: p.stages.orchestration,
		Delivery: p.stages.delivery, Analysis: p.stages.analysis, Timing: p.stages.timing, PublicURL: p.settings.PublicURL,
		Ready: p.ready, Stopping: p.stopping, Logger: slog.Default(), Registerer: p.registry, Metrics: metricsHandler(p),
	}
	var door *track.Collector
	if p.has("track") || p.has("api") {
		if p.spool, err = spool.Open(spool.Options{Dir: p.spoolDir(), MaxAge: 250 * time.Millisecond, SegmentBytes: spoolSegment}); err != nil {
			return nil, err
		}
		p.closing(p.spool.Close)
		collector, err := track.New(track.Options{
			Keyring: p.keyring, Spool: p.spool, Clock: p.clock, PublicURL: p.settings.PublicURL,
			OnUnsubscribe: p.unsubscribe,
		})
		if err != nil {
			return nil, err
		}
		door, o.OpenToken = collector, collector.OpenToken
		if o.Webhooks, err = p.webhooks(); err != nil {
			return nil, err
		}
	}
	if p.has("api") {
		o.Dashboard, err = dashboard.New(dashboard.Options{
			Creation: p.stages.creation, Delivery: p.stages.delivery, Analysis: p.stages.analysis, Timing: p.stages.timing,
			Clock: p.clock, Mail: mail, Authenticate: p.authenticate(), SessionKey: p.sessionKey(),
		})
		if err != nil {
			return nil, err
		}
	}
	handler, err := p.handler(o, door)
	if err != nil {
		return nil, err
	}
	p.server = httpServer(handler)
	if door != nil {
		p.lane = door.Lane(p.listener)
		p.closing(func() error { return ignoreClosed(p.lane.Close()) })
	}
	return p, nil
}

// httpServer bounds how long a caller may take; calls that stream move their
// own deadlines.
func httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute,
		WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
}

// handler sends the tracking paths straight to the collector; the rest goes
// to the whole API where the process has that role, and otherwise to what
// watches the process.
func (p *system) handler(o api.Options, collector *track.Collector) (http.Handler, error) {
	rest := api.Probes(o)
	if p.has("api") {
		var err error
		if rest, err = api.New(o); err != nil {
			return nil, err
		}
	}
	if collector == nil {
		return rest, nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if collector.Serves(r.URL.Path) {
			collector.ServeHTTP(w, r)
			return
		}
		rest.ServeHTTP(w, r)
	}), nil
}

// analysisOptions: web hooks' secrets are sealed under the root keys, and
// `kairos dev` may call receivers on the developer's machine.
func (p *system) analysisOptions(owner string, zone *time.Location) analysis.Options {
	return analysis.Options{
		Owner: owner, ResponseWindow: p.settings.ResponseWindow, DefaultZone: zone, Log: slog.Default(), Hooks: outbound.Options{AllowPrivate: p.local}, SealID: p.keyring.SigningID(),
		SealKey: func(id byte) ([]byte, bool) { return p.keyring.DeriveKeyFrom(id, "subscription secrets") },
	}
}

func (p *system) has(role string) bool { return slices.Contains(p.roles, role) }

func (p *system) closing(fn func() error) { p.closers = append(p.closers, fn) }

// close ends what was begun, the last first.
func (p *system) close() error {
	var errs []error
	for _, fn := range slices.Backward(p.closers) {
		errs = append(errs, fn())
	}
	p.closers = nil
	return errors.Join(errs...)
}

// gate refuses a database that is older or newer than this binary.
func (p *system) gate(ctx context.Context) error {
	current, latest, err := migrations.Version(ctx, p.pool)
	if err != nil {
		return fmt.Errorf("read the database's version: %w", err)
	}
	if current < latest {
		return fmt.Errorf("the database is at version %d, this binary needs %d: run `kairos migrate`", current, latest)
	}
	return p.partitions(ctx)
}

func (p *system) partitions(ctx context.Context) error {
	_, err := eventlog.EnsurePartitions(ctx, p.pool, p.clock.Now(), 1, partitionsAhead)
	return err
}

func (p *system) spoolDir() string {
	if p.settings.SpoolDir != "" {
		return p.settings.SpoolDir
	}
	if p.settings.DataDir != "" {
		return filepath.Join(p.settings.DataDir, "spool")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("kairos-spool-%d", os.Getuid()))
}

// run serves until ctx ends, then stops in order: not ready, no more claims,
// in flight finished, no more calls, spool flushed, everything closed. Calls
// are answered until nothing is in flight any more: whoever balances the load
// has seen by then that this process is not ready.
func (p *system) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, p.close()) }()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := p.server.Serve(p.door()); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve http: %w", err)
		}
		return nil
	})
	shipping, stopShipping := context.WithCancel(context.WithoutCancel(ctx))
	defer stopShipping()
	idle := make(chan struct{}) // nothing is in flight
	g.Go(func() error {
		<-ctx.Done()
		close(p.stopping)
		select {
		case <-idle:
		case <-time.After(p.settings.Grace):
		}
		short, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		err := p.server.Shutdown(short)
		if err != nil {
			err = ignoreClosed(p.server.Close())
		}
		if p.lane != nil {
			p.lane.Drain(short)
		}
		p.awaitShipped()
		stopShipping()
		return err
	})
	g.Go(func() error {
		defer close(idle)
		return p.queue.Run(ctx)
	})
	g.Go(func() error { return p.stages.delivery.KeepWatch(ctx) })
	if p.spool != nil {
		g.Go(func() error { return p.stages.analysis.Ship(shipping, p.spool) })
	}
	return g.Wait()
}

// door is what the server accepts from.
func (p *system) door() net.Listener {
	if p.lane != nil {
		return p.lane
	}
	return p.listener
}

// awaitShipped waits a little for the last hits to reach the log. Where it
// is in vain, Postgres being away, they are shipped after the next start.
func (p *system) awaitShipped() {
	if p.spool == nil {
		return
	}
	for deadline := time.Now().Add(lastShipment); p.spool.Stats().Bytes > 0 && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
}

var errStopping = errors.New("it is stopping")

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// url is where the process answers.
func (p *system) url() string { return "http://" + p.listener.Addr().String() }

// ready asks what the roles of this process depend on. A collector is ready
// while its spool is writable, even without Postgres. One that stops is not,
// whatever it depends on. Where delivery is frozen the process is ready, and
// says so.
func (p *system) ready(ctx context.Context) []api.Check {
	var checks []api.Check
	select {
	case <-p.stopping:
		checks = append(checks, api.Check{Name: "process", Err: errStopping})
	default:
	}
	if p.spool != nil {
		c := api.Check{Name: "spool"}
		if !p.spool.Writable() {
			c.Err = kairos.ErrUnavailable
		}
		checks = append(checks, c)
	}
	if strings.Join(p.roles, ",") != "track" {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		f, err := p.stages.delivery.Frozen(try)
		checks = append(checks, api.Check{Name: "postgres", Err: err})
		if f != nil {
			checks = append(checks, api.Check{Name: "delivery", Note: "frozen: " + f.Cause + "; see kairos restore status"})
		}
	}
	return checks
}
