package track

import (
	"net/http"
	"strings"
)

// Serves reports whether a path, without the path of PublicURL, belongs to the
// collector.
func Serves(path string) bool {
	return len(path) > 2 && path[0] == '/' && path[2] == '/' && strings.IndexByte("ocut", path[1]) >= 0 || path == "/k.js"
}

// Serves reports whether a request's path, with the path of PublicURL or
// without, belongs to the collector.
func (c *Collector) Serves(path string) bool { return Serves(c.inside(path)) }

// inside takes the path of PublicURL off.
func (c *Collector) inside(path string) string {
	if n := len(c.prefix); n > 0 && len(path) > n && path[n] == '/' && path[:n] == c.prefix {
		return path[n:]
	}
	return path
}

// ServeHTTP implements http.Handler. The paths:
//
//	GET  /o/{token}.gif   the pixel
//	GET  /c/{token}       the redirect
//	GET  /u/{token}       the preference page
//	POST /u/{token}       its buttons, and RFC 8058's one click
//	POST /t/{token}       a page event
//	GET  /t/ws            page events over a WebSocket
//	GET  /k.js            the landing pages' script
//
// HEAD is answered like GET.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := c.inside(r.URL.Path)
	if path == "/k.js" {
		reading(w, r, "", snippet)
		return
	}
	if !Serves(path) {
		notFound(w)
		return
	}
	switch tok := path[3:]; path[1] {
	case 'c':
		reading(w, r, tok, c.click)
	case 'o':
		reading(w, r, tok, c.open)
	case 'u':
		if r.Method == http.MethodPost {
			c.preferences(w, r, tok)
			return
		}
		reading(w, r, tok, c.preferencePage, http.MethodPost)
	case 't':
		allowOrigins(w.Header())
		switch {
		case tok == "ws":
			if r.Method != http.MethodGet {
				notAllowed(w, http.MethodGet)
				return
			}
			c.socket(w, r)
		case r.Method == http.MethodPost:
			c.page(w, r, tok)
		case r.Method == http.MethodOptions:
			preflight(w)
		default:
			notAllowed(w, http.MethodPost, http.MethodOptions)
		}
	default:
		notFound(w)
	}
}

// reading lets GET and HEAD through; also are the path's other methods.
func reading(w http.ResponseWriter, r *http.Request, tok string, next func(http.ResponseWriter, *http.Request, string), also ...string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		notAllowed(w, append([]string{http.MethodGet, http.MethodHead}, also...)...)
		return
	}
	next(w, r, tok)
}
