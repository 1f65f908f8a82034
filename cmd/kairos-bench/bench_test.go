package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
)

func TestRound(t *testing.T) {
	for v, want := range map[float64]string{3.4: "3", 999: "999", 1234: "1,230", 41_729.9: "41,700", 999_600: "1,000,000"} {
		require.Equal(t, want, round(v), "%v", v)
	}
}

func TestMarkdownNamesWhatWasMeasured(t *testing.T) {
	r := report{
		Conditions: conditions{Commit: "abc"}, Import: &importResult{Rows: 1_000_000, Seconds: 10, RowsPerSecond: 100_000, Ratio: 0.5},
		Clicks: []clickResult{{Connections: 64, Ratio: 0.25, Acknowledged: 10}},
	}
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

func TestUsageOfThisProcess(t *testing.T) {
	before := cpuOf("bench", []int{os.Getpid()})
	for began := time.Now(); cpuOf("bench", []int{os.Getpid()}) < before+0.05; {
		require.Less(t, time.Since(began), 30*time.Second, "working costs CPU time")
	}
	require.Greater(t, peakOf(os.Getpid()), int64(1<<20))
}
