package api

import (
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// doors mounts what every process has, whatever its roles: health, metrics,
// the providers' web hooks and the tracking paths.
func (a *server) doors() {
	r := a.router
	for name, h := range a.opts.Webhooks {
		r.Method(http.MethodPost, "/v1/webhooks/"+name, http.MaxBytesHandler(h, a.opts.MaxWebhook))
	}
	r.Get("/livez", livez)
	r.Get("/readyz", a.readyz)
	if a.opts.Metrics != nil {
		r.Method(http.MethodGet, "/metrics", a.opts.Metrics)
	}
	if a.opts.Track != nil {
		for _, p := range []string{"/o/*", "/c/*", "/u/*", "/t/*", "/k.js"} {
			r.Handle(p, a.opts.Track)
		}
	}
}

// Probes returns the handler of a process without the role api. It needs none
// of the parts that New requires.
func Probes(opts Options) http.Handler {
	opts = opts.withDefaults()
	durations, err := newDurations(opts.Registerer)
	if err != nil { // another collector has the name: the doors matter more
		opts.Logger.Error("register metrics of requests", "error", err.Error())
		durations, _ = newDurations(nil)
	}
	a := &server{opts: opts, router: chi.NewRouter()}
	a.router.Use(access(opts.Logger, durations), middleware.GetHead)
	a.router.NotFound(nothingHere)
	a.router.MethodNotAllowed(a.methodNotAllowed)
	a.doors()
	return a.router
}

func nothingHere(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, r, newProblem(http.StatusNotFound, "There is nothing at this path."))
}
