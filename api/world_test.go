package api

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis"
	"kairos/analysis/timing"
	"kairos/creation"
	"kairos/delivery"
	"kairos/internal/devstack"
	"kairos/internal/eventlog"
	"kairos/internal/outbound"
	"kairos/internal/token"
	"kairos/orchestration"
)

var update = flag.Bool("update", false, "write the golden files")

var epoch = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC) // a Monday

// world is the API over the real stages and a database of its own.
type world struct {
	t     *testing.T
	pool  *pgxpool.Pool
	clock *kairos.ManualClock
	api   *server
	http  *httptest.Server
	admin string // a key that may do everything
	log   *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, pool: devstack.NewDB(t), clock: kairos.NewManualClock(epoch), log: &syncBuffer{}}
	_, err := eventlog.EnsurePartitions(context.Background(), w.pool, epoch, 2, 3)
	require.NoError(t, err)
	opts := optionsOf(t, w.pool, w.clock)
	opts.Logger = slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, c := range change {
		c(&opts)
	}
	w.api, err = newServer(opts)
	require.NoError(t, err)
	w.http = httptest.NewServer(w.api.router)
	t.Cleanup(w.http.Close)
	w.admin = w.key(ScopeAdmin)
	return w
}

func optionsOf(t *testing.T, pool *pgxpool.Pool, clock kairos.Clock) Options {
	ring, err := token.ParseKeyring("1:" + strings.Repeat("07", 32))
	require.NoError(t, err)
	d, err := delivery.New(pool, clock, delivery.Options{Keyring: ring, PublicURL: "http://localhost", From: delivery.Address{Email: "news@example.com"}})
	require.NoError(t, err)
	return Options{
		Pool: pool, Clock: clock, Creation: creation.New(pool, clock, creation.Options{}),
		Orchestration: orchestration.New(pool, clock, orchestration.Options{}), Delivery: d,
		Analysis: analysis.New(pool, clock, analysis.Options{Hooks: outbound.Options{Timeout: 5 * time.Second},
			SealID: 1, SealKey: func(id byte) ([]byte, bool) { return ring.DeriveKeyFrom(id, "test") }}),
		Timing:   timing.New(pool, clock, timing.Options{}),
		Webhooks: map[string]http.Handler{"sendgrid": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })},
	}
}

// key makes a key with scopes.
func (w *world) key(scopes ...string) string {
	w.t.Helper()
	key, _, err := w.api.keys.Create(context.Background(), NewKey{Env: "test", Name: "test", Scopes: scopes})
	require.NoError(w.t, err)
	return key
}

// reply is an answer that was read.
type reply struct {
	t      *testing.T
	Status int
	Header http.Header
	Body   string
}

// call sends a request; body is a string as it is, anything else as JSON.
// headers are names and values in turn; Authorization is the admin key's
// unless given.
func (w *world) call(method, path string, body any, headers ...string) reply {
	w.t.Helper()
	var r io.Reader
	contentType := ""
	switch b := body.(type) {
	case nil:
	case string:
		r, contentType = strings.NewReader(b), "application/json"
	case io.Reader:
		r = b
	default:
		raw, err := json.Marshal(b)
		require.NoError(w.t, err)
		r, contentType = bytes.NewReader(raw), "application/json"
	}
	req, err := http.NewRequest(method, w.http.URL+path, r)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+w.admin)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	return reply{w.t, resp.StatusCode, resp.Header, string(raw)}
}

// ok demands a status and returns the body as an object.
func (r reply) ok(status int) map[string]any {
	r.t.Helper()
	require.Equal(r.t, status, r.Status, r.Body)
	var m map[string]any
	if r.Body != "" {
		require.NoError(r.t, json.Unmarshal([]byte(r.Body), &m), r.Body)
	}
	return m
}

// problem demands a problem of a status that names location, "" for none.
func (r reply) problem(status int, location string) Problem {
	r.t.Helper()
	require.Equal(r.t, status, r.Status, r.Body)
	require.Equal(r.t, "application/problem+json", r.Header.Get("Content-Type"))
	var p Problem
	require.NoError(r.t, json.Unmarshal([]byte(r.Body), &p), r.Body)
	require.Equal(r.t, status, p.Status)
	require.Equal(r.t, http.StatusText(status), p.Title)
	if location != "" {
		var at []string
		for _, e := range p.Errors {
			at = append(at, e.Location)
			require.NotEmpty(r.t, e.Message)
		}
		require.Contains(r.t, at, location, r.Body)
	}
	return p
}

// sample makes a template, a person and a draft to everybody.
func (w *world) sample() (template, contact, campaign string) {
	w.t.Helper()
	template = w.call("POST", "/v1/templates", map[string]any{"name": "Offer", "channel": "email", "subject": "Hello {{ contact.first_name }}",
		"html": `<p>Hi {{ contact.first_name }}, <a href="https://shop.example/x">buy</a> <a href="{{ unsubscribe_url }}">no</a></p>`}).ok(201)["id"].(string)
	contact = w.call("POST", "/v1/contacts", map[string]any{"external_id": "p1", "email": "Ann@example.com", "first_name": "Ann"}).ok(201)["id"].(string)
	campaign = w.call("POST", "/v1/campaigns", draft(template)).ok(201)["id"].(string)
	return template, contact, campaign
}

func draft(template string) map[string]any {
	return map[string]any{"name": "Autumn", "purpose": "marketing", "classification": []string{"pii"}, "channels": []string{"email"},
		"template": template, "audience": map[string]any{"all": true}, "schedule": map[string]any{"mode": "now", "window": "24h"},
		"experiment": map[string]any{"holdout": 0.05}, "goal": map[string]any{"kind": "payment.received", "attribution_window": "168h"},
		"cost": map[string]any{"fixed": "100.00", "per_message": 0.001, "currency": "EUR"},
		"utm":  map[string]any{"source": "kairos", "medium": "email", "campaign": "autumn"}, "latest": "2026-12-01T00:00:00Z"}
}
