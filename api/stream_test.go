package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// reader is one open stream of server-sent events.
type reader struct {
	t      *testing.T
	lines  *bufio.Scanner
	leave  context.CancelFunc
	header http.Header
}

func (w *world) follow(path, last string) *reader {
	w.t.Helper()
	ctx, leave := context.WithCancel(w.t.Context())
	w.t.Cleanup(leave)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.http.URL+path, nil)
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+w.admin)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	require.Equal(w.t, 200, resp.StatusCode)
	return &reader{w.t, bufio.NewScanner(resp.Body), leave, resp.Header}
}

// next returns the next event and its id.
func (r *reader) next() (id string, e Event) {
	r.t.Helper()
	for r.lines.Scan() {
		line := r.lines.Text()
		if s, ok := strings.CutPrefix(line, "id: "); ok {
			id = s
		}
		if s, ok := strings.CutPrefix(line, "data: "); ok {
			require.NoError(r.t, json.Unmarshal([]byte(s), &e))
			require.Equal(r.t, id, e.Cursor)
			return id, e
		}
	}
	r.t.Fatal("stream ended")
	return "", e
}

func (w *world) emit(from, to int) {
	w.t.Helper()
	var b strings.Builder
	for i := from; i < to; i++ {
		_, _ = fmt.Fprintf(&b, `{"kind":"page.viewed","external_id":"p1","key":"k%d"},`, i)
	}
	r := w.call("POST", "/v1/events", `{"events":[`+strings.TrimSuffix(b.String(), ",")+`]}`).ok(202)
	require.EqualValues(w.t, to-from, r["accepted"])
}

func TestStreamResumesWithoutGapOrRepeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call("POST", "/v1/contacts", `{"external_id":"p1"}`).ok(201)
	w.emit(0, 400) // more than the buffer holds
	r := w.follow("/v1/events/stream?after=start&kind=page.viewed", "")
	require.Equal(t, "text/event-stream", r.header.Get("Content-Type"))
	seen := map[string]int{}
	last := ""
	for range 150 {
		id, e := r.next()
		seen[e.Key]++
		last = id
	}
	r.leave()
	w.emit(400, 600)
	r = w.follow("/v1/events/stream?kind=page.viewed", last)
	for len(seen) < 600 {
		_, e := r.next()
		seen[e.Key]++
	}
	w.emit(600, 601) // live
	_, e := r.next()
	require.Equal(t, "k600", e.Key)
	for k, n := range seen {
		require.Equal(t, 1, n, k)
	}
}

func TestStreamBeginsNowAndBeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Heartbeat = 30 * time.Millisecond })
	w.call("POST", "/v1/contacts", `{"external_id":"p1"}`).ok(201)
	w.emit(0, 5)
	r := w.follow("/v1/events/stream", "")
	for beats := 0; beats < 3; {
		require.True(t, r.lines.Scan())
		require.False(t, strings.HasPrefix(r.lines.Text(), "data:"))
		if r.lines.Text() == ": alive" {
			beats++
		}
	}
	w.emit(5, 6)
	_, e := r.next()
	require.Equal(t, "k5", e.Key)
}

func TestStreamOverWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call("POST", "/v1/contacts", `{"external_id":"p1"}`).ok(201)
	w.emit(0, 3)
	dial := func(after string) *websocket.Conn {
		conn, resp, err := websocket.Dial(t.Context(), w.http.URL+"/v1/events/stream?kind=page.viewed", &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + w.admin}, "Last-Event-ID": {after}}})
		require.NoError(t, err)
		if resp.Body != nil {
			_ = resp.Body.Close()
		}
		return conn
	}
	read := func(conn *websocket.Conn) (e Event) {
		_, data, err := conn.Read(t.Context())
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, &e))
		return e
	}
	conn := dial("start")
	require.Equal(t, "k0", read(conn).Key)
	last := read(conn)
	require.NoError(t, conn.Close(websocket.StatusNormalClosure, ""))
	conn = dial(last.Cursor)
	require.Equal(t, "k2", read(conn).Key)
	w.emit(3, 4)
	require.Equal(t, "k3", read(conn).Key)
	_ = conn.CloseNow()

	w.call("GET", "/v1/events/stream", nil, "Connection", "Upgrade", "Upgrade", "websocket").problem(400, "header.Sec-WebSocket-Key")
}

func TestStreamsEndWithTheirKeyAndTheServer(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	w := newWorld(t, func(o *Options) { o.Stopping, o.Streams = stop, 1 })
	r := w.follow("/v1/events/stream", "")
	w.call("GET", "/v1/events/stream", nil).problem(503, "")
	admin := w.admin
	require.NoError(t, w.api.keys.Revoke(t.Context(), strings.Split(admin, "_")[2]))
	for r.lines.Scan() { // ends
	}
	w.admin = w.key(ScopeAdmin)
	require.Eventually(t, func() bool { return len(w.api.streams) == 0 }, 5*time.Second, 5*time.Millisecond)
	r = w.follow("/v1/events/stream", "")
	close(stop)
	for r.lines.Scan() {
	}
}
