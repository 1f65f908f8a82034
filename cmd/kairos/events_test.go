package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
)

// logServer serves a log of n events as GET /v1/events does.
func logServer(t *testing.T, n int) (url string, asked *[]string) {
	asked = &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.RequestURI())
		from, _ := strconv.Atoi(r.FormValue("after"))
		limit, _ := strconv.Atoi(r.FormValue("limit"))
		items := []map[string]any{}
		for i := from + 1; i <= min(n, from+limit); i++ {
			items = append(items, map[string]any{"cursor": strconv.Itoa(i), "id": fmt.Sprintf("e%d", i), "kind": "page.viewed", "version": 1,
				"occurred_at": "2026-03-01T12:00:00.5Z", "recorded_at": "2026-03-01T12:00:01Z", "contact": "c1", "data": map[string]any{"n": i}})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"items": items, "next": nil})
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func TestEventsArePrintedWhole(t *testing.T) {
	t.Parallel()
	const n = 2*eventPage + 7
	url, asked := logServer(t, n)
	events := func(args ...string) string {
		var out, errs bytes.Buffer
		require.Zero(t, run(append([]string{"events", "--server", url, "--api-key", "k"}, args...), &out, &errs), errs.String())
		return out.String()
	}
	words := events()
	require.Equal(t, n, strings.Count(words, "\n"))
	require.True(t, strings.HasPrefix(words, "2026-03-01 12:00:00.500  page.viewed               contact c1  {\"n\":1}\n"), words[:100])

	lines := strings.Split(strings.TrimSpace(events("--json")), "\n")
	require.Len(t, lines, n)
	require.JSONEq(t, `{"cursor":"2007","id":"e2007","kind":"page.viewed","occurred_at":"2026-03-01T12:00:00.5Z","recorded_at":"2026-03-01T12:00:01Z","contact":"c1","data":{"n":2007}}`, lines[n-1])

	csv := events("--csv")
	require.Equal(t, n+1, strings.Count(csv, "\n"))
	require.True(t, strings.HasPrefix(csv, "cursor,id,kind,"))

	raw := events("--parquet")
	f, err := parquet.OpenFile(strings.NewReader(raw), int64(len(raw)))
	require.NoError(t, err)
	require.EqualValues(t, n, f.NumRows())

	*asked = nil
	require.Equal(t, 2, strings.Count(events("--after", "2005", "--kind", "page.viewed,cta.clicked", "--campaign", "c"), "\n"))
	require.Equal(t, []string{"/v1/events?after=2005&campaign=c&kind=page.viewed%2Ccta.clicked&limit=1000"}, *asked)
	for _, wrong := range [][]string{{"--follow", "--parquet"}, {"--csv", "--parquet"}} {
		require.Equal(t, 2, run(append([]string{"events", "--server", url, "--api-key", "k"}, wrong...), &bytes.Buffer{}, &bytes.Buffer{}))
	}
}
