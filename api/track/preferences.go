package track

import (
	"context"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"kairos"
	"kairos/internal/token"
)

//go:embed assets/preferences.html
var preferencesHTML string

var preferencesPage = template.Must(template.New("preferences").Parse(preferencesHTML))

// pageState is what the preference page shows.
type pageState struct {
	Done  string // "", unsubscribed, resubscribed, preferred
	Error string
	Days  []string
	Hours []string
}

var (
	pageDays  = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	pageHours = func() []string {
		h := make([]string, 24)
		for i := range h {
			h[i] = kairos.ClockTime(i, 0).String()
		}
		return h
	}()
)

// preferencePage shows the form. It changes nothing: scanners follow links.
func (c *Collector) preferencePage(w http.ResponseWriter, r *http.Request) {
	if _, err := c.opts.Keyring.Open(token.PurposeUnsubscribe, chi.URLParam(r, "token")); err != nil {
		notFound(w, r)
		return
	}
	c.show(w, http.StatusOK, pageState{})
}

func (c *Collector) show(w http.ResponseWriter, status int, s pageState) {
	s.Days, s.Hours = pageDays, pageHours
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(status)
	if err := preferencesPage.Execute(w, s); err != nil {
		c.opts.Logger.Debug("show preferences", "err", err)
	}
}

// preferences takes the form of the page, and RFC 8058's one click
// (List-Unsubscribe=One-Click). It is answered when it is on disk.
func (c *Collector) preferences(w http.ResponseWriter, r *http.Request) {
	claims, err := c.opts.Keyring.Open(token.PurposeUnsubscribe, chi.URLParam(r, "token"))
	if err != nil {
		notFound(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseMultipartForm(16 << 10); err != nil && r.PostForm == nil { // RFC 8058 allows both form types
		problem(w, http.StatusBadRequest, "The form could not be read.")
		return
	}
	oneClick := strings.EqualFold(r.PostForm.Get("List-Unsubscribe"), "One-Click")
	var kind, done string
	data := map[string]any{"channel": string(kairos.Email)}
	switch action := r.PostForm.Get("action"); {
	case oneClick:
		kind, done, data["method"] = kairos.ContactUnsubscribed, "unsubscribed", "one-click"
	case action == "unsubscribe":
		kind, done, data["method"] = kairos.ContactUnsubscribed, "unsubscribed", "page"
	case action == "resubscribe":
		kind, done, data["method"] = kairos.ContactResubscribed, "resubscribed", "page"
	case action == "prefer":
		p, err := preferred(r)
		if err != nil {
			c.show(w, http.StatusBadRequest, pageState{Error: err.Error()})
			return
		}
		kind, done, data = kairos.ContactPreferred, "preferred", p
	default:
		c.show(w, http.StatusBadRequest, pageState{Error: "Choose one of the buttons."})
		return
	}
	if _, err := c.keep(r.Context(), claims, kairos.Hit{Event: kairos.Event{Kind: kind}}, data); err != nil {
		w.Header().Set("Retry-After", "5")
		if oneClick {
			problem(w, http.StatusServiceUnavailable, "It could not be stored. Send it again.")
			return
		}
		c.show(w, http.StatusServiceUnavailable, pageState{Error: "We could not store your choice. Please try again in a moment."})
		return
	}
	if kind == kairos.ContactUnsubscribed && c.opts.OnUnsubscribe != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 3*time.Second)
		defer cancel()
		if err := c.opts.OnUnsubscribe(ctx, claims.Campaign, claims.Notification); err != nil {
			c.opts.Logger.Warn("unsubscribe at once", "notification", claims.Notification, "err", err)
		}
	}
	c.show(w, http.StatusOK, pageState{Done: done})
}

// preferred reads the hours the person asks for.
func preferred(r *http.Request) (map[string]any, error) {
	var hours kairos.HourRange
	if err := hours.From.UnmarshalText([]byte(r.PostForm.Get("from"))); err != nil {
		return nil, err
	}
	if err := hours.Until.UnmarshalText([]byte(r.PostForm.Get("until"))); err != nil {
		return nil, err
	}
	hours.Days = r.PostForm["day"]
	p := kairos.Preferences{PreferredHours: []kairos.HourRange{hours}}
	if hours.From.IsZero() && hours.Until.IsZero() {
		p.PreferredHours = []kairos.HourRange{} // taken back
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(p.PreferredHours)
	if err != nil {
		return nil, err
	}
	return map[string]any{"preferred_hours": json.RawMessage(raw)}, nil
}
