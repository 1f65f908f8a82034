package track

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/token"
)

// Any body is refused with the name of a field, or becomes an event that the
// log can hold.
func FuzzPageEvent(f *testing.F) {
	for _, c := range pageCases {
		f.Add([]byte(c.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > maxEvent {
			return
		}
		e, err := parse(body)
		var data json.RawMessage
		if err == nil {
			data, err = e.encode()
		}
		if err != nil {
			var field *kairos.FieldError
			require.ErrorAs(t, err, &field)
			require.ErrorIs(t, err, kairos.ErrInvalid)
			return
		}
		require.True(t, kairos.ValidKind(e.kind))
		require.True(t, utf8.ValidString(e.key) && !strings.Contains(e.key, "\x00") && len(e.key) <= kairos.MaxKey)
		if len(data) == 0 {
			return
		}
		require.LessOrEqual(t, len(data), maxEvent)
		require.True(t, data[0] == '{' && json.Valid(data) && utf8.Valid(data), "%q", data)
		require.NotContains(t, string(data), `\u0000`)
		require.LessOrEqual(t, kairos.JSONDepth(data), kairos.MaxDepth)
		var m map[string]any
		require.NoError(t, json.Unmarshal(data, &m))
		require.NotContains(t, m, "machine")
		if e.kind == kairos.PaymentReceived {
			amount, err := kairos.ParseAmount(m["amount"].(string))
			require.NoError(t, err)
			require.GreaterOrEqual(t, amount, kairos.Amount(0))
			require.True(t, kairos.ValidCurrency(m["currency"].(string)))
		}
	})
}

// No path makes the collector stumble, and none that is not ours gets more
// than the constant answer.
func FuzzToken(f *testing.F) {
	d := open(f)
	for _, path := range d.paths() {
		f.Add(http.MethodGet, path)
		f.Add(http.MethodPost, path)
		f.Add(http.MethodHead, path[:len(path)-3])
	}
	for _, path := range []string{"", "/", "//", "/c/", "/c/../u/x", "/t/ws", "/k.js", "/c/%2f?url=https://evil.example", "/o/.gif"} {
		f.Add(http.MethodGet, path)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || strings.HasSuffix(u.Path, "/ws") {
			return
		}
		before := d.spool.Stats().Appended
		w := httptest.NewRecorder()
		d.ServeHTTP(w, &http.Request{Method: method, URL: u, Header: http.Header{}, Body: http.NoBody})
		switch w.Code {
		case 302:
			claims, err := d.ring.Open(token.PurposeClick, strings.TrimPrefix(u.Path, "/c/"))
			require.NoError(t, err)
			require.Equal(t, string(d.appendLocation(nil, claims)), w.Header().Get("Location"))
		case 404:
			require.Equal(t, nothing, w.Body.String())
			require.Equal(t, before, d.spool.Stats().Appended)
		case 200, 202, 204, 400, 405:
		default:
			t.Fatalf("%s %q: %d", method, path, w.Code)
		}
	})
}
