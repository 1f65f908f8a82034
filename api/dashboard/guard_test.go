package dashboard

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestSignIn(t *testing.T) {
	const key = "kairos_dev_1_secret"
	w := newWorld(t, func(o *Options) {
		o.Authenticate = func(_ context.Context, k string) (Visitor, bool) {
			return Visitor{Name: "Marketing <b>", Acts: true}, k == key
		}
	})
	id := w.campaign("Secret campaign", kairos.Running, 1)
	path := "/dashboard/campaigns/" + id.String()

	for _, p := range []string{"/dashboard", path, path + "/notifications", "/dashboard/unknowns", "/dashboard/inbox", "/dashboard/nowhere"} {
		res, body := w.get(p)
		require.Equal(t, http.StatusSeeOther, res.StatusCode)
		require.Equal(t, "/dashboard/login?next="+url.QueryEscape(p), res.Header.Get("Location"))
		require.NotContains(t, body, "Secret campaign")
	}
	for _, c := range []struct {
		method, path string
		header       http.Header
	}{
		{"POST", path + "/pause", nil}, {"GET", path + "/live", http.Header{"Accept": {"text/event-stream"}}}, {"GET", "/dashboard", http.Header{"Hx-Request": {"true"}}},
	} {
		res, body := w.do(c.method, c.path, c.header)
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
		require.NotContains(t, body, "Secret campaign")
	}
	for _, cookie := range []string{"x", "", strings.Repeat("A", 60), strings.Repeat("A", 5000), "!!"} {
		res, _ := w.do(http.MethodGet, "/dashboard", http.Header{"Cookie": {cookieName + "=" + cookie}})
		require.Equal(t, http.StatusSeeOther, res.StatusCode)
	}

	res, body := w.get("/dashboard/login?next=" + url.QueryEscape(path))
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, body, `value="`+path+`"`)
	res, _ = w.get("/dashboard/assets/dashboard.css")
	require.Equal(t, http.StatusOK, res.StatusCode, "the sign-in page needs it")

	res, body = w.do(http.MethodPost, "/dashboard/login", nil, url.Values{"key": {"kairos_dev_1_wrong"}}.Encode())
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	require.Empty(t, res.Cookies())
	require.NotContains(t, body, "kairos_dev_1_wrong")
	res, _ = w.do(http.MethodPost, "/dashboard/login", http.Header{"Sec-Fetch-Site": {"cross-site"}}, url.Values{"key": {key}}.Encode())
	require.Equal(t, http.StatusForbidden, res.StatusCode, "nobody signs a visitor in from elsewhere")

	res, _ = w.do(http.MethodPost, "/dashboard/login", http.Header{"X-Forwarded-Proto": {"https"}}, url.Values{"key": {" " + key + "\n"}, "next": {path}}.Encode())
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	require.Equal(t, path, res.Header.Get("Location"))
	require.Len(t, res.Cookies(), 1)
	c := res.Cookies()[0]
	require.True(t, c.HttpOnly)
	require.True(t, c.Secure)
	require.Equal(t, http.SameSiteStrictMode, c.SameSite)
	require.Equal(t, 12*3600, c.MaxAge)
	require.NotContains(t, c.Value, "secret")

	signed := http.Header{"Cookie": {c.Name + "=" + c.Value}}
	res, body = w.do(http.MethodGet, path, signed)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, body, "Secret campaign")
	require.Contains(t, body, "Marketing &lt;b&gt;")
	res, _ = w.do(http.MethodPost, path+"/pause", signed)
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	var actor string
	require.NoError(t, w.pool.QueryRow(context.Background(), `SELECT actor FROM tickets WHERE origin = 'dashboard'`).Scan(&actor))
	require.Equal(t, "Marketing <b>", actor)

	forged := []byte(c.Value)
	forged[len(forged)/2] ^= 1
	res, _ = w.do(http.MethodGet, "/dashboard", http.Header{"Cookie": {c.Name + "=" + string(forged)}})
	require.Equal(t, http.StatusSeeOther, res.StatusCode)

	res, _ = w.do(http.MethodPost, "/dashboard/logout", signed)
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	require.Negative(t, res.Cookies()[0].MaxAge)
	for range 30 {
		res, _ = w.do(http.MethodPost, "/dashboard/login", nil, "key=guess")
	}
	require.Equal(t, http.StatusTooManyRequests, res.StatusCode)
}

func TestOnlyKeysThatMayActChangeCampaigns(t *testing.T) {
	for acts, want := range map[bool]int{false: http.StatusForbidden, true: http.StatusSeeOther} {
		w := newWorld(t, func(o *Options) {
			o.Authenticate = func(context.Context, string) (Visitor, bool) { return Visitor{Name: "ada", Acts: acts}, true }
		})
		id := w.campaign("Autumn", kairos.Running, 1)
		res, _ := w.do(http.MethodPost, "/dashboard/login", nil, url.Values{"key": {"k"}}.Encode())
		require.Len(t, res.Cookies(), 1)
		cookie := http.Header{"Cookie": {cookieName + "=" + res.Cookies()[0].Value}}
		res, _ = w.do(http.MethodPost, "/dashboard/campaigns/"+id.String()+"/pause", cookie)
		require.Equal(t, want, res.StatusCode)
	}
}

func TestSessions(t *testing.T) {
	valid := atomic.Bool{}
	valid.Store(true)
	auth := func(context.Context, string) (Visitor, bool) { return Visitor{Name: "ada"}, valid.Load() }
	made := func(secret string) *sessions {
		s, err := newSessions([]byte(secret), auth)
		require.NoError(t, err)
		return s
	}
	now := time.Now()
	cookie := made("one").issue("key", now, false)
	ask := func(s *sessions, at time.Time) bool {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/dashboard", nil)
		r.AddCookie(cookie)
		_, ok := s.who(r, at)
		return ok
	}
	require.True(t, ask(made("one"), now), "another process with the same secret")
	require.False(t, ask(made("two"), now), "another secret")
	require.True(t, ask(made("one"), now.Add(sessionAge-time.Second)))
	require.False(t, ask(made("one"), now.Add(sessionAge)), "too old")
	valid.Store(false)
	require.False(t, ask(made("one"), now), "revoked")
}

func TestDestination(t *testing.T) {
	for next, want := range map[string]string{
		"/dashboard/inbox?to=a": "/dashboard/inbox?to=a", "/dashboard": "/dashboard", "": "/dashboard", "//evil.example/dashboard": "/dashboard",
		"https://evil.example/dashboard": "/dashboard", "/dashboardevil": "/dashboard", `/dashboard/\evil.example`: "/dashboard", "/v1/campaigns": "/dashboard",
		"javascript:alert(1)": "/dashboard", "/dashboard/login?next=/dashboard/login": "/dashboard", "/dashboard/\r\nX: y": "/dashboard",
	} {
		require.Equal(t, want, destination(next), next)
	}
}

func TestOpenDashboardKnowsItsHosts(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8080": true, "127.0.0.1:8080": true, "[::1]:8080": true, "10.1.2.3": true, "devbox:80": true, "a.localhost": true, "LOCALHOST.:1": true,
		"evil.example": false, "evil.example:8080": false, "127.0.0.1.evil.example": false, "localhost.evil.example": false, "": false,
	} {
		require.Equal(t, want, ownHost(host), host)
	}
	w := newWorld(t, nil)
	res, _ := w.do(http.MethodGet, "/dashboard", http.Header{"Host": {"evil.example"}})
	require.Equal(t, http.StatusMisdirectedRequest, res.StatusCode)
}

func TestOptionsNameWhatIsMissing(t *testing.T) {
	w := newWorld(t, nil)
	for field, change := range map[string]func(o *Options){
		"creation": func(o *Options) { o.Creation = nil }, "delivery": func(o *Options) { o.Delivery = nil },
		"analysis": func(o *Options) { o.Analysis = nil }, "session_key": func(o *Options) { o.SessionKey = []byte("short") },
	} {
		o := w.stages
		change(&o)
		_, err := New(o)
		require.ErrorIs(t, err, kairos.ErrInvalid)
		require.ErrorContains(t, err, field)
	}
}
