package dashboard

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"kairos"
)

// policy of every page: nothing from elsewhere, nothing inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard stands before every route: headers, cross-origin requests, sessions.
func (d *dashboard) guard(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.fail(w, r, fmt.Errorf("cross-origin request: %w", kairos.ErrForbidden))
	}))
	inner := cross.Handler(d.admit(next))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		inner.ServeHTTP(w, r)
	})
}

// admit lets in who is signed in, and everybody where nobody has to be.
func (d *dashboard) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.opts.Authenticate == nil {
			if !ownHost(r.Host) {
				p := problem{http.StatusMisdirectedRequest, "Wrong address", "Without sign-in the dashboard answers only at localhost, at an IP address or at a name without a dot."}
				d.write(w, r, p.status, layout(d.frame(r, p.title, ""), problemPage(p)))
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		if r.URL.Path == "/dashboard/login" || strings.HasPrefix(r.URL.Path, "/dashboard/assets/") {
			next.ServeHTTP(w, r)
			return
		}
		_, ok := d.sessions.who(r, time.Now())
		switch {
		case ok:
			next.ServeHTTP(w, r)
		case r.Header.Get("HX-Request") != "" || strings.Contains(r.Header.Get("Accept"), "text/event-stream"):
			w.Header().Set("HX-Redirect", "/dashboard/login")
			http.Error(w, "Sign in first.", http.StatusUnauthorized)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			http.Redirect(w, r, "/dashboard/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			p := problem{http.StatusUnauthorized, "Sign in first", "Your session has ended. Nothing was changed."}
			d.write(w, r, p.status, layout(d.frame(r, p.title, ""), problemPage(p)))
		}
	})
}

// ownHost reports whether no stranger can make a browser take the host for
// theirs: a name with a dot can be pointed at any address by whoever owns it.
func ownHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host != "" && (!strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost"))
}

// visitor returns who is signed in, "" where nobody is or nobody has to be.
func (d *dashboard) visitor(r *http.Request) string {
	if d.opts.Authenticate == nil {
		return ""
	}
	who, _ := d.sessions.who(r, time.Now())
	return who.Name
}

// acts reports whether whoever is signed in may change campaigns.
func (d *dashboard) acts(r *http.Request) bool {
	if d.opts.Authenticate == nil {
		return true
	}
	who, ok := d.sessions.who(r, time.Now())
	return ok && who.Acts
}

func secure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

func (d *dashboard) loginForm(w http.ResponseWriter, r *http.Request) {
	if _, ok := d.sessions.who(r, time.Now()); ok {
		http.Redirect(w, r, destination(r.URL.Query().Get("next")), http.StatusSeeOther)
		return
	}
	d.write(w, r, http.StatusOK, layout(d.frame(r, "Sign in", "login"), loginPage(destination(r.URL.Query().Get("next")), "")))
}

func (d *dashboard) login(w http.ResponseWriter, r *http.Request) {
	next := destination(r.PostFormValue("next"))
	again := func(status int, text string) {
		d.write(w, r, status, layout(d.frame(r, "Sign in", "login"), loginPage(next, text)))
	}
	if !d.logins.Allow() {
		w.Header().Set("Retry-After", "2")
		again(http.StatusTooManyRequests, "Too many people are trying at once. Wait a moment.")
		return
	}
	key := strings.TrimSpace(r.PostFormValue("key"))
	if len(key) > 512 {
		again(http.StatusUnauthorized, "This key doesn't open the dashboard.")
		return
	}
	if _, ok := d.opts.Authenticate(r.Context(), key); !ok {
		again(http.StatusUnauthorized, "This key doesn't open the dashboard.")
		return
	}
	http.SetCookie(w, d.sessions.issue(key, time.Now(), secure(r)))
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (d *dashboard) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, d.sessions.end(secure(r)))
	http.Redirect(w, r, "/dashboard/login", http.StatusSeeOther)
}

// destination keeps only addresses of the dashboard itself.
func destination(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || strings.ContainsAny(next, "\\\r\n\t") ||
		u.Path != "/dashboard" && !strings.HasPrefix(u.Path, "/dashboard/") || strings.HasPrefix(u.Path, "/dashboard/login") {
		return "/dashboard"
	}
	return u.RequestURI()
}
