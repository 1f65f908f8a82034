package dashboard

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis/timing"
	"kairos/dto"
)

func TestTimingFigures(t *testing.T) {
	for f, want := range map[float64]string{.124: "+12.4%", -.05: "−5.0%", -.0001: "+0.0%", 0: "+0.0%", 11: "over +1,000%", math.MaxFloat64: "over +1,000%"} {
		require.Equal(t, want, relative(&f))
	}
	require.Equal(t, "–", relative(nil))
	for p, want := range map[float64]string{1e-9: "p < 0.0001", .0021: "p = 0.0021", .0496: "p = 0.050", .37: "p = 0.37", 1: "p = 1.00"} {
		require.Equal(t, want, chance(p))
	}
	require.Equal(t, "23:00–00:00", hourWord(23))
	require.Equal(t, "none was explored", hourWord(-1))
	require.Equal(t, "8–10, 14, 20–21", hoursList([]int{20, 8, 9, 10, 14, 21, 8}))
	require.Equal(t, "all", hoursList([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}))
	require.Equal(t, "none", hoursList(nil))
	require.Equal(t, "four", spelled(4))
	require.Equal(t, "13", spelled(13))
}

func TestHeadlinesAreCutAfterTheirFirstClause(t *testing.T) {
	for text, want := range map[string][2]string{
		"People differ in their best hour. Four kinds of rhythm were found.": {"People differ in their best hour.", "Four kinds of rhythm were found."},
		"The hour of sending makes no difference: 12 responses show none.":   {"The hour of sending makes no difference.", "12 responses show none."},
		"A model is being trained.":                                          {"A model is being trained.", ""},
		"The best hour for everybody is 19:00 in local time":                 {"The best hour for everybody is 19:00 in local time", ""},
		"": {"", ""},
	} {
		first, rest := parts(text)
		require.Equal(t, want, [2]string{first, rest})
	}
}

func TestConflictsAreToldWithoutTheirVerbs(t *testing.T) {
	for text, want := range map[string]string{
		"promote model: promote model 3: it is still being trained: it has neither: %w":  "It is still being trained: it has neither.",
		"request training: one is running: %w":                                           "One is running.",
		"roll back model 4: it is retired: only the active model can be rolled back: %w": "It is retired: only the active model can be rolled back.",
		"promote model: %w":       "Its state doesn't allow this any more.",
		"odd %w without a clause": "Its state doesn't allow this any more.",
	} {
		require.Equal(t, want, conflictWords(fmt.Errorf(text, kairos.ErrConflict)))
	}
}

func TestExploredTellsWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		in    timing.Standing
		share float64
		words string
	}{
		{timing.Standing{}, 0, "Nothing was explored yet."},
		{timing.Standing{Exposures: 100, Responses: 10}, 1, "enough for a verdict"},
		{timing.Standing{Exposures: 100, Responses: 10, Needed: &timing.Needed{}}, 1, "enough for a verdict"},
		{timing.Standing{Exposures: 100, Responses: 10, Needed: &timing.Needed{Responses: 30, Deliveries: 300}}, .25, "of about 40 responses"},
		{timing.Standing{Exposures: 100, Responses: 10, Needed: &timing.Needed{Responses: 10}}, .5, "of about 20 responses"},
		{timing.Standing{Exposures: 100, Responses: 500, Needed: &timing.Needed{Deliveries: 900}}, .1, "of about 1,000 messages"},
		{timing.Standing{Needed: &timing.Needed{Responses: 1_000, Deliveries: 9_000}}, 0, "0 responses to 0 messages at random hours, of about 1,000 responses"},
	} {
		share, words := exploredOf(c.in)
		require.InDelta(t, c.share, share, 1e-9)
		require.Contains(t, words, c.words)
	}
}

func TestARunningTrialIsNotCalledBetter(t *testing.T) {
	m := fourKinds().models[0]
	require.Equal(t, "More responses", trialLift(m).words.title)
	m.Canary.Done = false
	require.Equal(t, "So far", trialLift(m).words.title)
	require.Equal(t, "Still running", gateWords(m).title)
	m.State = timing.Rejected
	require.Equal(t, "The trial ended before it was judged", gateWords(m).title)
	m.Canary.Done, m.Canary.Pass = true, false
	require.Equal(t, "It did not pass", gateWords(m).title)
}

func TestStepsFollowTheState(t *testing.T) {
	names := func(m timing.Model) (list []string) {
		for _, s := range stepsFor(m) {
			list = append(list, s.name)
		}
		return list
	}
	passed, running := &timing.Canary{Done: true, Pass: true}, &timing.Canary{}
	require.Equal(t, []string{"promote", "reject"}, names(timing.Model{State: timing.OnTrial, Canary: passed}))
	require.Equal(t, []string{"reject"}, names(timing.Model{State: timing.OnTrial, Canary: running}))
	require.Equal(t, []string{"reject"}, names(timing.Model{State: timing.Candidate}))
	require.Equal(t, []string{"rollback"}, names(timing.Model{State: timing.Active, Canary: passed}))
	for _, state := range []string{timing.Training, timing.Failed, timing.Retired, timing.Rejected} {
		require.Empty(t, names(timing.Model{State: state, Canary: passed}), state)
	}
}

func TestChartsOfOddModels(t *testing.T) {
	everybody, kinds := kindsOf(timing.Model{})
	require.Empty(t, kinds)
	require.Empty(t, everybody.curve.Curve)

	// Without an effect beyond chance no hour is called best.
	for verdict, best := range map[dto.Verdict]int{dto.Null: -1, dto.NotEnoughData: -1, dto.Global: 19, dto.Clusters: 19} {
		m := trained(1, timing.Rejected, verdict, "", "")
		m.Clusters = []timing.Cluster{clusterOf(0, 10, 1, 19, .3)}
		everybody, kinds = kindsOf(m)
		require.Empty(t, kinds)
		require.Equal(t, best, everybody.best, verdict)
		require.Len(t, everybody.curve.Low, 24)
	}

	// The best hour is one that was explored, and a band that knows nothing
	// does not flatten the rest.
	m := trained(1, timing.Active, dto.Clusters, "", "")
	m.Data.Slots = []int{8, 9}
	m.Clusters[2].High[3], m.Clusters[1].Hour = 900, -1
	everybody, kinds = kindsOf(m)
	require.Contains(t, []int{8, 9}, everybody.best)
	require.Len(t, kinds, 4)
	require.LessOrEqual(t, everybody.curve.Range[1], 4.)
	require.Nil(t, kinds[1].curve.Best)
	text, err := kinds[0].curve.json()
	require.NoError(t, err)
	require.Contains(t, text, `"best":8`)
	_, err = chart{Curve: []float64{math.NaN()}}.json()
	require.Error(t, err)

	// People differ, and no hour is shown to be best for all.
	m.Tests.Main.AdjustedP = .2
	everybody, _ = kindsOf(m)
	require.Equal(t, -1, everybody.best)
	require.Nil(t, everybody.curve.Best)

	r, l := driftCharts(timing.Drift{Threshold: 8, Diary: []timing.Day{{Day: "2026-11-22", Residual: ref(-4.), Level: 9}, {Day: "odd"}, {Day: "2026-11-23"}}})
	require.Len(t, r.Days, 2)
	require.Nil(t, r.Values[1])
	require.InDelta(t, 4.4, r.Range[1], 1e-9)
	require.InDelta(t, 10, l.Range[1], .1)
}
