package main

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDemo: what the demo prints is what its people did, and its last line has
// the shape that programs read.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("plays three days on real parts")
	}
	tmp := place(t)
	p := start(t, map[string]string{"TMPDIR": tmp}, "demo", "--exit", "--json", "--people", "300", "--days", "3", "--listen", "127.0.0.1:0")
	require.Zero(t, p.wait(4*time.Minute), p.stderr.String())
	lines := strings.Split(strings.TrimSpace(p.stdout.String()), "\n")
	last := []byte(lines[len(lines)-1])

	var shape map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(last, &shape))
	for _, name := range []string{"world", "people", "days", "verdict", "promoted", "model", "lift", "oracle_share", "funnel", "roi", "truth", "equal", "url", "seconds"} {
		require.Contains(t, shape, name)
	}
	require.Equal(t, "null", string(shape["lift"]), "nothing was promoted")
	require.Equal(t, "false", string(shape["promoted"]))

	var r demoReport
	require.NoError(t, json.Unmarshal(last, &r))
	require.True(t, r.Equal)
	require.Equal(t, "clusters", r.World)
	require.Equal(t, 300, r.People)
	require.Equal(t, 3, r.Days)
	require.Equal(t, "not_enough_data", r.Verdict)
	require.Len(t, r.Truth.Funnel, len(townSteps))
	for step, n := range r.Truth.Funnel {
		require.Equal(t, n, r.Funnel[step], step)
	}
	require.Positive(t, r.Truth.Funnel["paid"])
	require.Equal(t, r.Truth.Revenue, r.ROI.Revenue.String())
	require.Greater(t, *r.Truth.Oracle, 0.1)
	gone(t, nil, tmp)
}

func TestDemoRefusesBadFlags(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--world flat", "--world must be one of"},
		{"--people 9", "--people must be between 10 and 1,000,000"},
		{"--days 0", "--days must be between 1 and 365"},
		{"--effect=-1", "--effect must be between 0 and 3"},
		{"--effect NaN", "--effect must be between 0 and 3"},
		{"--common 9", "--common must be between 0 and 3"},
		{"--clock-scale 7", "--clock-scale is not for the demo"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var out, err strings.Builder
			require.NotZero(t, run(append([]string{"demo"}, strings.Fields(c.args)...), &out, &err))
			lines := strings.Split(strings.TrimSpace(err.String()), "\n")
			require.Contains(t, lines[len(lines)-1], c.says)
		})
	}
}

var demoMonday = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

// The oracle's lift is the sum of best rates over that of the rates at ten.
func TestDemoOracle(t *testing.T) {
	for _, kind := range []string{"clusters", "global", "null"} {
		w := newHiddenWorld(kind, 2000, 0.8, 0.2, false, 3)
		best, ten := 0.0, 0.0
		for i := range w.people {
			p := &w.people[i]
			if !p.reader {
				continue
			}
			at := 10
			if !p.told { // the shop takes them for people of UTC
				at = time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC).In(p.zone).Hour()
			}
			top := 0.0
			for _, x := range w.rates[i] {
				top = math.Max(top, x)
			}
			best, ten = best+top, ten+w.rates[i][at]
		}
		p := w.everybody(demoMonday)
		require.InDelta(t, best/ten-1, *p.oracle(), 1e-9, kind)
		if kind == "null" {
			require.InDelta(t, 0, *p.oracle(), 1e-12)
			require.Nil(t, p.share(), "there is nothing to share")
			continue
		}
		require.Greater(t, *p.oracle(), 0.2, kind)
		require.Less(t, *p.share(), 0.05, "the usual time gains nothing, but for the few whose zone is unknown")
	}
}

// A policy that sends at everybody's best hour is the oracle; half of the way
// there is half of its gain.
func TestDemoPolicy(t *testing.T) {
	w := newHiddenWorld("clusters", 500, 0.8, 0, false, 7)
	var perfect, usual policy
	for i := range w.people {
		for h := range 24 {
			at := demoMonday.Add(time.Duration(h)*time.Hour + time.Minute)
			if w.hour(i, at) == peak(w.rates[i]) {
				perfect.add(w, i, at)
			}
			if w.hour(i, at) == w.baseHour(i, at) {
				usual.add(w, i, at)
			}
		}
	}
	require.Equal(t, 500, perfect.n)
	require.Equal(t, 500, usual.n)
	require.InDelta(t, 1, *perfect.share(), 1e-9)
	require.InDelta(t, 0, *usual.lift(), 1e-9)
	require.InDelta(t, *perfect.oracle(), *perfect.lift(), 1e-9)
	require.Nil(t, (&policy{}).lift())
	require.Nil(t, (&policy{}).share())
}

// People are what the seed says, and awake by the rhythm of their kind in their
// own zone, whatever the hour does to their answers.
func TestDemoWorldIsDrawnFromItsSeed(t *testing.T) {
	a, b := newHiddenWorld("null", 300, 0.8, 0.2, true, 5), newHiddenWorld("null", 300, 0.8, 0.2, true, 5)
	require.Equal(t, a.people, b.people)
	require.Equal(t, a.rates, b.rates)
	require.NotEqual(t, a.rates, newHiddenWorld("null", 300, 0.8, 0.2, true, 6).rates)

	var seen [demoKinds][24]float64
	for day := range 40 {
		from := demoMonday.AddDate(0, 0, day)
		for i := range a.people {
			sessions := a.sessions(i, from)
			require.Equal(t, sessions, b.sessions(i, from))
			for _, at := range sessions {
				require.False(t, at.Before(from))
				require.True(t, at.Before(from.Add(24*time.Hour)))
				seen[a.people[i].kind][a.hour(i, at)]++
			}
		}
	}
	for k := range seen {
		total, past := 0.0, 0.0
		for _, n := range seen[k] {
			total += n
		}
		for h, n := range seen[k] {
			require.InDelta(t, a.waking[k][h]-past, n/total, 0.03, "kind %d, hour %d", k, h)
			past = a.waking[k][h]
		}
	}
}

func TestDayCurve(t *testing.T) {
	c := dayCurve(rand.New(rand.NewPCG(1, 2)), 1)
	mean, square := 0.0, 0.0
	for _, x := range c {
		mean += x / 24
		square += x * x / 24
	}
	require.InDelta(t, 0, mean, 1e-12)
	require.InDelta(t, 1, square, 1e-12)
}
