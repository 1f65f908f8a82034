package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// place is a directory for what a process leaves in TMPDIR; servers that run
// under another account may pass through it.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "kairos-test-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// startDevProcess runs `kairos dev --json` and reads its line.
func startDevProcess(t *testing.T, tmp string, args ...string) (*proc, devInfo) {
	t.Helper()
	p := start(t, map[string]string{"TMPDIR": tmp}, append([]string{"dev", "--json"}, args...)...)
	var info devInfo
	line := p.line(2 * time.Minute)
	require.NoError(t, json.Unmarshal([]byte(line), &info), line)
	require.Equal(t, p.pid, info.PID)
	return p, info
}

// family lists the processes below a process: their ids and, since ids come
// again, when they began.
func family(t *testing.T, pid int) map[int]string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	parents, began, names := map[int]int{}, map[int]string{}, map[int]string{}
	for _, path := range stats {
		id, parent, start, name, ok := processAt(path)
		if ok {
			parents[id], began[id], names[id] = parent, start, name
		}
	}
	all := map[int]string{}
	for id := range parents {
		for up := id; up > 1; up = parents[up] {
			if up == pid && id != pid {
				all[id] = names[id] + " " + began[id]
			}
		}
	}
	return all
}

// processAt reads /proc/<pid>/stat; ok is false for what has ended.
func processAt(path string) (pid, parent int, began, name string, ok bool) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, "", "", false
	}
	open, end := strings.IndexByte(string(raw), '('), strings.LastIndexByte(string(raw), ')')
	if open < 0 || end < 0 {
		return 0, 0, "", "", false
	}
	rest := strings.Fields(string(raw[end+1:]))
	if len(rest) < 20 || rest[0] == "Z" {
		return 0, 0, "", "", false
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(raw[:open])))
	if err != nil {
		return 0, 0, "", "", false
	}
	parent, err = strconv.Atoi(rest[1])
	return pid, parent, rest[19], string(raw[open+1 : end]), err == nil
}

// gone waits until none of the processes runs any more and nothing is left in
// the directory.
func gone(t *testing.T, processes map[int]string, tmp string) {
	t.Helper()
	eventually(t, 20*time.Second, func() string {
		for pid, who := range processes {
			if _, _, began, name, ok := processAt(fmt.Sprintf("/proc/%d/stat", pid)); ok && name+" "+began == who {
				return fmt.Sprintf("process %d (%s) is left", pid, who)
			}
		}
		left, err := os.ReadDir(tmp)
		require.NoError(t, err)
		if len(left) > 0 {
			return fmt.Sprintf("%s is left in the temporary directory", left[0].Name())
		}
		return ""
	})
}

func listening(t *testing.T, address string) bool {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	c, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

// TestDev: one line tells all; the port that is asked for gives way when it is
// taken; however the process ends, nothing is left behind.
func TestDev(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()

	for _, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		t.Run(how.String(), func(t *testing.T) {
			tmp := place(t)
			began := time.Now()
			p, info := startDevProcess(t, tmp, "--listen", taken.Addr().String())
			t.Logf("ready after %s", time.Since(began).Round(time.Millisecond))
			require.NotContains(t, info.URL, taken.Addr().String())
			api := &client{Server: info.URL, APIKey: info.APIKey}
			var list struct{ Items []any }
			require.NoError(t, api.get(t.Context(), "/v1/campaigns", &list))
			api.APIKey += "x"
			require.Error(t, api.get(t.Context(), "/v1/campaigns", &list))
			for _, page := range []string{info.URL + "/readyz", info.InboxURL, info.URL + "/docs"} {
				status, _, err := visit(t.Context(), visitors(), "GET", page, "", "", agentPerson)
				require.NoError(t, err)
				require.Equal(t, 200, status, page)
			}
			require.True(t, listening(t, info.DatabaseURL))
			require.True(t, listening(t, info.RedisURL))

			children := family(t, p.pid)
			names := fmt.Sprint(children)
			require.Contains(t, names, "postgres")
			p.signal(how)
			code := p.wait(30 * time.Second)
			if how != syscall.SIGKILL {
				require.Zero(t, code, "status after %s: %s", how, p.stderr.String())
				require.Empty(t, p.stderr.String(), "a good end says nothing")
			}
			gone(t, children, tmp)
			require.False(t, listening(t, info.DatabaseURL))
			require.False(t, listening(t, info.RedisURL))
		})
	}
}

// TestDevKeepsItsData: with a directory, the next start has what the last left.
func TestDevKeepsItsData(t *testing.T) {
	tmp := place(t)
	data := filepath.Join(place(t), "data")
	var key string
	for i := range 2 {
		p, info := startDevProcess(t, tmp, "--data-dir", data, "--listen", "127.0.0.1:0")
		api := &client{Server: info.URL, APIKey: info.APIKey}
		if i == 0 {
			key = info.APIKey
			require.NoError(t, api.post(t.Context(), "/v1/segments", map[string]any{"name": "Kept", "expression": "true"}, nil))
		} else {
			api.APIKey = key
		}
		var list struct{ Items []struct{ Name string } }
		require.NoError(t, api.get(t.Context(), "/v1/segments", &list))
		require.Len(t, list.Items, 1)
		children := family(t, p.pid)
		p.signal(syscall.SIGTERM)
		require.Zero(t, p.wait(30*time.Second))
		gone(t, children, tmp)
	}
}
