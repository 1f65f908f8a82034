package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"kairos"
)

// visit is what the outermost handler knows about a request; the handlers
// below fill in who called and what went wrong.
type visit struct {
	id     kairos.ID
	key    string    // id of the API key
	caller *Identity // nil: no key
	err    error     // what a 5xx hid from the client
	body   []byte    // of a JSON request
	ticket kairos.Ticket
}

type visitKey struct{}

// visitOf returns the visit of a request, never nil.
func visitOf(ctx context.Context) *visit {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		return v
	}
	return &visit{}
}

func instanceOf(ctx context.Context) string {
	if id := visitOf(ctx).id; !id.IsZero() {
		return "urn:uuid:" + id.String()
	}
	return ""
}

// newDurations makes the histogram of requests and registers it.
func newDurations(reg prometheus.Registerer) (*prometheus.HistogramVec, error) {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "kairos_http_request_duration_seconds",
		Help:    "Duration of HTTP requests by method, route pattern and status.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"method", "route", "status"})
	if reg == nil {
		return h, nil
	}
	if err := reg.Register(h); err != nil {
		var known prometheus.AlreadyRegisteredError
		if errors.As(err, &known) {
			if old, ok := known.ExistingCollector.(*prometheus.HistogramVec); ok {
				return old, nil
			}
		}
		return nil, err
	}
	return h, nil
}

// access gives each request its id, recovers panics, and logs and measures the
// answer: method, route pattern, status, duration, key id. The path itself,
// the query and the headers hold ids, tokens and addresses and stay out.
func access(log *slog.Logger, durations *prometheus.HistogramVec) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v := &visit{id: kairos.NewID()}
			r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
			ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			ww.Header().Set("X-Request-Id", v.id.String())
			ww.Header().Set("X-Content-Type-Options", "nosniff")
			start := time.Now()
			func() {
				defer recoverTo(ww, r, v)
				next.ServeHTTP(ww, r)
			}()
			took := time.Since(start)

			route := "unmatched"
			if rctx := chi.RouteContext(r.Context()); rctx != nil {
				if p := rctx.RoutePattern(); p != "" {
					route = p
				}
			}
			status := ww.Status()
			if status == 0 {
				status = http.StatusOK
			}
			durations.WithLabelValues(methodLabel(r.Method), route, strconv.Itoa(status)).Observe(took.Seconds())
			attrs := []slog.Attr{
				slog.String("method", methodLabel(r.Method)), slog.String("route", route), slog.Int("status", status),
				slog.Duration("took", took), slog.String("request", v.id.String()),
			}
			if v.key != "" {
				attrs = append(attrs, slog.String("key", v.key))
			}
			level := slog.LevelInfo
			switch {
			case status >= 500:
				level = slog.LevelError
				if v.err != nil {
					attrs = append(attrs, slog.String("error", told(v.err)))
				}
			case route == "/livez" || route == "/readyz" || route == "/metrics":
				level = slog.LevelDebug
			}
			log.LogAttrs(r.Context(), level, "http request", attrs...)
		})
	}
}

// recoverTo turns a panic into a 500. http.ErrAbortHandler keeps its meaning.
func recoverTo(w middleware.WrapResponseWriter, r *http.Request, v *visit) {
	x := recover()
	if x == nil {
		return
	}
	if err, ok := x.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	v.err = &panicked{x, debug.Stack()}
	if w.Status() == 0 && w.BytesWritten() == 0 {
		writeProblem(w, r, newProblem(http.StatusInternalServerError, internalDetail))
	}
}

type panicked struct {
	value any
	stack []byte
}

// Error implements error.
func (p *panicked) Error() string { return panicText(p.value) + "\n" + string(p.stack) }

// methodLabel bounds the label: a client may invent methods.
func methodLabel(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}
