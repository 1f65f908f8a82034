package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"kairos"
	"kairos/analysis"
	"kairos/analysis/timing"
	"kairos/creation"
	"kairos/delivery"
	"kairos/orchestration"
)

// Options of New.
type Options struct {
	Pool  *pgxpool.Pool // required
	Clock kairos.Clock  // nil: the system's

	Creation      *creation.Creation           // required
	Orchestration *orchestration.Orchestration // required
	Delivery      *delivery.Delivery           // required
	Analysis      *analysis.Analysis           // required
	Timing        *timing.Registry             // required

	PublicURL string                  // base of the links in messages, named in the description; may be empty
	Track     http.Handler            // /o /c /u /t /k.js; nil: 404
	Dashboard http.Handler            // /dashboard/; nil: 404
	Webhooks  map[string]http.Handler // by provider: POST /v1/webhooks/<name>; each checks its own signatures
	Metrics   http.Handler            // /metrics; nil: 404

	// Ready asks each part this process depends on for its roles; nil: always ready.
	Ready func(ctx context.Context) []Check

	Logger     *slog.Logger          // nil: discarded
	Registerer prometheus.Registerer // where the histogram of requests goes; nil: nowhere

	MaxBody     int64 // bytes of a JSON body; 0: 10 MiB
	MaxBatch    int64 // bytes of POST /v1/contacts/batch; 0: 32 MiB
	MaxWebhook  int64 // bytes of a provider's web hook; 0: 5 MiB
	KeyRate     int   // requests per second and key; 0: 1,000
	FailureRate int   // failed authentications per minute and address; 0: 60

	// OpenToken opens the tracking token of POST /v1/events; nil: none is valid.
	OpenToken func(token string) (campaign, notification kairos.ID, err error)

	Heartbeat time.Duration   // of the event stream; 0: 15 s
	Streams   int             // event streams at once; 0: 256
	Stopping  <-chan struct{} // closed when the server is to stop: ends the streams; nil: never
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = kairos.SystemClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 10 << 20
	}
	if o.MaxBatch <= 0 {
		o.MaxBatch = 32 << 20
	}
	if o.MaxWebhook <= 0 {
		o.MaxWebhook = 5 << 20
	}
	if o.KeyRate <= 0 {
		o.KeyRate = 1000
	}
	if o.FailureRate <= 0 {
		o.FailureRate = 60
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.Streams <= 0 {
		o.Streams = 256
	}
	return o
}

// server holds what the handlers share.
type server struct {
	opts     Options
	keys     *Keys
	rate     *httprate.RateLimiter // by key
	failures *httprate.RateLimiter // by address
	api      huma.API
	router   *chi.Mux
	calls    []call
	streams  chan struct{} // a place for each open stream
}

// New returns the handler of one HTTP server. The server that runs it must set
// its four time-outs; calls that take or give longer move their own deadlines.
func New(opts Options) (http.Handler, error) {
	s, err := newServer(opts)
	if err != nil {
		return nil, err
	}
	return s.router, nil
}

func newServer(opts Options) (*server, error) {
	if opts.Pool == nil {
		return nil, fmt.Errorf("make api: %w", kairos.Invalid("pool", "is required"))
	}
	opts = opts.withDefaults()
	durations, err := newDurations(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("make api: register metrics: %w", err)
	}
	adoptErrors()
	a := &server{
		opts: opts, router: chi.NewRouter(), keys: NewKeys(opts.Pool, opts.Clock),
		rate:     httprate.NewRateLimiter(opts.KeyRate, time.Second),
		failures: httprate.NewRateLimiter(opts.FailureRate, time.Minute),
		streams:  make(chan struct{}, opts.Streams),
	}
	r := a.router
	r.Use(access(opts.Logger, durations), middleware.GetHead, plainQuery)
	r.NotFound(nothingHere)
	r.MethodNotAllowed(a.methodNotAllowed)

	a.api = humachi.New(r, config(opts.PublicURL))
	a.api.UseMiddleware(a.authenticate, a.carry, a.bounded, a.idempotent)
	a.contacts()
	a.imports()
	a.segments()
	a.templates()
	a.campaigns()
	a.notifications()
	a.events()
	a.stream()
	a.reports()
	a.models()
	a.unknowns()
	a.bounces()
	a.suppressions()
	a.subscriptions()

	a.doors()
	if err := a.docs(r); err != nil {
		return nil, err
	}
	if opts.Dashboard != nil {
		r.Handle("/dashboard", opts.Dashboard)
		r.Handle("/dashboard/*", opts.Dashboard)
		r.Get("/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/dashboard/", http.StatusFound) })
	}
	return a, nil
}

// config of huma: JSON alone, no $schema in answers, no built-in pages.
func config(publicURL string) huma.Config {
	c := huma.DefaultConfig("Kairos", "1.0.0")
	c.CreateHooks, c.DocsPath, c.OpenAPIPath, c.SchemasPath = nil, "", "", ""
	c.RejectUnknownQueryParameters = true
	c.Formats = map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}
	c.DefaultFormat = "application/json"
	c.Info.Description = "Campaigns and single messages at the opportune moment, from contacts to the return on them.\n\n" +
		"JSON in snake_case, times in RFC 3339, ids are UUIDs, amounts decimal strings with their ISO 4217 currency. " +
		"Errors are RFC 9457 problems; unknown fields are 400. " +
		"Lists take `limit` and `after` and answer `items` and `next`. " +
		"Each POST may carry an `Idempotency-Key`."
	if publicURL != "" {
		c.Servers = []*huma.Server{{URL: strings.TrimRight(publicURL, "/")}}
	}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{securityName: securityScheme()}
	for _, t := range []string{"Contacts", "Imports", "Segments", "Templates", "Campaigns", "Notifications", "Events", "Reports", "Timing models", "Suppressions", "Subscriptions"} {
		c.Tags = append(c.Tags, &huma.Tag{Name: t})
	}
	return c
}

// methodNotAllowed answers 405 and says in Allow what the path takes.
func (a *server) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		asked := m
		if m == http.MethodHead {
			asked = http.MethodGet
		}
		if a.router.Match(chi.NewRouteContext(), asked, r.URL.Path) {
			allow = append(allow, m)
		}
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	writeProblem(w, r, newProblem(http.StatusMethodNotAllowed, "The path doesn't take this method."))
}

// plainQuery refuses paths and queries that hold what no text of ours can:
// U+0000 and broken UTF-8 (Postgres would refuse them later, as a fault).
func plainQuery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			if !plain(r.URL.Path) {
				writeProblem(w, r, newProblem(http.StatusBadRequest, "The path holds characters that are no text."))
				return
			}
			for name, values := range r.URL.Query() {
				if !plain(name) || !plain(strings.Join(values, "")) {
					writeProblem(w, r, newProblem(http.StatusBadRequest, "The query holds characters that are no text."))
					return
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}
