package sim

import (
	"bufio"
	"compress/gzip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/dto"
)

// Of 500 replications a test of level .05 rejects 25 +- 5, one of level .10
// 50 +- 7: more than 37 fails.
func TestErrorRates(t *testing.T) {
	const reps, limit = 500, 37.0 / 500
	seen := map[string]bool{}
	for _, n := range TrueNulls(400) {
		if !n.Main && seen[n.Name] || n.World.Kind == Global && (n.World.Tied || n.World.Bursty || n.World.Adaptive || n.World.Skewed) {
			continue // the long run takes these too
		}
		seen[n.Name] = true
		t.Run(n.Name, func(t *testing.T) {
			r := n.World.Rates(1, reps, .05)
			if n.Main {
				require.LessOrEqual(t, r.Main, limit, "main")
				require.LessOrEqual(t, r.Any, limit, "after Holm")
			} else {
				require.Greater(t, r.Main, .5, "the hour does matter here")
			}
			require.LessOrEqual(t, r.Interaction, limit, "interaction")
		})
	}
	require.Len(t, seen, 6)
}

// Clusters made from responses and tested on the same responses "find" people
// who differ wherever one looks.
func TestTheNaiveMethodAlwaysFindsSomething(t *testing.T) {
	const reps, s, k = 10, 24, 4
	for seed := range uint64(reps) {
		d := World{Kind: Null, People: 600, Base: .15}.Draw(seed).Data
		n := d.Activity.Rows
		qbar, q := make([]float64, s), make([]float64, s)
		dto.PopulationRhythm(qbar, d.Responded)
		x := dto.NewMatrix(n, s)
		for u := range n {
			dto.Rhythm(q, d.Responded.Data[u*s:(u+1)*s], qbar, 2, 1.5)
			for i, v := range q {
				x.Data[u*s+i] = float32(v)
			}
		}
		c, err := dto.KMeans(x, nil, k, dto.KMeansOptions{Seed: seed})
		require.NoError(t, err)
		g := dto.CommonCurve(make([]float64, s), d.Responded, d.Delivered, 0)
		strata := dto.Strata(make([]int32, n), d.Responded, d.Delivered)
		require.Less(t, dto.Omnibus(c.Labels, k, d.Responded, d.Delivered, g, strata).P, 1e-6)
		_, honest, err := dto.Examine(d)
		require.NoError(t, err)
		require.Greater(t, honest.P, 1e-3)
	}
}

func TestPower(t *testing.T) {
	w := World{Kind: Clusters, People: 2000}.WithOracleLift(.10, 1) // 40,000 deliveries
	require.InDelta(t, .10, w.OracleLift(1), .01)
	r := w.Rates(1, 60, .025) // Holm's level when the hour alone does not matter
	require.GreaterOrEqual(t, r.Interaction, .78)
}

func TestShareOfTheOracle(t *testing.T) {
	for _, c := range []struct{ effect, least float64 }{{.3, .6}, {.5, .7}, {.8, .75}} {
		share := 0.0
		for seed := range uint64(3) {
			trial, err := World{Kind: Clusters, People: 2000, Effect: c.effect}.Try(seed+1, dto.Options{Clusters: []int{1, 4}})
			require.NoError(t, err)
			require.Equal(t, dto.Clusters, trial.Model.Decision.Verdict)
			share += trial.Share / 3
		}
		require.Greater(t, share, c.least, "A = %g", c.effect)
	}
}

// Where people do not differ the personal slots must not cost anything.
func TestNoHarmUnderTheNull(t *testing.T) {
	harmed, mean := 0, 0.0
	for seed := range uint64(20) {
		trial, err := World{Kind: Global, People: 1000, Effect: .3, Base: .1}.Try(seed+1, dto.Options{Clusters: []int{1, 4}})
		require.NoError(t, err)
		mean += trial.Policy / 20
		if trial.Policy < -.005 {
			harmed++
		}
	}
	require.LessOrEqual(t, harmed, 1)
	require.InDelta(t, 0, mean, .005)
}

func TestVerdictsOfTheWorlds(t *testing.T) {
	for _, c := range []struct {
		world World
		want  []dto.Verdict
	}{
		{World{Kind: Clusters, Effect: .5}, []dto.Verdict{dto.Clusters}},
		{World{Kind: Global, Effect: .5}, []dto.Verdict{dto.Global}},
		{World{Kind: Null}, []dto.Verdict{dto.NotEnoughData}},
		{World{Kind: Null, People: 3000, Base: .2}, []dto.Verdict{dto.Null}},
	} {
		trial, err := c.world.Try(3, dto.Options{Clusters: []int{1, 4}})
		require.NoError(t, err)
		require.Contains(t, c.want, trial.Model.Decision.Verdict, "%s: %s", c.world.Kind, trial.Model.Decision.Reason)
	}
}

func TestDrawIsReproducible(t *testing.T) {
	w := World{Kind: Clusters, People: 200, Effect: .5, Tied: true, Skewed: true, Bursty: true, Adaptive: true, Wander: 1}
	require.Equal(t, w.Draw(7), w.Draw(7))
	require.NotEqual(t, w.Draw(7).Data, w.Draw(8).Data)
	d := w.Draw(7).Data
	require.NoError(t, d.Validate())
	sum := float32(0)
	for _, v := range d.Delivered.Data {
		sum += v
	}
	require.Equal(t, float32(200*20), sum)
}

func TestValue(t *testing.T) {
	p := World{Kind: Clusters, People: 300, Effect: 1}.Draw(1)
	slot, single, oracle := p.Best()
	require.Greater(t, oracle, single)
	all := make([]int16, 300)
	for u := range all {
		all[u] = -1
	}
	require.InDelta(t, single, p.Value(all, slot), 1e-6)
	_, single, oracle = World{Kind: Null, People: 300}.Draw(1).Best()
	require.InDelta(t, single, oracle, 1e-6)
}

func realDays(t testing.TB) (days []Day) {
	t.Helper()
	f, err := os.Open("../testdata/replay_dev.csv.gz")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	lines := bufio.NewScanner(z)
	lines.Scan() // header
	for lines.Scan() {
		d, err := ParseDay(lines.Text())
		require.NoError(t, err)
		days = append(days, d)
	}
	require.NoError(t, lines.Err())
	return days
}

func TestReplayOfRealRhythms(t *testing.T) {
	days := realDays(t)
	for _, c := range []struct {
		keep  int
		least float64
	}{{0, .066}, {10, .05}} {
		r, err := Replay(days, c.keep, dto.Options{})
		require.NoError(t, err)
		require.Greater(t, r.Lift, c.least, "%d days", c.keep)
		require.Greater(t, r.Low, 0.0)
		require.Greater(t, r.GlobalOverRandom, .8)
		t.Logf("%d days: %+.1f %% [%.1f, %.1f] over the best hour, which is %+.0f %% over a random one", c.keep, 100*r.Lift, 100*r.Low, 100*r.High, 100*r.GlobalOverRandom)
	}
	r, err := Replay(nil, 0, dto.Options{})
	require.NoError(t, err)
	require.Zero(t, r.People)
}

// People of a high level saturate: their rates differ less between hours. Where
// exposure follows kinds too, a common curve of rates would see people who
// differ in a third of all cases.
func TestSaturationIsNoInteraction(t *testing.T) {
	w := World{Kind: Global, People: 1000, Effect: .8, Base: .2, Tied: true, Skewed: true}
	require.LessOrEqual(t, w.Rates(1, 150, .05).Interaction, .09)
}

func FuzzParseDay(f *testing.F) {
	for _, line := range []string{"0,5,4198400", "1,2,16777215", "1,2,16777216", "", ",,", "-1,2,3", "1,2,3,4", " 7 , 8 , 9 \r\n"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		d, err := ParseDay(line)
		if err != nil {
			require.ErrorIs(t, err, kairos.ErrInvalid)
			require.Zero(t, d)
			return
		}
		require.Less(t, d.Hours, uint32(1<<24))
		require.GreaterOrEqual(t, min(d.User, d.Day), 0)
		require.Equal(t, 2, strings.Count(line, ","))
	})
}

// The steps of the table on a small scale; BenchmarkTable runs all of it.
func TestTableSteps(t *testing.T) {
	s := table{o: TableOptions{Replications: 20, People: 100, Days: realDays(t)[:20_000], Fit: dto.Options{Clusters: []int{1, 2}}}, few: 2}
	require.NoError(t, s.errorRate(TrueNulls(100)[0]))
	require.NoError(t, s.errorRate(TrueNulls(100)[5]))
	require.NoError(t, s.power(.1, 400, .01))
	require.NoError(t, s.null(Null))
	require.NoError(t, s.replay(0, "replay", "", 0))
	require.Len(t, s.figures, 3+1+1+1+1)
	for _, f := range s.figures {
		require.NotEmpty(t, f.Name)
		require.NotEmpty(t, f.Target)
	}
	require.True(t, s.figures[5].Reached, "%+v", s.figures[5])
}
