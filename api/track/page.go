package track

import (
	"context"
	_ "embed"
	"errors"
	"io"
	"net/http"

	"kairos"
	"kairos/internal/token"
)

// page takes an event of a landing page; 202 when it is on disk. The content
// type is of no account: a page that is being left can only send text/plain.
func (c *Collector) page(w http.ResponseWriter, r *http.Request, tok string) {
	claims, err := c.pageClaims(tok)
	if err != nil {
		notFound(w)
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			tooLarge(w, "32 KiB")
			return
		}
		problem(w, http.StatusBadRequest, "The body ended early.")
		return
	}
	id, err := c.take(r.Context(), claims, machine(r), raw)
	if err != nil {
		refuse(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write([]byte(`{"id":"` + id.String() + `"}`)) // it is durable, heard or not
}

// take spools one page event.
func (c *Collector) take(ctx context.Context, claims token.Claims, machine string, raw []byte) (kairos.ID, error) {
	e, err := parse(raw)
	if err != nil {
		return kairos.ID{}, err
	}
	if machine != "" {
		e.data["machine"] = machine
	}
	data, err := e.encode()
	if err != nil {
		return kairos.ID{}, err
	}
	return c.keep(ctx, claims, e.kind, e.key, data)
}

//go:embed assets/k.js
var snippetJS []byte

// snippet serves the landing pages' script.
func snippet(w http.ResponseWriter, _ *http.Request, _ string) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	allowOrigins(h)
	_, _ = w.Write(snippetJS)
}
