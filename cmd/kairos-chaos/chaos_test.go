package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writer gives what goes on to a test's log.
type writer struct{ t *testing.T }

// Write implements io.Writer.
func (w writer) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

// TestShort runs every scenario once, in its short size.
func TestShort(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	s, err := newSuite(suiteOptions{Seed: 1, Log: writer{t}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.close()) })
	results := make([]*result, len(scenarios))
	t.Run("scenarios", func(t *testing.T) {
		for i, sc := range scenarios {
			t.Run(sc.name, func(t *testing.T) {
				t.Parallel()
				r := s.run(t.Context(), sc)
				results[i] = r
				if r.Skipped != "" {
					t.Skip(r.Skipped)
				}
				require.Empty(t, r.Breaches, "%s", r.words())
			})
		}
	})
	r := &report{Conditions: s.conditions(t.Context()), Seed: 1, Size: "short", Results: results}
	t.Log("\n" + r.markdown())
}

// TestEveryGroupHasAScenario: the list and the twelve groups of the
// documentation.
func TestEveryGroupHasAScenario(t *testing.T) {
	groups, seen := map[int]bool{}, map[string]bool{}
	for i, s := range scenarios {
		require.False(t, seen[s.name], s.name)
		require.NotNil(t, s.run)
		require.NotEmpty(t, s.about)
		require.True(t, i == 0 || scenarios[i-1].group <= s.group, "in order")
		groups[s.group], seen[s.name] = true, true
	}
	for g := 1; g <= 12; g++ {
		require.True(t, groups[g], "group %d", g)
	}
	require.Len(t, groups, 12)
}

func TestChoose(t *testing.T) {
	for only, want := range map[string]int{"": len(scenarios), "4": 5, "replay": 1, "4,replay": 6} {
		var words []string
		if only != "" {
			words = strings.Split(only, ",")
		}
		got, err := choose(words)
		require.NoError(t, err)
		require.Len(t, got, want, only)
	}
	_, err := choose([]string{"13"})
	require.ErrorContains(t, err, "kill-sender")
}

// TestJudge: each promise alone breaks a scenario.
func TestJudge(t *testing.T) {
	long := 15*time.Second + time.Millisecond
	for name, c := range map[string]struct {
		r      result
		broken string
	}{
		"fine":             {result{Recipients: 10, Accepted: 9, Unknown: 1, Allowed: 64, TakeOvers: []time.Duration{time.Second}}, ""},
		"twice":            {result{Duplicates: 1}, "1 duplicates"},
		"forgotten":        {result{Missing: 2}, "2 missing"},
		"too many unknown": {result{Unknown: 65, Allowed: 64}, "65 unknown"},
		"slow":             {result{TakeOvers: []time.Duration{time.Second, long}}, "take-over after 15.001s"},
		"skipped":          {result{Skipped: "no root", Duplicates: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			x := &trial{res: &c.r}
			x.judge()
			if c.broken == "" {
				require.Empty(t, c.r.Breaches)
				return
			}
			require.Len(t, c.r.Breaches, 1)
			require.Contains(t, c.r.Breaches[0], c.broken)
			require.Contains(t, c.r.verdict(), "BROKEN")
		})
	}
}

func TestTakeOverIsAPercentile(t *testing.T) {
	var r result
	require.Zero(t, r.takeOver())
	for i := range 200 {
		r.TakeOvers = append(r.TakeOvers, time.Duration(200-i)*time.Second)
	}
	require.Equal(t, 198*time.Second, r.takeOver())
	r.TakeOvers = r.TakeOvers[:3]
	require.Equal(t, 200*time.Second, r.takeOver())
}

func TestReport(t *testing.T) {
	r := report{Conditions: "here", Seed: 7, Size: "short", Results: []*result{
		{Scenario: "kill-sender", Group: 1, Faults: 3, Recipients: 100, Accepted: 98, Unknown: 2, Allowed: 192, TakeOvers: []time.Duration{12 * time.Second}, Notes: []string{"a note"}},
		{Scenario: "replay", Group: 12, Breaches: []string{"b\nlog", "a", "a"}, Seed: 7},
	}}
	text := r.markdown()
	require.Contains(t, text, "| 1 | kill-sender | 3 | 100 | 98 | 0 | 0 | 2 (192) | 0 | 12.0 s |")
	require.Contains(t, text, "BROKEN: a; b |")
	require.Contains(t, text, "- kill-sender: a note.")
	require.Equal(t, []string{"replay"}, r.broken())
	require.Contains(t, r.Results[1].words(), "make repro-replay SEED=7")
	raw, err := json.Marshal(r)
	require.NoError(t, err)
	require.Contains(t, string(raw), `"take_overs_ns":[12000000000]`)
}

func TestPermutations(t *testing.T) {
	all := permutations(5)
	require.Len(t, all, 120)
	seen := map[string]bool{}
	for _, p := range all {
		raw, err := json.Marshal(p)
		require.NoError(t, err)
		seen[string(raw)] = true
	}
	require.Len(t, seen, 120)
}
