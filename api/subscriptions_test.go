package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/analysis"
	"kairos/internal/outbound"
)

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := `{"url":"https://hooks.example.com/x","kinds":["notification.*","payment.received"],"description":"CRM"}`
	r := w.call("POST", "/v1/subscriptions", in, "Idempotency-Key", "s1")
	s := r.ok(201)
	id, secret := s["id"].(string), s["secret"].(string)
	require.Regexp(t, `^whsec_[A-Za-z0-9+/]{43}=$`, secret)
	require.Equal(t, "active", s["state"])
	require.Equal(t, []any{"notification.*", "payment.received"}, s["kinds"])

	replay := w.call("POST", "/v1/subscriptions", in, "Idempotency-Key", "s1")
	require.Equal(t, "true", replay.Header.Get(replayedHeader))
	require.Equal(t, id, replay.ok(201)["id"])
	rotated := w.call("POST", "/v1/subscriptions/"+id+"/rotate", nil, "Idempotency-Key", "s2").ok(200)["secret"].(string)
	require.NotEqual(t, secret, rotated)

	var seen strings.Builder // all that is answered or kept after the creation
	seen.WriteString(replay.Body)
	for _, path := range []string{"", "/" + id, "/" + id + "/deliveries"} {
		r := w.call("GET", "/v1/subscriptions"+path, nil)
		r.ok(200)
		seen.WriteString(r.Body)
	}
	r = w.call("PATCH", "/v1/subscriptions/"+id, `{"state":"paused","kinds":[],"url":"https://hooks.example.com/y"}`)
	seen.WriteString(r.Body)
	s = r.ok(200)
	require.Equal(t, "paused", s["state"])
	require.Empty(t, s["kinds"])
	require.Equal(t, "CRM", s["description"])
	require.Equal(t, "https://hooks.example.com/y", s["url"])
	s = w.call("PATCH", "/v1/subscriptions/"+id, `{"state":"active"}`).ok(200)
	require.Equal(t, "active", s["state"])
	require.Equal(t, "https://hooks.example.com/y", s["url"])

	var bodies string
	require.NoError(t, w.pool.QueryRow(context.Background(), `SELECT string_agg(convert_from(body, 'UTF8'), ' ') FROM idempotency_keys`).Scan(&bodies))
	require.Contains(t, bodies, id)
	seen.WriteString(bodies + w.log.String())
	for _, s := range []string{secret, rotated} {
		require.NotContains(t, seen.String(), strings.TrimPrefix(s, "whsec_"))
	}

	second := w.call("POST", "/v1/subscriptions", `{"url":"http://hooks.example.com"}`).ok(201)
	page := w.call("GET", "/v1/subscriptions?limit=1", nil).ok(200)
	listed := []any{page["items"].([]any)[0].(map[string]any)["id"]}
	page = w.call("GET", "/v1/subscriptions?after="+page["next"].(string), nil).ok(200)
	listed = append(listed, page["items"].([]any)[0].(map[string]any)["id"])
	require.ElementsMatch(t, []any{id, second["id"]}, listed, "made in the same millisecond they have no order")
	require.Equal(t, 204, w.call("DELETE", "/v1/subscriptions/"+id, nil).Status)
	w.call("GET", "/v1/subscriptions/"+id, nil).problem(404, "")
	w.call("DELETE", "/v1/subscriptions/"+id, nil).problem(404, "")
	w.call("POST", "/v1/subscriptions/"+id+"/test", nil).problem(404, "")
	w.call("POST", "/v1/subscriptions/"+id+"/rotate", nil).problem(404, "")
	w.call("GET", "/v1/subscriptions/"+id+"/deliveries", nil).problem(404, "")
}

func TestSubscriptionInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.call("POST", "/v1/subscriptions", `{"url":"https://hooks.example.com"}`).ok(201)["id"].(string)
	for _, bad := range []string{"", "sekret", "ftp://sekret.example", "https://", "https://user:sekret@hooks.example.com", "http://127.0.0.1/sekret",
		"http://10.0.0.1/sekret", "http://169.254.169.254/sekret", "http://[::1]/sekret", "http://[::ffff:127.0.0.1]/sekret", "http://[64:ff9b::a00:1]/sekret",
		"http://0x7f.1/sekret", "http://2130706433/sekret", "http://017700000001/sekret", "http://localhost/sekret", "http://168.63.129.16/sekret"} {
		for _, r := range []reply{
			w.call("POST", "/v1/subscriptions", map[string]any{"url": bad}),
			w.call("PATCH", "/v1/subscriptions/"+id, map[string]any{"url": bad}),
		} {
			r.problem(422, "body.url")
			require.NotContains(t, r.Body, "sekret")
		}
	}
	for body, at := range map[string]string{
		`{}`: "body.url",
		`{"url":"https://hooks.example.com","kinds":["sekret kind"]}`:            "body.kinds[0]",
		`{"url":"https://hooks.example.com","kinds":["a","*"]}`:                  "body.kinds[1]",
		`{"url":"https://hooks.example.com","kinds":["notification*"]}`:          "body.kinds[0]",
		`{"url":"https://hooks.example.com","kinds":["notification.*.clicked"]}`: "body.kinds[0]",
	} {
		w.call("POST", "/v1/subscriptions", body).problem(422, at)
	}
	w.call("POST", "/v1/subscriptions", `{"url":"https://hooks.example.com","secret":"mine"}`).problem(400, "body.secret")
	w.call("PATCH", "/v1/subscriptions/"+id, `{"state":"disabled"}`).problem(422, "body.state")
	w.call("GET", "/v1/subscriptions?after=sekret", nil).problem(422, "query.after")
	w.call("GET", "/v1/subscriptions/"+id+"/deliveries?after=sekret", nil).problem(422, "query.after")
	require.NotContains(t, w.log.String(), "sekret")
}

func TestTestEventIsPosted(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("webhook-id")
		w.WriteHeader(http.StatusAccepted)
	}))
	defer receiver.Close()
	w := newWorld(t, func(o *Options) {
		o.Analysis = analysis.New(o.Pool, o.Clock, analysis.Options{Hooks: outbound.Options{AllowPrivate: true},
			SealKey: func(byte) ([]byte, bool) { return make([]byte, 32), true }})
	})
	id := w.call("POST", "/v1/subscriptions", map[string]any{"url": receiver.URL}).ok(201)["id"].(string)
	d := w.call("POST", "/v1/subscriptions/"+id+"/test", nil).ok(200)
	require.Equal(t, <-got, d["event"])
	require.EqualValues(t, 202, d["status"])
	require.Nil(t, d["error"])
	list := w.call("GET", "/v1/subscriptions/"+id+"/deliveries", nil, "Authorization", "Bearer "+w.key(ScopeReports)).ok(200)
	require.Equal(t, d["event"], list["items"].([]any)[0].(map[string]any)["event"])
	w.call("GET", "/v1/subscriptions/"+id, nil, "Authorization", "Bearer "+w.key(ScopeReports)).problem(403, "")
}
