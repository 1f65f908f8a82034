package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"kairos"
)

func TestUnknownPathMethodAndSizeAreProblems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.MaxBody = 1000 })
	w.call("GET", "/nowhere", nil).problem(404, "")
	w.call("GET", "/v1/nowhere", nil, "Authorization", "").problem(404, "")
	r := w.call("PUT", "/v1/contacts", `{}`)
	r.problem(405, "")
	require.Equal(t, "GET, HEAD, POST", r.Header.Get("Allow"))
	w.call("POST", "/v1/contacts", `{"email":"`+strings.Repeat("a", 2000)+`"}`).problem(413, "")
	w.call("POST", "/v1/contacts", strings.NewReader("a,b"), "Content-Type", "text/csv").problem(415, "header.Content-Type")
	w.call("POST", "/v1/contacts", `{"email":"a@b.example"}`, "Content-Encoding", "gzip").problem(415, "header.Content-Encoding")
	w.call("GET", "/v1/contacts?email=%00", nil).problem(400, "")
	w.call("GET", "/v1/contacts?email=%ff", nil).problem(400, "")
	w.call("HEAD", "/v1/contacts", nil).ok(200)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var failing error
	w := newWorld(t, func(o *Options) {
		o.Ready = func(context.Context) []Check {
			return []Check{{Name: "postgres"}, {Name: "spool", Err: failing}, {Name: "delivery", Note: "frozen"}}
		}
	})
	require.Equal(t, "alive", w.call("GET", "/livez", nil, "Authorization", "").ok(200)["status"])
	require.Equal(t, map[string]any{"postgres": "ready", "spool": "ready", "delivery": "frozen"}, w.call("GET", "/readyz", nil).ok(200)["checks"])
	failing = errors.New("disk /var/x is full")
	p := w.call("GET", "/readyz", nil, "Authorization", "").problem(503, "spool")
	require.Len(t, p.Errors, 1)
	require.NotContains(t, w.call("GET", "/readyz", nil).Body, "disk")
	w.call("GET", "/metrics", nil).problem(404, "")
}

func TestPanicIsAProblemWithoutItsText(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		o.Dashboard = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret detail") })
	})
	p := w.call("GET", "/dashboard/", nil).problem(500, "")
	require.True(t, strings.HasPrefix(p.Instance, "urn:uuid:"))
	require.NotContains(t, p.Detail, "secret")
	require.Contains(t, w.log.String(), "panic: a string, withheld")
	require.Contains(t, w.log.String(), "server_test.go", "the stack says where")
	require.NotContains(t, w.log.String(), "secret detail")
}

func TestDatabaseFaultsHideTheirText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _, id := w.sample()
	_, err := w.pool.Exec(context.Background(), `ALTER TABLE campaigns RENAME COLUMN audience_size TO x`)
	require.NoError(t, err)
	r := w.call("GET", "/v1/campaigns/"+id, nil)
	r.problem(500, "")
	require.NotContains(t, r.Body, "audience_size")
	require.Contains(t, w.log.String(), "audience_size")
}

// Every route below /v1 is an operation with a scope, but for the web hooks,
// whose senders sign.
func TestEveryRouteDeclaresItsScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	declared := map[string][]string{}
	for _, c := range w.api.calls {
		declared[c.method+" "+c.path] = c.scopes
	}
	seen := 0
	require.NoError(t, chi.Walk(w.api.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if !strings.HasPrefix(route, "/v1/") || strings.HasPrefix(route, "/v1/webhooks/") {
			return nil
		}
		seen++
		scopes := declared[method+" "+route]
		require.NotEmpty(t, scopes, "%s %s", method, route)
		for _, s := range scopes {
			require.Contains(t, Scopes(), s)
		}
		return nil
	}))
	require.Equal(t, len(w.api.calls), seen)
}

// A key with each single scope reaches exactly the routes that name it.
func TestScopesOpenWhatTheyName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.FailureRate = 1000 })
	id := kairos.NewID().String()
	keys := map[string]string{}
	for _, s := range Scopes() {
		keys[s] = w.key(s)
	}
	for _, c := range w.api.calls {
		if c.id == "stream-events" {
			continue // answers for ever; its middleware is the same
		}
		path := strings.NewReplacer("{id}", id, "{attempt}", id+".1").Replace(c.path)
		w.call(c.method, path, nil, "Authorization", "").problem(401, "")
		for scope, key := range keys {
			r := w.call(c.method, path, nil, "Authorization", "Bearer "+key)
			allowed := scope == ScopeAdmin
			for _, s := range c.scopes {
				allowed = allowed || s == scope
			}
			require.Equal(t, !allowed, r.Status == http.StatusForbidden, "%s %s with %s: %d", c.method, path, scope, r.Status)
			require.Less(t, r.Status, 500, "%s %s: %s", c.method, path, r.Body)
		}
	}
}

func TestOpenAPIGolden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.call("GET", "/openapi.json", nil, "Authorization", "")
	m := r.ok(200)
	require.Equal(t, "3.1.0", m["openapi"])
	const golden = "testdata/openapi.json"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(r.Body+"\n"), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err, "run with -update")
	require.JSONEq(t, string(want), r.Body, "the description changed: run the test with -update and read the difference")
	require.NotContains(t, r.Body, "$schema")

	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, []byte(r.Body)))
	for _, c := range w.api.calls {
		require.Contains(t, compact.String(), `"operationId":"`+c.id+`"`)
	}
}

func TestDocsUseOwnAssetsAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := w.call("GET", "/docs", nil, "Authorization", "")
	require.Equal(t, 200, page.Status)
	require.Contains(t, page.Header.Get("Content-Security-Policy"), "default-src 'none'")
	for _, asset := range []string{"/docs/docs.css", "/docs/docs.js"} {
		require.Contains(t, page.Body, asset)
		r := w.call("GET", asset, nil, "Authorization", "")
		require.Equal(t, 200, r.Status)
		require.NotContains(t, r.Body, "https://")
	}
	require.NotContains(t, page.Body, "https://")
}

func TestRequestsAreMeasuredByRoute(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	w := newWorld(t, func(o *Options) {
		o.Registerer, o.Metrics = reg, promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
	})
	_, contact, _ := w.sample()
	w.call("GET", "/v1/contacts/"+contact, nil).ok(200)
	w.call("BREW", "/v1/contacts", nil).problem(405, "")
	text := w.call("GET", "/metrics", nil, "Authorization", "").Body
	require.Contains(t, text, `kairos_http_request_duration_seconds_count{method="GET",route="/v1/contacts/{id}",status="200"} 1`)
	require.Contains(t, text, `method="other"`)
	require.NotContains(t, text, contact)
	_, err := newServer(w.api.opts) // a second one in the process shares the histogram
	require.NoError(t, err)
	w.http.Config.Handler = Probes(w.api.opts)
	w.call("GET", "/livez", nil).ok(200)
	w.call("GET", "/v1/contacts", nil).problem(404, "")
}

func TestLogHoldsNoSecretAddressTokenOrQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sample()
	w.call("GET", "/v1/contacts?email=ann@example.com", nil)
	w.call("GET", "/c/some-token", nil)
	w.call("GET", "/v1/contacts/not-an-id", nil)
	log := w.log.String()
	require.Contains(t, log, `"route":"/v1/contacts/{id}"`)
	require.Contains(t, log, `"key":"`+strings.Split(w.admin, "_")[2]+`"`)
	for _, secret := range []string{strings.Split(w.admin, "_")[3], "example.com", "some-token", "email=", "not-an-id"} {
		require.NotContains(t, log, secret)
	}
}
