package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery"
)

// TestBounceFromAPipe: the message goes out as it came, and what the server
// says of it is printed.
func TestBounceFromAPipe(t *testing.T) {
	var got []byte
	var asked *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		asked = r
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"recorded":true,"attempt":"a.1","kind":"notification.bounced","class":"hard","code":"5.1.1"}`)
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	file := filepath.Join(t.TempDir(), "message")
	pipe := func(message string, args ...string) (int, string) {
		t.Helper()
		require.NoError(t, os.WriteFile(file, []byte(message), 0o600))
		f, err := os.Open(file)
		require.NoError(t, err)
		stdin := os.Stdin
		os.Stdin = f
		defer func() { os.Stdin = stdin; _ = f.Close() }()
		var out, errs bytes.Buffer
		code := run(append([]string{"bounce", "--server", srv.URL, "--api-key", "key"}, args...), &out, &errs)
		return code, out.String() + errs.String()
	}
	code, out := pipe("To: x\n\nhello\r\n", "--to", "bounce+a.1@b.example")
	require.Zero(t, code, out)
	require.Equal(t, "notification.bounced hard 5.1.1 a.1\n", out)
	require.Equal(t, "To: x\n\nhello\r\n", string(got))
	require.Equal(t, "message/rfc822", asked.Header.Get("Content-Type"))
	require.Equal(t, "bounce+a.1@b.example", asked.URL.Query().Get("to"))
	require.Equal(t, "/v1/bounces", asked.URL.Path)
	code, _ = pipe(strings.Repeat("x", delivery.MaxBounce+1))
	require.Zero(t, code)
	require.Len(t, got, delivery.MaxBounce, "the report comes first: the rest may go")
	require.Empty(t, asked.URL.RawQuery)
}

// TestBounceIsTriedAgain: the mail server keeps the message whenever it isn't
// the message that the server refuses.
func TestBounceIsTriedAgain(t *testing.T) {
	status := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	file := filepath.Join(t.TempDir(), "message")
	require.NoError(t, os.WriteFile(file, []byte("To: x\n\n"), 0o600))
	bounce := func() (int, string) {
		var out, errs bytes.Buffer
		code := run([]string{"bounce", "--server", srv.URL, "--api-key", "key", "--to", "canary@b.example", file}, &out, &errs)
		return code, errs.String()
	}
	for s, want := range map[int]int{0: 75, 202: 75, 401: 75, 403: 75, 404: 75, 408: 75, 429: 75, 500: 75, 503: 75, 413: 1, 415: 1, 422: 1} {
		status = s // 202 without the answer's body
		code, said := bounce()
		require.Equal(t, want, code, "%d: %s", s, said)
		require.NotContains(t, said, "canary")
		require.NotContains(t, said, "key")
	}
	srv.Close()
	code, said := bounce()
	require.Equal(t, 75, code, said)
	require.NotContains(t, said, "canary")
	var out bytes.Buffer
	require.Equal(t, 1, run([]string{"bounce", "--server", srv.URL, "--api-key", "key", "--to", "a\nb", file}, &out, &out))
}

// TestBounceThatIsStopped has not been taken: a stop is no success.
func TestBounceThatIsStopped(t *testing.T) {
	reached := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		reached <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(srv.Close)
	file := filepath.Join(t.TempDir(), "message")
	require.NoError(t, os.WriteFile(file, []byte("To: x\n\n"), 0o600))
	p := start(t, map[string]string{"KAIROS_URL": srv.URL, "KAIROS_API_KEY": "key"}, "bounce", file)
	select {
	case <-reached:
	case <-time.After(30 * time.Second):
		t.Fatal("the server was not called: " + p.stderr.String())
	}
	p.signal(syscall.SIGTERM)
	require.Equal(t, 75, p.wait(30*time.Second), p.stderr.String())
}
