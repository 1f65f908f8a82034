package sim

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/dto"
)

// The replications of the error rates' test and the most rejections it lets
// pass. Rejections are binomial: at a true rate of .05 there are 50 +- 6.9, and
// more than 74 in 1 of 3,000 seeds (3.5 sd); at .10 there are 100 +- 9.5, and no
// more than 74 in 1 of 280 (2.7 sd). Six worlds and thirteen rates are looked
// at, so a method whose true rate is .10 passes all of them practically never.
const (
	errorReps = 1000
	errorMost = 74.0 / errorReps
)

// worlds of the short test; the long run takes all that are true nulls.
func shortNulls() (out []Named) {
	for _, n := range TrueNulls(400) {
		w := n.World
		if n.Main || !w.Tied && !w.Bursty && !w.Adaptive && !w.Skewed {
			out = append(out, n)
		}
	}
	return out
}

func TestErrorRates(t *testing.T) {
	worlds := shortNulls()
	require.Len(t, worlds, 6)
	for _, n := range worlds {
		t.Run(n.Name, func(t *testing.T) {
			r := n.World.Rates(1, errorReps, .05)
			if n.Main {
				require.LessOrEqual(t, r.Main, errorMost, "main")
				require.LessOrEqual(t, r.Any, errorMost, "after Holm")
			} else {
				require.Greater(t, r.Main, .5, "the hour does matter here")
			}
			require.LessOrEqual(t, r.Interaction, errorMost, "interaction")
		})
	}
}

// The same tests at twice the level must not pass: the bound is one that a
// false-positive rate of .10 breaks.
func TestErrorRatesSeeATenth(t *testing.T) {
	r := shortNulls()[0].World.Rates(1, errorReps, .10)
	require.Greater(t, r.Main, errorMost, "main")
	require.Greater(t, r.Any, errorMost, "after Holm")
	require.Greater(t, r.Interaction, errorMost, "interaction")
}

// Clusters made from responses and tested on the same responses "find" people
// who differ wherever one looks.
func TestTheNaiveMethodAlwaysFindsSomething(t *testing.T) {
	for seed := range uint64(10) {
		d := World{Kind: Null, People: 600, Base: .15}.Draw(seed).Data
		naive, err := Naive(d, seed)
		require.NoError(t, err)
		require.Less(t, naive.P, 1e-6)
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

func realDays(t testing.TB) []Day {
	t.Helper()
	f, err := os.Open("../testdata/replay_dev.csv.gz")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	days, err := ReadDays(f)
	require.NoError(t, err)
	require.Len(t, days, 231_252)
	return days
}

func TestReadDays(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []Day
		err  string
	}{
		"with a header":        {"user,day,hour_mask\n1,2,3\n\n4,5,6\r\n", []Day{{1, 2, 3}, {4, 5, 6}}, ""},
		"from a spreadsheet":   {"\ufeffUSER,day,hour_mask\r\n1,2,3", []Day{{1, 2, 3}}, ""},
		"without a header":     {"1,2,16777215\n", []Day{{1, 2, 1<<24 - 1}}, ""},
		"too many hours":       {"user,day,hour_mask\n1,2,3\n1,3,16777216\n", nil, "line 3: hour_mask"},
		"a header in between":  {"1,2,3\nuser,day,hour_mask\n", nil, "line 2: user"},
		"fields missing":       {"1,2,3\n\n1,2\n", nil, "line 3: line must read user,day,hour_mask"},
		"a line without end":   {"1,2,3\n" + strings.Repeat("9", 1<<17), nil, "line 2: line must read"},
		"nothing":              {"", nil, "rhythms hold no day"},
		"nothing but a header": {"user,day,hour_mask\n", nil, "rhythms hold no day"},
	} {
		t.Run(name, func(t *testing.T) {
			days, err := ReadDays(strings.NewReader(c.file))
			if c.err == "" {
				require.NoError(t, err)
				require.Equal(t, c.want, days)
				return
			}
			require.ErrorIs(t, err, kairos.ErrInvalid)
			require.ErrorContains(t, err, c.err)
		})
	}
	_, err := ReadDays(strings.NewReader("\x1f\x8bno gzip"))
	require.ErrorContains(t, err, "unzip rhythms")
	var half bytes.Buffer
	z := gzip.NewWriter(&half)
	_, err = z.Write([]byte("1,2,3\n4,5,6\n"))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	days, err := ReadDays(bytes.NewReader(half.Bytes()))
	require.NoError(t, err)
	require.Len(t, days, 2)
	_, err = ReadDays(bytes.NewReader(half.Bytes()[:half.Len()-6]))
	require.ErrorContains(t, err, "read rhythms")
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
	var found []Figure
	counted := map[string]int{}
	s := table{ctx: t.Context(), few: 2, o: TableOptions{
		Replications: 20, People: 100, Days: realDays(t)[:20_000], Fit: dto.Options{Clusters: []int{1, 2}},
		Found:    func(f Figure) { found = append(found, f) },
		Progress: func(step string, done, total int) { counted[step]++; require.LessOrEqual(t, done, total, step) },
	}}
	require.NoError(t, s.errorRate(TrueNulls(100)[0]))
	require.NoError(t, s.errorRate(TrueNulls(100)[5]))
	require.NoError(t, s.naive())
	require.NoError(t, s.power(.1, 400, .01))
	require.NoError(t, s.null(Null))
	require.NoError(t, s.replay(0, "replay", "", 0))
	require.Len(t, s.figures, 3+1+1+1+1+1)
	require.Equal(t, s.figures, found)
	require.Equal(t, 21, counted["error rates, time irrelevant"], "the beginning and each replication")
	require.Equal(t, 21, counted["replay"])
	for _, f := range s.figures {
		require.NotEmpty(t, f.Name)
	}
	require.Equal(t, 1.0, s.figures[4].Value, "%+v", s.figures[4])
	require.True(t, s.figures[6].Reached, "%+v", s.figures[6])

	s.o.Days = s.o.Days[:3]
	require.ErrorIs(t, s.replay(0, "replay", "", 0), kairos.ErrInvalid)
}

func TestTableEndsWhenAsked(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	figures, err := Table(ctx, TableOptions{Replications: 4, People: 50, Found: func(Figure) { cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, figures, 3, "those of the first world")
	_, err = Table(ctx, TableOptions{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestPeakSeesWhatIsHeld(t *testing.T) {
	stop := peak()
	before := stop()
	stop = peak()
	held := make([]byte, 256<<20)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	require.Greater(t, stop(), before+200<<20)
	runtime.KeepAlive(held)
}
