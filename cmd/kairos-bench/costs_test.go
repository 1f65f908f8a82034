package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	updateCosts = flag.Bool("update", false, "TestCosts: write testdata/costs.json anew")
	worsenCosts = flag.String("worsen", "", "TestCosts: SQL that is run in each installation before it is measured, to see the guard fail")
)

const costsFile = "testdata/costs.json"

// room is how far over its baseline a counter is a regression. Ten runs stayed
// within 6 % of their middle, memory, objects and system calls within 11 %.
const room = 0.30

// guarded are the counters that are compared, by path: those that came out
// within 15 % of their middle in ten runs, half of them on two cores with
// thirteen busy loops beside (load 17 to 19). Most stay within 5 %; the widest
// are what the stages and a sender allocate. The committed baseline is that
// middle.
//
// Not compared, because they follow the clock (pollers, the width of a window,
// how many events a reader meets at once): commits, writing transactions and
// Redis' commands (up to three times as many under load), system calls but for
// the front's answers, updates that are not HOT (-43 %), rows of sequential
// scans, what a sender allocates in objects over SMTP (+40 %), and what the
// front does while others work. What the front allocates for a click, and what
// a message or an event takes in instructions, has guards in those packages.
var guarded = map[string][]string{
	"import": {"WAL bytes", "buffers", "rows inserted", "front: bytes read", "front: bytes written",
		"stages: bytes read", "stages: bytes written", "stages: bytes allocated", "stages: objects"},
	"plan": {"WAL bytes", "buffers", "rows inserted",
		"stages: bytes read", "stages: bytes written", "stages: bytes allocated", "stages: objects"},
	"smtp": {"WAL bytes", "buffers", "rows inserted", "rows updated", "delivery: bytes read", "delivery: bytes written",
		"delivery: bytes allocated", "stages: bytes read", "stages: bytes written", "stages: bytes allocated"},
	"clicks": {"WAL bytes", "buffers", "rows inserted", "rows updated", "front: bytes read", "front: bytes written", "front: reads", "front: writes",
		"delivery: bytes read", "delivery: bytes allocated", "delivery: objects",
		"stages: bytes read", "stages: bytes written", "stages: bytes allocated", "stages: objects"},
	"sendgrid": {"WAL bytes", "buffers", "rows inserted", "rows updated", "delivery: bytes read", "delivery: bytes written",
		"delivery: bytes allocated", "delivery: objects", "stages: bytes read", "stages: bytes written", "stages: bytes allocated"},
}

// TestCosts: no item of the main paths costs Postgres, or the processes, much
// more than it did.
func TestCosts(t *testing.T) {
	if testing.Short() {
		t.Skip("half a minute")
	}
	b, err := costBench(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, b.close()) }()
	measure := func() map[string]cost {
		got := map[string]cost{}
		b.costs(t, got, (*world).costsOfStages, *worsenCosts)
		b.costs(t, got, (*world).costsOfJourney, *worsenCosts)
		all, err := json.Marshal(got)
		require.NoError(t, err)
		t.Logf("all counters: %s", all)
		return got
	}
	got := measure()
	if *updateCosts {
		require.NoError(t, writeCosts(got))
		return
	}
	baseline := readCosts(t)
	require.ElementsMatch(t, slices.Collect(maps.Keys(guarded)), slices.Collect(maps.Keys(got)), "every path is guarded")
	worse, better := compareAll(got, baseline)
	if len(worse) > 0 { // what is a regression is one the next time, too
		t.Logf("once more, because of: %s", strings.Join(worse, "; "))
		again := measure()
		for path, counters := range got {
			for counter := range counters {
				counters[counter] = min(counters[counter], again[path][counter])
			}
		}
		worse, better = compareAll(got, baseline)
	}
	for _, s := range worse {
		t.Error(s)
	}
	for _, s := range better {
		t.Log(s)
	}
}

func compareAll(got, baseline map[string]cost) (worse, better []string) {
	for _, path := range slices.Sorted(maps.Keys(guarded)) {
		w, b := compare(path, got[path], baseline[path])
		worse, better = append(worse, w...), append(better, b...)
	}
	return worse, better
}

// TestCostsCatch: an index that nobody asked for fails the import's guard.
func TestCostsCatch(t *testing.T) {
	if testing.Short() {
		t.Skip("ten seconds")
	}
	b, err := costBench(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, b.close()) }()
	got := map[string]cost{}
	b.costs(t, got, (*world).costsOfImport, `CREATE INDEX ON contacts USING gin (attributes)`)
	worse, _ := compare("import", got["import"], readCosts(t)["import"])
	require.NotEmpty(t, worse)
	t.Log(worse)
}

// costs measures in an installation of its own.
func (b *bench) costs(t *testing.T, into map[string]cost, measure func(*world, context.Context, map[string]cost) error, worsen string) {
	t.Helper()
	require.NoError(t, b.on(t.Context(), func(w *world) error {
		if worsen != "" {
			if err := w.exec(t.Context(), worsen); err != nil {
				return err
			}
		}
		return measure(w, t.Context(), into)
	}))
}

const again = "`go test ./cmd/kairos-bench -run 'TestCosts$' -update` takes a new baseline"

// compare sets a path's cost beside its baseline: what is a regression, and
// what is so much better that its baseline is out of date.
func compare(path string, got, baseline cost) (worse, better []string) {
	for _, counter := range guarded[path] {
		is, counted := got[counter]
		was := baseline[counter]
		if !counted && was > 0 {
			better = append(better, fmt.Sprintf("%s: %s can't be counted on this machine", path, counter))
			continue
		}
		at := fmt.Sprintf("%s: %s of an item: %.4g, where %s says %.4g (%+.0f %%)", path, counter, is, costsFile, was, 100*(is/was-1))
		switch {
		case was <= 0:
			worse = append(worse, fmt.Sprintf("%s: %s of an item: %.4g, which has no baseline: %s", path, counter, is, again))
		case is > was*(1+room):
			worse = append(worse, fmt.Sprintf("%s. Over %.0f %% is a regression; if it is meant, %s", at, 100*room, again))
		case is < was/(1+room):
			better = append(better, fmt.Sprintf("%s. So that the guard stays close, %s", at, again))
		}
	}
	return worse, better
}

func TestCompareCosts(t *testing.T) {
	counter := guarded["import"][0]
	for name, c := range map[string]struct {
		is, was       float64
		worse, better int
	}{
		"as it was":           {100, 100, 0, 0},
		"within the room":     {129, 100, 0, 0},
		"a regression":        {131, 100, 1, 0},
		"somewhat better":     {85, 100, 0, 0},
		"much better":         {70, 100, 0, 1},
		"without a baseline":  {70, 0, 1, 0},
		"the baseline is off": {70, -1, 1, 0},
	} {
		got, baseline := cost{}, cost{}
		for _, other := range guarded["import"] {
			got[other], baseline[other] = 1, 1
		}
		got[counter], baseline[counter] = c.is, c.was
		worse, better := compare("import", got, baseline)
		require.Len(t, worse, c.worse, name)
		require.Len(t, better, c.better, name)
		for _, s := range slices.Concat(worse, better) {
			require.Contains(t, s, "import: "+counter, name)
			require.Contains(t, s, "-update", name)
		}
	}
	_, better := compare("import", cost{}, cost{counter: 1})
	require.Contains(t, better[0], "can't be counted")
}

func readCosts(t *testing.T) (costs map[string]cost) {
	t.Helper()
	raw, err := os.ReadFile(costsFile)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &costs))
	return costs
}

// writeCosts writes the guarded counters, to four digits.
func writeCosts(got map[string]cost) error {
	costs := map[string]cost{}
	for path, counters := range guarded {
		costs[path] = cost{}
		for _, counter := range counters {
			v := got[path][counter]
			scale := math.Pow(10, 3-math.Floor(math.Log10(v)))
			costs[path][counter] = math.Round(v*scale) / scale
		}
	}
	raw, err := json.MarshalIndent(costs, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(costsFile, append(raw, '\n'), 0o644)
}
