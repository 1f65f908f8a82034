package api

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
)

//go:embed assets/docs.html assets/docs.css assets/docs.js
var assets embed.FS

// docs mounts the description of the API and the page that shows it. The page
// uses nothing but what this process serves.
func (a *server) docs(r chi.Router) error {
	spec, err := json.MarshalIndent(a.api.OpenAPI(), "", "  ")
	if err != nil {
		return fmt.Errorf("write openapi: %w", err)
	}
	r.Get("/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Access-Control-Allow-Origin", "*") // public, and editors fetch it
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(spec))
	})
	for path, asset := range map[string]struct{ file, media string }{
		"/docs":          {"assets/docs.html", "text/html; charset=utf-8"},
		"/docs/docs.css": {"assets/docs.css", "text/css; charset=utf-8"},
		"/docs/docs.js":  {"assets/docs.js", "text/javascript; charset=utf-8"},
	} {
		content, err := assets.ReadFile(asset.file)
		if err != nil {
			return fmt.Errorf("read docs: %w", err)
		}
		r.Get(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", asset.media)
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		})
	}
	return nil
}
