package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Check is the answer of one part to "are you ready?".
type Check struct {
	Name string // "postgres", "spool": safe to show
	Err  error  // nil: ready. Its text is logged, not shown
	Note string // of a part that is ready: what an operator should know, instead of "ready"
}

// livez tells that the process answers.
func livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"alive"}` + "\n"))
}

// readyz tells whether the roles of this process can do their work.
func (a *server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	var checks []Check
	if a.opts.Ready != nil {
		checks = a.opts.Ready(ctx)
	}
	p := newProblem(http.StatusServiceUnavailable, "Not everything is ready.")
	answer := struct {
		Status string            `json:"status"`
		Checks map[string]string `json:"checks"`
	}{"ready", map[string]string{}}
	for _, c := range checks {
		if c.Err != nil {
			p.Errors = append(p.Errors, FieldProblem{c.Name, "is not ready"})
			a.opts.Logger.WarnContext(ctx, "part is not ready", "part", c.Name, "error", c.Err.Error())
			continue
		}
		answer.Checks[c.Name] = cmp.Or(c.Note, "ready")
	}
	if len(p.Errors) > 0 {
		writeProblem(w, r, p.after("5"))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
