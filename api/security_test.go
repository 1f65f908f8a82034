package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis"
	"kairos/internal/outbound"
)

// checklist is every bad input that Kairos promises to answer clearly and
// without loss, with the tests that show it: folder, name of the test.
var checklist = map[string][]string{
	"templates: file access is refused at save":                  {"internal/content TestRefused", "api TestBadInput"},
	"templates: unbounded and nested loops, doubling":            {"internal/content TestRefused", "internal/content TestStopped"},
	"templates: huge integers, deep nesting":                     {"internal/content TestRefused", "internal/content FuzzCompile"},
	"templates: stopped at 200 ms and 1 MB":                      {"internal/content TestStopped", "internal/content TestTimeLimit", "internal/content TestLargeSources"},
	"templates: a panic of the engine stays inside":              {"internal/content TestPanic"},
	"values are HTML-escaped in HTML parts":                      {"internal/content TestEscaping", "api/dashboard TestHostileNamesAreShownNotRun"},
	"CR/LF in subject, name, address: refused by the API":        {"api TestBadInput", "creation TestUpsertContactRefuses"},
	"CR/LF in subject, name, address, header: by the encoder":    {"delivery/email TestHostileInputIsRefused", "delivery/email TestPurposeCannotBreakAHeader", "delivery/email FuzzAppendMessage"},
	"SMTP: no smuggling by bare dots and line ends":              {"delivery/email TestNoLineCanEndTheMessage", "delivery/email FuzzAppendMessage", "delivery/email TestWhatArrivesIsWhatWasComposed"},
	"addresses go through net/mail":                              {"creation FuzzAddress", "creation TestUpsertContactRefuses"},
	"destinations: only http and https, no user info":            {"internal/content TestRefusedLinks", "api/track TestLocation"},
	"tracking tokens: wrong purpose, flipped bit: 404, constant": {"api/track TestNotOurs", "api/track FuzzToken"},
	"CSV export: formulas are neutralised":                       {"analysis TestCSVIsSafeToOpen", "analysis TestTimingCSV"},
	"CSV and NDJSON import: hostile rows":                        {"creation TestImportHostileCSV", "creation FuzzCSV", "creation FuzzNDJSON", "creation TestImportIsBoundedInMemory"},
	"segments: nothing of the user in SQL":                       {"creation TestSegmentSQLHoldsNothingOfTheUser", "creation FuzzSegment", "creation TestSegmentsRefuse"},
	"web hooks: private and link-local refused when saved":       {"internal/outbound TestCheckURL", "internal/outbound TestEverySpellingOfAPrivateAddress", "api TestSubscriptionInput"},
	"web hooks: private and link-local refused at dial":          {"internal/outbound TestDialOfEveryForm", "internal/outbound TestPrivateNamesAreRefusedAtDial", "analysis TestPrivateReceiversAreRefused"},
	"web hooks: a name that changes its address":                 {"internal/outbound TestNameThatChangesItsAddressIsRefusedAtDial"},
	"web hooks: no redirect":                                     {"internal/outbound TestNoRedirectIsFollowed"},
	"web hooks: at most 64 KB in 10 s":                           {"internal/outbound TestEndlessAnswerIsCut", "internal/outbound TestSlowAnswersEndInTime"},
	"web hooks: proxy variables are ignored":                     {"internal/outbound TestProxyOfTheEnvironmentIsIgnored"},
	"SendGrid's web hook: unsigned, odd, replayed":               {"delivery/sendgrid TestUnsignedEventsAreRefused", "delivery/sendgrid TestOddRequests", "delivery/sendgrid FuzzWebhook"},
	"bodies are bounded: 413":                                    {"api TestUnknownPathMethodAndSizeAreProblems", "api/track TestPageTooLong"},
	"JSON: depth 32, broken, unknown fields":                     {"api TestJSONIsBounded", "api TestBadInput", "api FuzzCheckJSON"},
	"all four server time-outs":                                  {"cmd/kairos TestServerBoundsItsCallers"},
	"API keys: sha256 of a 256-bit secret, other forms are 401":  {"api TestKeyForms"},
	"API keys: every operation wants one of its scopes":          {"api TestScopesByTheDocumentation", "api TestScopesOpenWhatTheyName", "api TestEveryRouteDeclaresItsScope"},
	"API keys: revoked within a second":                          {"api TestRevocationHoldsWithinASecondElsewhere", "api TestStreamsEndWithTheirKeyAndTheServer"},
	"API keys: limited by key and by address, with Retry-After":  {"api TestRateOfAKey", "api TestFailuresFromOneAddressAreHeldBack"},
	"no secret and no address in logs, metrics and errors":       {"api TestCanaries", "api TestLogHoldsNoSecretAddressTokenOrQuery", "cmd/kairos TestCanariesOfAProcess", "delivery/email TestDescribeTellsNoSecret"},
	"dashboard: cross-origin, foreign hosts, sessions":           {"api/dashboard TestSignIn", "api/dashboard TestOpenDashboardKnowsItsHosts", "api/dashboard TestSessions"},
}

// TestTheChecklistNamesTests: a test that is renamed or removed is missed here.
func TestTheChecklistNamesTests(t *testing.T) {
	t.Parallel()
	sources := map[string]string{}
	for what, tests := range checklist {
		require.NotEmpty(t, tests, what)
		for _, test := range tests {
			folder, name, ok := strings.Cut(test, " ")
			require.True(t, ok, test)
			if sources[folder] == "" {
				files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
				require.NoError(t, err)
				for _, f := range files {
					raw, err := os.ReadFile(f)
					require.NoError(t, err)
					sources[folder] += string(raw)
				}
			}
			require.True(t, strings.Contains(sources[folder], "func "+name+"("), "%s: there is no %s", what, test)
		}
	}
}

// operation is what /openapi.json says of one.
type operation struct {
	method, path string
	id           string
	scopes       []string
}

// operations reads them from the documentation as a client would.
func (w *world) operations() (all []operation) {
	w.t.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	r := w.call("GET", "/openapi.json", nil, "Authorization", "")
	require.Equal(w.t, 200, r.Status)
	require.NoError(w.t, json.Unmarshal([]byte(r.Body), &doc))
	for path, methods := range doc.Paths {
		for method, raw := range methods {
			if method == "parameters" {
				continue
			}
			var op struct {
				OperationID string
				Security    []map[string][]string
			}
			require.NoError(w.t, json.Unmarshal(raw, &op))
			o := operation{method: strings.ToUpper(method), path: path, id: op.OperationID}
			for _, s := range op.Security {
				o.scopes = append(o.scopes, s["key"]...)
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	require.Greater(w.t, len(all), 40)
	return all
}

// TestScopesByTheDocumentation: whoever reads /openapi.json knows which key
// opens what, for every operation and every single scope.
func TestScopesByTheDocumentation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Heartbeat, o.FailureRate = 20*time.Millisecond, 1000 })
	keys := map[string]string{}
	for _, s := range Scopes() {
		keys[s] = w.key(s)
	}
	id := kairos.NewID().String()
	tried, forbidden := 0, 0
	for _, o := range w.operations() {
		if !strings.HasPrefix(o.path, "/v1/") || strings.HasPrefix(o.path, "/v1/webhooks/") {
			continue
		}
		require.NotEmpty(t, o.scopes, "%s %s is open to everybody", o.method, o.path)
		path := strings.NewReplacer("{id}", id, "{attempt}", id+".1", "{v}", "999").Replace(o.path)
		require.NotContains(t, path, "{")
		for scope, key := range keys {
			status := w.statusOf(o.method, path, key)
			may := scope == ScopeAdmin || slices.Contains(o.scopes, scope)
			require.Equal(t, !may, status == http.StatusForbidden, "%s %s with %s: %d", o.method, path, scope, status)
			require.NotEqual(t, http.StatusUnauthorized, status)
			require.Less(t, status, 500, "%s %s with %s", o.method, path, scope)
			tried++
			if !may {
				forbidden++
			}
		}
		require.Equal(t, http.StatusUnauthorized, w.statusOf(o.method, path, ""), "%s %s", o.method, path)
	}
	t.Logf("%d calls, %d of them forbidden", tried, forbidden)
	require.Positive(t, forbidden)
}

// statusOf makes a call and hangs up when the answer begins: a stream never ends.
func (w *world) statusOf(method, path, key string) int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.http.URL+path, nil)
	require.NoError(w.t, err)
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	return resp.StatusCode
}

func TestJSONIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nested := func(depth int) string {
		return `{"email":"a@b.example","attributes":` + strings.Repeat(`{"a":`, depth-2) + `{}` + strings.Repeat("}", depth-2) + "}"
	}
	require.Contains(t, []int{200, 201}, w.call("POST", "/v1/contacts", nested(8)).Status)
	w.call("POST", "/v1/contacts", nested(34)).problem(400, "body")
	w.call("POST", "/v1/contacts", nested(10_000)).problem(400, "body")
	w.call("POST", "/v1/contacts", `{"email":"a@b.example"}{"email":"c@d.example"}`).problem(400, "body")
	w.call("POST", "/v1/contacts", strings.Repeat("[", 200_000)).problem(400, "body")
}

// TestCanaries sends secrets and an address through everything that can go
// wrong, and looks for them in what is logged at the level debug, measured,
// and answered.
func TestCanaries(t *testing.T) {
	t.Parallel()
	const address, name, phone = "canary.4711@bird.example", "Canarybird", "+491715550000"
	registry := prometheus.NewRegistry()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(receiver.Close)
	panics := false
	w := newWorld(t, func(o *Options) {
		o.Registerer, o.Metrics = registry, promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
		o.Analysis = analysis.New(o.Pool, o.Clock, analysis.Options{Hooks: outbound.Options{AllowPrivate: true, Timeout: 5 * time.Second},
			SealID: 1, SealKey: func(byte) ([]byte, bool) { return bytes.Repeat([]byte{7}, 32), true }})
		o.Dashboard = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			panics = true
			if r.URL.Query().Get("error") != "" {
				panic(fmt.Errorf("write to %s: broken", address))
			}
			panic("no such person: " + address)
		})
		o.Ready = func(context.Context) []Check {
			return []Check{{Name: "postgres", Err: fmt.Errorf("reach db for %s", "nobody")}}
		}
	})
	reader := w.key(ScopeReports)
	hook := w.call("POST", "/v1/subscriptions", map[string]any{"url": receiver.URL + "/hook-canary-path?token=canarytoken"}).ok(201)
	secret := hook["secret"].(string)
	person := w.call("POST", "/v1/contacts", map[string]any{"external_id": "c1", "email": address, "first_name": name, "phone": phone}).ok(201)["id"].(string)
	canaries := []string{address, "canary.4711", name, phone, secret, "canarytoken"}
	for _, key := range []string{w.admin, reader} {
		canaries = append(canaries, strings.Split(key, "_")[3])
	}
	clean := func(where, text string) {
		t.Helper()
		for _, c := range canaries {
			if i := strings.Index(text, c); i >= 0 {
				require.Fail(t, "a secret is told", "%s: %q in ...%s...", where, c, text[max(0, i-200):min(len(text), i+200)])
			}
		}
	}
	wrong := 0
	try := func(method, path string, body any, headers ...string) {
		t.Helper()
		r := w.call(method, path, body, headers...)
		if r.Status >= 400 {
			wrong++
			clean(method+" "+path, r.Body+fmt.Sprint(r.Header))
		}
	}

	// Every operation, with the canaries wherever a client may write.
	all := map[string]any{}
	for _, field := range []string{"email", "external_id", "first_name", "phone", "timezone", "locale", "name", "subject", "html", "expression", "url", "template",
		"audience", "schedule", "contact", "contacts", "events", "kind", "token", "to", "data", "choice", "actor", "reason", "scope", "quiet_hours", "preferred_hours"} {
		all[field] = address + " " + secret
	}
	for _, o := range w.operations() {
		if !strings.HasPrefix(o.path, "/v1/") || o.id == "stream-events" {
			continue
		}
		for _, id := range []string{person, kairos.NewID().String(), address, w.admin, "%00" + address} {
			path := strings.NewReplacer("{id}", id, "{attempt}", id+".1", "{v}", id).Replace(o.path)
			try(o.method, path+"?after="+address+"&email="+address, nil)
			w.call(o.method, path+"?"+w.admin+"=1", nil) // the answer names the unknown field, as it should; the log doesn't
			if o.method == "GET" || o.method == "DELETE" {
				continue
			}
			try(o.method, path, all)
			w.call(o.method, path, `{"email":"`+address+`","`+secret+`":1}`)
			try(o.method, path, `{"email":"`+address)
			try(o.method, path, `["`+address+`","`+w.admin+`"]`, "Idempotency-Key", strings.Repeat(address, 20), "Kairos-Purpose", address, "traceparent", w.admin)
			try(o.method, path, address+w.admin, "Content-Type", "text/csv")
		}
	}
	// Keys in the wrong places.
	try("GET", "/v1/contacts", nil, "Authorization", "Basic "+w.admin)
	try("GET", "/v1/contacts", nil, "Authorization", "Bearer "+w.admin+address)
	try("GET", "/v1/contacts?key="+w.admin, nil, "Authorization", "")
	try("POST", "/v1/contacts", map[string]any{"email": "x@y.example"}, "Authorization", "Bearer "+reader)
	try("GET", "/nowhere/"+address, nil)
	try("POST", "/v1/webhooks/"+address, nil)
	// A receiver that refuses, and what is kept of it.
	try("POST", "/v1/subscriptions/"+hook["id"].(string)+"/test", nil)
	clean("deliveries", w.call("GET", "/v1/subscriptions/"+hook["id"].(string)+"/deliveries", nil).Body)
	// Panics.
	try("GET", "/dashboard/", nil)
	try("GET", "/dashboard/?error=1", nil)
	require.True(t, panics)
	// Faults of the database that quote what they were given.
	for _, fault := range []string{
		`ALTER TABLE contacts ADD CONSTRAINT no CHECK (email NOT LIKE '%canary%') NOT VALID`,
		`CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no row for %', NEW.email; END $$;
		 ALTER TABLE contacts DROP CONSTRAINT no; CREATE TRIGGER no BEFORE INSERT OR UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION no()`,
		`DROP TRIGGER no ON contacts; ALTER TABLE contacts ALTER phone TYPE int USING NULL, ALTER first_name TYPE int USING NULL, ALTER email_key TYPE int USING NULL`,
		`ALTER TABLE contacts RENAME TO people`,
	} {
		_, err := w.pool.Exec(t.Context(), fault)
		require.NoError(t, err)
		try("POST", "/v1/contacts", map[string]any{"external_id": "c1", "email": address, "first_name": name})
		try("PATCH", "/v1/contacts/"+person, map[string]any{"phone": phone})
		try("POST", "/v1/contacts/batch", map[string]any{"contacts": []any{map[string]any{"email": address, "first_name": name}}})
		try("GET", "/v1/contacts?email="+address, nil)
	}
	try("GET", "/readyz", nil)
	w.http.Close() // calls under way end, so that all is logged
	log := w.log.String()
	require.Contains(t, log, `"level":"ERROR"`, "nothing went wrong: this proves nothing")
	for line := range strings.Lines(log) {
		clean("log", line)
	}
	metrics := httptest.NewRecorder()
	w.api.opts.Metrics.ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Contains(t, metrics.Body.String(), "kairos_http_request_duration_seconds_count")
	clean("metrics", metrics.Body.String())
	t.Logf("%d calls went wrong, %d bytes of log, %d of metrics", wrong, len(log), metrics.Body.Len())
	require.Greater(t, wrong, 300)
}
