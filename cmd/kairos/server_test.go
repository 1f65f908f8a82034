package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A caller who sends its header byte by byte, or a header without end, is cut
// off; none of the four time-outs is left to chance.
func TestServerBoundsItsCallers(t *testing.T) {
	s := httpServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for name, d := range map[string]time.Duration{
		"read header": s.ReadHeaderTimeout, "read": s.ReadTimeout, "write": s.WriteTimeout, "idle": s.IdleTimeout,
	} {
		require.Positive(t, d, name)
		require.LessOrEqual(t, d, 5*time.Minute, name)
	}
	s.ReadHeaderTimeout = 200 * time.Millisecond // the same server, with less patience
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })

	slow, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer func() { _ = slow.Close() }()
	_, err = io.WriteString(slow, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	require.NoError(t, err)
	require.NoError(t, slow.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = io.ReadAll(slow)
	require.NoError(t, err, "the server hangs up")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String(), nil)
	require.NoError(t, err)
	req.Header.Set("X-Long", strings.Repeat("a", 200<<10))
	resp, err := http.DefaultClient.Do(req)
	if err == nil { // or the connection was reset while the header was still being written
		defer func() { _ = resp.Body.Close() }()
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, resp.StatusCode)
	}
}
