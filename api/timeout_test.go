package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// impatient serves the world through a server whose time-outs are short.
func (w *world) impatient() {
	w.http.Close()
	w.http = httptest.NewUnstartedServer(w.api.router)
	w.http.Config.ReadTimeout, w.http.Config.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond
	w.http.Start()
	w.t.Cleanup(w.http.Close)
}

func TestImportMayTakeLongerThanTheServersTimeouts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.impatient()
	body, feed := io.Pipe()
	go func() {
		_, _ = io.WriteString(feed, "external_id\n")
		for _, row := range []string{"a\n", "b\n", "c\n"} {
			time.Sleep(150 * time.Millisecond)
			_, _ = io.WriteString(feed, row)
		}
		_ = feed.Close()
	}()
	w.call("POST", "/v1/contacts/import", body, "Content-Type", "text/csv", "Idempotency-Key", "slow").ok(202)
}

func TestStreamMayLastLongerThanTheServersTimeouts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Heartbeat = 50 * time.Millisecond })
	w.impatient()
	w.call("POST", "/v1/contacts", `{"external_id":"p1"}`).ok(201)
	r := w.follow("/v1/events/stream", "")
	for start := time.Now(); time.Since(start) < 600*time.Millisecond; {
		require.True(t, r.lines.Scan(), "the stream ended: %v", r.lines.Err())
	}
	w.emit(0, 1)
	_, e := r.next()
	require.Equal(t, "k0", e.Key)
}

func TestABodyThatBreaksOffIsNoFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.impatient()
	for _, path := range []string{"/v1/contacts", "/v1/contacts/import"} {
		req := httptest.NewRequest(http.MethodPost, path, brokenBody{})
		req.Header.Set("Authorization", "Bearer "+w.admin)
		req.Header.Set("Content-Type", map[bool]string{true: "application/json", false: "text/csv"}[path == "/v1/contacts"])
		rec := httptest.NewRecorder()
		w.api.router.ServeHTTP(rec, req)
		require.Equal(t, http.StatusBadRequest, rec.Code, rec.Body.String())
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
