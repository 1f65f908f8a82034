package track

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"kairos"
	"kairos/internal/token"
)

const (
	maxForm    = 16 << 10
	atOnceWait = 2 * time.Second // for Options.OnUnsubscribe
)

//go:embed assets/preferences.html
var preferencesHTML string

var preferencesPage = template.Must(template.New("preferences").Parse(preferencesHTML))

// pageState is what the preference page shows.
type pageState struct {
	Done        string // "", unsubscribed, resubscribed, preferred, anytime
	Error       string
	Days        []pageDay
	Hours       []string
	From, Until string
}

type pageDay struct {
	Value, Label string
	On           bool
}

// preferencePage shows the form. It changes nothing: scanners follow links.
func (c *Collector) preferencePage(w http.ResponseWriter, _ *http.Request, tok string) {
	if _, err := c.opts.Keyring.Open(token.PurposeUnsubscribe, tok); err != nil {
		notFound(w)
		return
	}
	c.show(w, http.StatusOK, pageState{}, nil)
}

// show writes the page; form, where there is one, fills its fields.
func (c *Collector) show(w http.ResponseWriter, status int, s pageState, form url.Values) {
	for _, label := range [...]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"} {
		day := strings.ToLower(label)
		s.Days = append(s.Days, pageDay{day, label, slices.Contains(form["day"], day)})
	}
	for h := range 24 {
		s.Hours = append(s.Hours, kairos.ClockTime(h, 0).String())
	}
	s.From, s.Until = form.Get("from"), form.Get("until")
	var page bytes.Buffer
	if err := preferencesPage.Execute(&page, s); err != nil {
		c.opts.Logger.Error("show preferences", "err", err)
		unavailable(w, "The page could not be made.")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes())
}

// preferences takes the form of the page, and RFC 8058's one click
// (List-Unsubscribe=One-Click). It is answered when it is on disk.
func (c *Collector) preferences(w http.ResponseWriter, r *http.Request, tok string) {
	claims, err := c.opts.Keyring.Open(token.PurposeUnsubscribe, tok)
	if err != nil {
		notFound(w)
		return
	}
	form, err := readForm(w, r)
	if err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			tooLarge(w, "16 KiB")
			return
		}
		problem(w, http.StatusBadRequest, "The form could not be read.")
		return
	}
	oneClick := strings.EqualFold(form.Get("List-Unsubscribe"), "One-Click")
	var kind, done string
	data := map[string]any{"channel": string(kairos.Email), "method": "page"}
	switch action := form.Get("action"); {
	case oneClick:
		kind, done, data["method"] = kairos.ContactUnsubscribed, "unsubscribed", "one-click"
	case action == "unsubscribe":
		kind, done = kairos.ContactUnsubscribed, "unsubscribed"
	case action == "resubscribe":
		kind, done = kairos.ContactResubscribed, "resubscribed"
	case action == "prefer":
		hours, complaint := preferred(form)
		if complaint != "" {
			c.show(w, http.StatusBadRequest, pageState{Error: complaint}, form)
			return
		}
		kind, done, data = kairos.ContactPreferred, "preferred", map[string]any{"preferred_hours": hours}
		if len(hours) == 0 {
			done = "anytime"
		}
	default:
		c.show(w, http.StatusBadRequest, pageState{Error: "Please choose one of the buttons."}, form)
		return
	}
	raw, err := json.Marshal(data)
	if err == nil {
		_, err = c.keep(r.Context(), claims, kind, "", raw)
	}
	if err != nil {
		if oneClick {
			unavailable(w, "It could not be stored. Send it again.")
			return
		}
		w.Header().Set("Retry-After", "5")
		c.show(w, http.StatusServiceUnavailable, pageState{Error: "We could not store your choice. Please try again in a moment."}, form)
		return
	}
	if kind == kairos.ContactUnsubscribed {
		c.tellAtOnce(r.Context(), claims)
	}
	c.show(w, http.StatusOK, pageState{Done: done}, form)
}

func (c *Collector) tellAtOnce(ctx context.Context, claims token.Claims) {
	if c.opts.OnUnsubscribe == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), atOnceWait)
	defer cancel()
	if err := c.opts.OnUnsubscribe(ctx, claims.Campaign, claims.Notification); err != nil {
		c.opts.Logger.Warn("unsubscribe at once", "notification", claims.Notification, "err", err)
	}
}

// readForm reads the body's fields, never those of the query. RFC 8058 allows
// multipart/form-data and application/x-www-form-urlencoded; whatever else a
// body calls itself is read as the latter, for an unsubscription should not
// depend on a header.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if strings.HasPrefix(strings.ToLower(r.Header.Get("Content-Type")), "multipart/form-data") {
		if err := r.ParseMultipartForm(maxForm); err != nil { // never more than maxForm, so never a file
			return nil, err
		}
		return r.PostForm, nil
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return url.ParseQuery(strings.TrimSpace(string(raw)))
}

// preferred reads the hours the person asks for: none at all takes an earlier
// wish back, days alone mean all their hours. The complaint is for the person.
func preferred(form url.Values) (hours []kairos.HourRange, complaint string) {
	var h kairos.HourRange
	if h.From.UnmarshalText([]byte(form.Get("from"))) != nil || h.Until.UnmarshalText([]byte(form.Get("until"))) != nil {
		return nil, "Please choose the hours from the lists."
	}
	for _, d := range form["day"] {
		if !slices.Contains(h.Days, d) {
			h.Days = append(h.Days, d)
		}
	}
	switch {
	case h.From.IsZero() != h.Until.IsZero():
		return nil, "Please choose both the first and the last hour."
	case h.From.IsZero() && len(h.Days) == 0:
		return []kairos.HourRange{}, ""
	case h.From.IsZero():
		h.From, h.Until = kairos.ClockTime(0, 0), kairos.ClockTime(0, 0)
	}
	p := kairos.Preferences{PreferredHours: []kairos.HourRange{h}}
	if p.Validate() != nil {
		return nil, "Please choose the days from the list."
	}
	return p.PreferredHours, ""
}
