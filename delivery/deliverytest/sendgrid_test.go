package deliverytest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
)

// request is a valid body; edits are made in it.
func request() map[string]any {
	return map[string]any{
		"personalizations": []any{map[string]any{
			"to": []any{map[string]any{"email": "a@example.com", "name": "A"}}, "substitutions": map[string]any{"-x-": "1"},
			"headers": map[string]any{"X-A": "b"}, "custom_args": map[string]any{"k": "v"},
		}},
		"from": map[string]any{"email": "shop@example.com"}, "subject": "Hi -x-",
		"content": []any{map[string]any{"type": "text/plain", "value": "t -x-"}, map[string]any{"type": "text/html", "value": "h -x-"}},
	}
}

func TestRequestsAreChecked(t *testing.T) {
	s, err := deliverytest.NewSendGrid(deliverytest.SendGridOptions{APIKey: "SG.k"})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	first := func(q map[string]any) map[string]any { return q["personalizations"].([]any)[0].(map[string]any) }
	many := func(n int, addr string) []any {
		var out []any
		for i := range n {
			out = append(out, map[string]any{"to": []any{map[string]any{"email": strings.ReplaceAll(addr, "#", fmt.Sprint(i))}}})
		}
		return out
	}
	for name, c := range map[string]struct {
		edit  func(map[string]any)
		key   string
		want  int
		field string
	}{
		"right":              {want: 202},
		"wrong key":          {key: "SG.x", want: 401},
		"unknown field":      {edit: func(q map[string]any) { q["colour"] = "red" }, want: 400},
		"nobody":             {edit: func(q map[string]any) { q["personalizations"] = []any{} }, want: 400, field: "personalizations"},
		"1000":               {edit: func(q map[string]any) { q["personalizations"] = many(1000, "p#@example.com") }, want: 202},
		"1001":               {edit: func(q map[string]any) { q["personalizations"] = many(1001, "p#@example.com") }, want: 400, field: "personalizations"},
		"twice":              {edit: func(q map[string]any) { q["personalizations"] = many(2, "p@example.com") }, want: 400, field: "personalizations"},
		"no sender":          {edit: func(q map[string]any) { delete(q, "from") }, want: 400, field: "from"},
		"no subject":         {edit: func(q map[string]any) { delete(q, "subject") }, want: 400, field: "subject"},
		"no content":         {edit: func(q map[string]any) { delete(q, "content") }, want: 400, field: "content"},
		"empty content":      {edit: func(q map[string]any) { q["content"].([]any)[1].(map[string]any)["value"] = "" }, want: 400, field: "content.1.value"},
		"html first":         {edit: func(q map[string]any) { c := q["content"].([]any); c[0], c[1] = c[1], c[0] }, want: 400, field: "content.1.type"},
		"bad address":        {edit: func(q map[string]any) { q["personalizations"] = many(3, "p# example.com") }, want: 400, field: "personalizations.0.to.0.email"},
		"reserved header":    {edit: func(q map[string]any) { first(q)["headers"] = map[string]any{"Reply-To": "x"} }, want: 400, field: "personalizations.0.headers"},
		"header in Unicode":  {edit: func(q map[string]any) { first(q)["headers"] = map[string]any{"X-A": "é"} }, want: 400, field: "personalizations.0.headers"},
		"many substitutions": {edit: func(q map[string]any) { first(q)["substitutions"] = map[string]any{"-x-": strings.Repeat("x", 10_000)} }, want: 400, field: "personalizations.0.substitutions"},
		"many args":          {edit: func(q map[string]any) { first(q)["custom_args"] = map[string]any{"k": strings.Repeat("x", 10_000)} }, want: 400, field: "personalizations.0.custom_args"},
	} {
		t.Run(name, func(t *testing.T) {
			q := request()
			if c.edit != nil {
				c.edit(q)
			}
			body, err := json.Marshal(q)
			require.NoError(t, err)
			req, err := http.NewRequest(http.MethodPost, s.URL()+"/v3/mail/send", strings.NewReader(string(body)))
			require.NoError(t, err)
			if c.key == "" {
				c.key = "SG.k"
			}
			req.Header.Set("Authorization", "Bearer "+c.key)
			req.Header.Set("Content-Type", "application/json")
			res, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer func() { _ = res.Body.Close() }()
			answer, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			require.Equal(t, c.want, res.StatusCode, "%s", answer)
			if c.want == 202 {
				require.NotEmpty(t, res.Header.Get("X-Message-Id"))
				require.Empty(t, answer)
				return
			}
			var e struct {
				Errors []struct {
					Message string
					Field   *string
				}
			}
			require.NoError(t, json.Unmarshal(answer, &e))
			require.NotEmpty(t, e.Errors[0].Message)
			if c.field != "" {
				require.Equal(t, c.field, *e.Errors[0].Field)
			}
		})
	}
	m, ok := s.Message("A@example.com")
	require.True(t, ok)
	subject, text, html := m.Rendered()
	require.Equal(t, [3]string{"Hi 1", "t 1", "h 1"}, [3]string{subject, text, html})
	require.Equal(t, 1001, s.Total())
}
