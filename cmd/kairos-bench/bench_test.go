package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
)

func TestMain(m *testing.M) {
	if runPart() {
		return
	}
	os.Exit(m.Run())
}

// tiny is large enough for every path to run and to verify what it did.
var tiny = sizes{Contacts: 2_000, Messages: 600, Seconds: 1, Rate: 300, Sustained: 3, Recipients: 2_500, Slow: 500,
	Clients: []int{16}, Events: 10_000, Campaigns: 10, Each: 30,
	Growth: []int{500}, Slots: 2, SlotEach: 20}

// TestPaths: the paths measure the real thing and find it in order, and their
// figures are in the report.
func TestPaths(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	groups := [][]string{
		{"import", "plan", "smtp", "clicks", "sustained"},
		{"sendgrid", "slow", "reports", "many"},
	}
	// growth, schedule and share put the same steps together, but take a minute.
	long := []string{"growth", "schedule", "share"}
	require.ElementsMatch(t, names(), slices.Concat(append(groups, long)...), "every other path is tried")
	for _, group := range groups {
		t.Run(strings.Join(group, ","), func(t *testing.T) {
			t.Parallel()
			c := &cli{Only: group, Connections: 10, sizes: tiny, inMemory: true}
			require.NoError(t, c.defaults())
			b, err := newBench(t.Context(), c)
			require.NoError(t, err)
			defer func() { require.NoError(t, b.close()) }()
			require.NoError(t, b.measure(t.Context()))
			raw, err := json.Marshal(b.report)
			require.NoError(t, err)
			var told map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(raw, &told))
			for _, name := range group {
				require.Contains(t, told, name, "no result of this path")
			}
			text := b.report.markdown()
			t.Log(text)
			for _, bad := range []string{"NaN", "Inf", "%!"} {
				require.NotContains(t, text, bad)
			}
		})
	}
}

// TestChoice: what is measured when nothing is named, and what a size is.
func TestChoice(t *testing.T) {
	c := &cli{Size: "small", Scale: 0.5}
	require.NoError(t, c.defaults())
	require.Equal(t, usual, c.Only)
	require.Equal(t, 10_000, c.Contacts)
	require.Equal(t, []int{500, 2_500, 10_000}, c.sizes.Growth)
	require.Equal(t, []int{1_000, 5_000, 20_000}, sizesOf["small"].Growth, "a scale leaves the sizes alone")
	c = &cli{Size: "huge", Scale: 1, Only: []string{"all"}, Rate: 7}
	require.NoError(t, c.defaults())
	require.Equal(t, names(), c.Only)
	require.Equal(t, 7, c.Rate)
	require.Equal(t, 10_000_000, c.sizes.Growth[3])
	require.ErrorContains(t, (&cli{Only: []string{"walk"}}).defaults(), "walk")
}

func TestRound(t *testing.T) {
	for v, want := range map[float64]string{3.4: "3", 999: "999", 1234: "1,230", 41_729.9: "41,700", 999_600: "1,000,000"} {
		require.Equal(t, want, round(v), "%v", v)
	}
}

func TestMarkdownNamesWhatWasMeasured(t *testing.T) {
	r := report{Conditions: conditions{Commit: "abc"}}
	r.add("import", &importResult{Rows: 1_000_000, Seconds: 10, RowsPerSecond: 100_000, Ratio: 0.5})
	r.add("clicks", clickResults{{What: "clicks", Connections: 64, Ratio: 0.25, Acknowledged: 10}})
	text := r.markdown()
	for _, want := range []string{"commit abc", "import of 1,000,000 contacts", "100,000 rows/s (10.0 s)", "| 50 % |", "clicks, 64 connections", "10 acknowledged"} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "SMTP", "what was not measured is not in the table")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "| import of") {
			require.Equal(t, 5, strings.Count(line, "|"), "cells of %s", line)
		}
	}
}

// TestBareClients: the ceiling's clients really deliver: each person's message
// once.
func TestBareClients(t *testing.T) {
	raw := []byte("Subject: x\r\n\r\n.hidden dot is stuffed by who must\r\n")
	for name, client := range map[string]func(addr string) error{
		"pipelined": func(addr string) error {
			return pipelined(t.Context(), addr, []byte("Subject: x\r\n\r\nbody\r\n"), 3, 40)
		},
		"lock-step": func(addr string) error { return lockStep(t.Context(), addr, raw, 3, 40) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := deliverytest.NewSMTPSink(deliverytest.SinkOptions{})
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			require.NoError(t, client(s.Addr()))
			require.Equal(t, 37, s.Total())
			require.Zero(t, s.Duplicates())
			for i := 3; i < 40; i++ {
				require.Equal(t, 1, s.Accepted(email(i)), "messages for %s", email(i))
			}
		})
	}
}

// TestDrive: the raw client asks for what it should, at the rate it should,
// and a wrong answer is an error.
func TestDrive(t *testing.T) {
	var got atomic.Int64
	addr, stop, err := serveHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Add(1)
		switch r.URL.Path {
		case "/page":
			_, _ = w.Write([]byte("a body to be skipped"))
		case "/v1":
			raw, _ := io.ReadAll(r.Body)
			if r.Header.Get("Authorization") != "Bearer k" || string(raw) != "{}" {
				w.WriteHeader(http.StatusForbidden)
			}
		default:
			w.WriteHeader(http.StatusFound)
		}
	}))
	require.NoError(t, err)
	defer stop()
	d, err := requests{addr, []string{"/page"}, 200}.closed(t.Context(), 4, 200*time.Millisecond)
	require.NoError(t, err)
	require.EqualValues(t, got.Load(), len(d.took))
	require.Positive(t, d.alike)
	require.Positive(t, d.figures().PerSecond)
	got.Store(0)
	d, err = requests{addr, []string{"/a", "/b"}, 302}.open(t.Context(), 3, 100, 500*time.Millisecond)
	require.NoError(t, err)
	require.Len(t, d.took, 50)
	require.EqualValues(t, 50, got.Load())
	_, err = requests{addr, []string{"/page"}, 302}.closed(t.Context(), 1, time.Second)
	require.ErrorContains(t, err, "200")
	c, err := dialRaw(t.Context(), addr)
	require.NoError(t, err)
	defer c.close()
	require.NoError(t, c.post("/v1", "k", []byte("{}"), 200))
	require.ErrorContains(t, c.post("/v1", "l", []byte("{}"), 200), "403")
}

func TestUsageOfThisProcess(t *testing.T) {
	before := cpuOf("bench", []int{os.Getpid()})
	for began := time.Now(); cpuOf("bench", []int{os.Getpid()}) < before+0.05; {
		require.Less(t, time.Since(began), 30*time.Second, "working costs CPU time")
	}
	require.Greater(t, peakOf(os.Getpid()), int64(1<<20))
}
