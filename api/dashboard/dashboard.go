// Package dashboard is what people look at: campaigns and how they go, the
// ledger of messages, attempts whose fate is unknown, the models of delivery
// time, and the mail caught in development.
//
// Takes: requests for /dashboard and what lies below it, the stages that
// answer them, and the catcher of mail where there is one.
// Gives: pages rendered on the server, and fragments of them as they change;
// pausing, resuming and cancelling a campaign; training a model, promoting,
// rejecting and rolling it back.
// Owns: the session cookie. No tables.
// Promises: nothing is loaded from elsewhere and nothing inline runs, by
// content security policy; whatever a name or a mail holds is shown, never
// run; a request of another origin changes nothing; many viewers of a campaign
// ask the database as often as one.
// Fails: with a page that says what is wrong and never shows an internal text.
package dashboard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"kairos"
	"kairos/analysis"
	"kairos/analysis/timing"
	"kairos/creation"
	"kairos/delivery"
	"kairos/internal/devstack"
)

// Visitor is who is signed in.
type Visitor struct {
	Name string
	Acts bool // may pause, resume and cancel campaigns; everybody may look
	// Decides: may train, promote, reject and roll back models of delivery time.
	Decides bool
}

// Options of the dashboard. Creation, Delivery and Analysis are needed.
type Options struct {
	Creation *creation.Creation
	Delivery *delivery.Delivery
	Analysis *analysis.Analysis
	Timing   *timing.Registry // nil: there are no pages about delivery time
	Clock    kairos.Clock     // domain time; default the machine's

	// Mail is the catcher whose inbox is shown; nil: there is no inbox.
	Mail *devstack.Mail

	// Authenticate names the holder of an API key that may use the dashboard.
	// It is asked again every 30 s, so a revoked key ends its sessions. nil:
	// open to everybody, for development; then only hosts that nobody else can
	// point at this machine are answered (addresses, localhost, names without a
	// dot).
	Authenticate func(ctx context.Context, key string) (Visitor, bool)

	// SessionKey seals the session cookies, at least 32 bytes and the same in
	// every process. Default: a random one, so sessions end with the process.
	SessionKey []byte

	// Pace is how often a live page looks for changes. Default 1 s.
	Pace time.Duration

	Log *slog.Logger // for what a visitor isn't shown; default slog.Default()
}

// Validate names the first option that makes no sense.
func (o *Options) Validate() error {
	switch {
	case o.Creation == nil:
		return kairos.Invalid("creation", "is missing")
	case o.Delivery == nil:
		return kairos.Invalid("delivery", "is missing")
	case o.Analysis == nil:
		return kairos.Invalid("analysis", "is missing")
	case len(o.SessionKey) > 0 && len(o.SessionKey) < 32:
		return kairos.Invalid("session_key", "must have at least 32 bytes")
	}
	return nil
}

type dashboard struct {
	opts     Options
	files    *files
	sessions *sessions
	logins   *rate.Limiter
	streams  chan struct{} // a place for each live page
	registry registry      // nil: none

	progress memo[delivery.Progress]
	funnels  memo[analysis.Funnel]
	returns  memo[analysis.ROI]
	reasons  memo[[]delivery.ReasonCount]
	recent   memo[[]kairos.Event]
	timings  memo[analysis.Timing]

	standings memo[timing.Standing]
	versions  memo[timing.Model]
}

// New returns the handler of /dashboard and of everything below it.
func New(opts Options) (http.Handler, error) {
	if opts.Timing == nil {
		return build(opts, nil)
	}
	return build(opts, opts.Timing)
}

func build(opts Options, models registry) (http.Handler, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("configure dashboard: %w", err)
	}
	if opts.Clock == nil {
		opts.Clock = kairos.SystemClock{}
	}
	if len(opts.SessionKey) == 0 {
		opts.SessionKey = make([]byte, 32)
		if _, err := rand.Read(opts.SessionKey); err != nil {
			return nil, fmt.Errorf("make session key: %w", err)
		}
	}
	if opts.Pace <= 0 {
		opts.Pace = time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	opts.Log = opts.Log.With("room", "dashboard")
	d := &dashboard{opts: opts, registry: models, logins: rate.NewLimiter(10, 20), streams: make(chan struct{}, 256)}
	var err error
	if d.files, err = loadFiles(); err != nil {
		return nil, err
	}
	if d.sessions, err = newSessions(opts.SessionKey, opts.Authenticate); err != nil {
		return nil, err
	}
	return d.guard(d.routes()), nil
}

func (d *dashboard) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /dashboard", d.page(d.campaignList))
	m.HandleFunc("GET /dashboard/{$}", d.page(d.campaignList))
	m.Handle("GET /dashboard/campaigns", http.RedirectHandler("/dashboard", http.StatusMovedPermanently))
	m.HandleFunc("GET /dashboard/campaigns/{id}", d.page(d.campaign))
	m.HandleFunc("GET /dashboard/campaigns/{id}/live", d.live)
	m.HandleFunc("GET /dashboard/campaigns/{id}/notifications", d.page(d.ledger))
	m.HandleFunc("GET /dashboard/campaigns/{id}/{file}", d.export)
	m.HandleFunc("POST /dashboard/campaigns/{id}/pause", d.act(d.opts.Creation.Pause))
	m.HandleFunc("POST /dashboard/campaigns/{id}/resume", d.act(d.opts.Creation.Resume))
	m.HandleFunc("POST /dashboard/campaigns/{id}/cancel", d.act(d.opts.Creation.Cancel))
	m.HandleFunc("GET /dashboard/notifications/{id}", d.page(d.notification))
	m.HandleFunc("GET /dashboard/unknowns", d.page(d.unknowns))
	if d.registry != nil {
		d.timingRoutes(m)
	}
	if d.opts.Mail != nil {
		m.HandleFunc("GET /dashboard/inbox", d.page(d.inbox))
		m.HandleFunc("GET /dashboard/inbox/new", d.inboxNews)
		m.HandleFunc("GET /dashboard/inbox/{id}", d.page(d.mail))
		m.HandleFunc("GET /dashboard/inbox/{id}/html", d.mailHTML)
		m.HandleFunc("GET /dashboard/inbox/{id}/raw", d.mailRaw)
	}
	if d.opts.Authenticate != nil {
		m.HandleFunc("GET /dashboard/login", d.loginForm)
		m.HandleFunc("POST /dashboard/login", d.login)
		m.HandleFunc("POST /dashboard/logout", d.logout)
	}
	m.HandleFunc("GET /dashboard/assets/{name}", d.asset)
	m.HandleFunc("GET /dashboard/", d.page(func(*http.Request) (content, error) {
		return content{}, fmt.Errorf("find page: %w", kairos.ErrNotFound)
	}))
	return m
}

// idOf reads the id in the path. What is no id names nothing.
func idOf(r *http.Request) (kairos.ID, error) {
	id, err := kairos.ParseID(r.PathValue("id"))
	if err != nil {
		return id, fmt.Errorf("read id: %w", errors.Join(kairos.ErrNotFound, err))
	}
	return id, nil
}
