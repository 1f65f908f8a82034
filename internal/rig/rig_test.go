package rig

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func sh(t *testing.T, script string) Program {
	return Program{Name: "script", Log: filepath.Join(t.TempDir(), "log"), Env: os.Environ(), Path: "/bin/sh", Args: []string{"-c", script}}
}

func TestProcess(t *testing.T) {
	p, err := Start(t.Context(), sh(t, `echo '{"url":"http://here"}'; echo more; exec sleep 60`))
	require.NoError(t, err)
	require.Equal(t, "http://here", p.URL)
	var at struct{ URL string }
	require.NoError(t, p.Told(&at))
	require.True(t, p.Alive())
	require.False(t, p.Ends(time.Millisecond))
	require.NoError(t, p.Kill())
	require.NoError(t, p.Kill(), "what is gone is fine")
	require.False(t, p.Alive())
	require.ErrorContains(t, p.Signal(syscall.SIGTERM), "has ended")
	require.ErrorContains(t, p.Stop(), "has ended")
}

func TestStop(t *testing.T) {
	p, err := Start(t.Context(), sh(t, `trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done`))
	require.NoError(t, err)
	require.Empty(t, p.URL)
	require.NoError(t, p.Stop())
	p, err = Start(t.Context(), sh(t, `trap 'echo oh no >&2; exit 3' TERM; echo ready; while :; do sleep 0.01; done`))
	require.NoError(t, err)
	require.ErrorContains(t, p.Stop(), "oh no")
}

func TestStartFails(t *testing.T) {
	_, err := Start(t.Context(), sh(t, `echo first >&2; echo the reason >&2; exit 2`))
	require.ErrorContains(t, err, "the reason")
	_, err = Start(t.Context(), Program{Name: "nothing", Log: filepath.Join(t.TempDir(), "log"), Path: "/no/such/program"})
	require.Error(t, err)
}

// TestBegin: what is to happen around a child happens in its order, and a
// child whose birth is refused is gone.
func TestBegin(t *testing.T) {
	prog := sh(t, "exec sleep 60")
	cmd := func() *exec.Cmd { return exec.Command(prog.Path, prog.Args...) }
	var pid int
	_, err := Begin(cmd(), Life{Born: func(p int) error { pid = p; return os.ErrInvalid }})
	require.ErrorIs(t, err, os.ErrInvalid)
	require.ErrorIs(t, syscall.Kill(pid, 0), syscall.ESRCH)
	gone := false
	c, err := Begin(cmd(), Life{Gone: func() { gone = true }})
	require.NoError(t, err)
	group, err := syscall.Getpgid(c.PID)
	require.NoError(t, err)
	require.Equal(t, c.PID, group, "it has a group of its own")
	require.NoError(t, syscall.Kill(c.PID, syscall.SIGKILL))
	require.True(t, c.Ends(10*time.Second))
	require.True(t, gone)
	require.Error(t, c.Err())
}

func TestClient(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer k" || r.URL.Path != "/v1/x" {
			http.Error(w, "who?", http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(strconv.Quote(r.Method)))
	}))
	defer s.Close()
	c, ctx := &Client{Server: s.URL, Key: "k"}, t.Context()
	var text string
	require.NoError(t, c.Get(ctx, "/v1/x", &text))
	require.Equal(t, `"GET"`, text, "a string is the answer as it is")
	var v any
	require.NoError(t, c.Post(ctx, "/v1/x", nil, &v))
	require.Equal(t, "POST", v)
	require.NoError(t, c.Post(ctx, "/v1/x", v, nil))
	require.ErrorContains(t, c.Get(ctx, "/v1/y", nil), "who?")
	var n int
	require.Error(t, c.Get(ctx, "/v1/x", &n))
}

func TestEnvironment(t *testing.T) {
	t.Setenv("KAIROS_ROLES", "api")
	env := Environment("KAIROS_LISTEN=here")
	require.Contains(t, env, "KAIROS_LISTEN=here")
	for _, kv := range env {
		require.False(t, strings.HasPrefix(kv, "KAIROS_ROLES"))
	}
}

func TestOutput(t *testing.T) {
	var v map[string]int
	require.NoError(t, Output(t.Context(), &v, os.Environ(), "/bin/sh", "-c", `echo '{"a":1}'`))
	require.Equal(t, 1, v["a"])
	require.Error(t, Output(t.Context(), nil, os.Environ(), "/bin/sh", "-c", "exit 1"))
	require.Error(t, Output(t.Context(), &v, os.Environ(), "/bin/sh", "-c", "echo no"))
}

func TestTail(t *testing.T) {
	require.Equal(t, "b\nc", Tail("a\nb\nc\n", 2))
	require.Equal(t, "a", Tail("a", 3))
	require.Equal(t, "no log", FileTail(filepath.Join(t.TempDir(), "none"), 3))
}
