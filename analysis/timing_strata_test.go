package analysis

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// Two campaigns whose ratio of rates is 1.5 in each, at different levels and
// shares. The figures were computed apart from this program:
// R = 60/700*300 + 300/1250*250 = 85.714286, S = 30/700*400 + 50/1250*1000 = 57.142857.
func TestTimingStrataByHand(t *testing.T) {
	t.Parallel()
	r := compareWithin([]stratum{{sentAnd(400, 60), sentAnd(300, 30)}, {sentAnd(1000, 300), sentAnd(250, 50)}}, 0.1)
	require.InDelta(t, 0.5, *r.lift.Estimate, 1e-12)
	require.InDelta(t, 0.200038025, r.lift.Interval[0], 1e-9)
	require.InDelta(t, 0.874940587, r.lift.Interval[1], 1e-9)
	require.InDelta(t, 0.000212912654, r.lift.P, 1e-12)
	require.Equal(t, VerdictBetter, r.verdict)
	require.Zero(t, r.needed)
}

// One campaign reads alike by either way; a campaign that sent on one side only
// adds nothing.
func TestTimingOneStratum(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]stratum{
		"plain":           {sentAnd(1000, 120), sentAnd(800, 80)},
		"clear":           {sentAnd(5000, 600), sentAnd(4000, 320)},
		"nobody treated":  {sentAnd(1000, 0), sentAnd(1000, 100)},
		"nobody else":     {sentAnd(1000, 100), sentAnd(900, 0)},
		"everybody":       {sentAnd(9000, 9000), sentAnd(9000, 9000)},
		"no response":     {sentAnd(100, 0), sentAnd(100, 0)},
		"nothing sent":    {},
		"control is void": {sentAnd(100, 10), armCount{}},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := compareRates(s.treated, s.control, 0.1)
			require.NoError(t, err)
			for _, more := range [][]stratum{nil, {{sentAnd(500, 400), armCount{}}, {armCount{}, sentAnd(7, 7)}}} {
				got := compareWithin(append([]stratum{s}, more...), 0.1)
				require.Equal(t, want.verdict, got.verdict)
				require.Equal(t, want.needed, got.needed)
				require.Equal(t, want.lift != nil, got.lift != nil)
				if want.lift == nil {
					continue
				}
				require.InDelta(t, want.lift.P, got.lift.P, 1e-9)
				require.Equal(t, want.lift.Estimate != nil, got.lift.Estimate != nil)
				if want.lift.Estimate != nil {
					require.InDelta(t, *want.lift.Estimate, *got.lift.Estimate, 1e-9)
					require.InDelta(t, want.lift.Interval[0], got.lift.Interval[0], 1e-9)
					require.InDelta(t, want.lift.Interval[1], got.lift.Interval[1], 1e-9)
				}
			}
		})
	}
}

// A message that everybody opens, mostly optimised, and one that nobody wants,
// mostly control: added up they show a lift of 500 %; there is none.
func TestTimingStrataAreNotConfounded(t *testing.T) {
	t.Parallel()
	loved, loathed := stratum{sentAnd(9000, 3600), sentAnd(1000, 400)}, stratum{sentAnd(1000, 20), sentAnd(9000, 180)}
	crude, err := compareRates(loved.treated.plus(loathed.treated), loved.control.plus(loathed.control), 0.1)
	require.NoError(t, err)
	require.Equal(t, VerdictBetter, crude.verdict)
	require.Greater(t, *crude.lift.Estimate, 5.0)
	got, err := compareStrata([]stratum{loved, loathed}, 0.1)
	require.NoError(t, err)
	require.InDelta(t, 0, *got.lift.Estimate, 1e-12)
	require.InDelta(t, 1, got.lift.P, 1e-9)
	require.Equal(t, VerdictNoDifference, got.verdict)
}

// Thirty small campaigns of different appeal: the interval holds the true lift,
// and where there is none hardly any report claims one.
func TestTimingStrataCoverage(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 8))
	report := func(lift float64) rates {
		strata := make([]stratum, 30)
		for i := range strata {
			p, share := 0.02+0.2*rng.Float64(), 0.2+0.6*rng.Float64()
			for range 120 {
				arm, rate := &strata[i].control, p
				if rng.Float64() < share {
					arm, rate = &strata[i].treated, p*(1+lift)
				}
				arm.sent++
				if rng.Float64() < rate {
					arm.responses++
				}
			}
		}
		return compareWithin(strata, 0.1)
	}
	held, claims := 0, 0
	for range 1000 {
		if l := report(0.25).lift; l.Interval[0] <= 0.25 && 0.25 <= l.Interval[1] {
			held++
		}
		if v := report(0).verdict; v == VerdictBetter || v == VerdictWorse {
			claims++
		}
	}
	t.Logf("%d of 1000 intervals hold the truth, %d of 1000 nulls are called better or worse", held, claims)
	require.InDelta(t, 950, held, 22)
	require.InDelta(t, 50, claims, 22)
}

func TestTimingSampleRatioOfSeveral(t *testing.T) {
	t.Parallel()
	half := sharesOf(kairos.ModeOptimised, kairos.Experiment{Control: 0.5})
	of := func(control, optimised int64) *experiment {
		return &experiment{shares: half, arms: map[kairos.Arm]armCount{kairos.ArmControl: {drawn: control}, kairos.ArmOptimised: {drawn: optimised}}}
	}
	got, err := sampleRatio([]*experiment{of(60, 40), of(45, 55), of(4, 0)}) // the last is too small to be judged
	require.NoError(t, err)
	require.InDelta(t, 0.0820849986, got.P, 1e-9) // chi-square 4 + 1 with 2 degrees of freedom: exp(-2.5)
	require.True(t, got.OK)

	strange := []*experiment{of(560, 440), of(440, 560)} // in the sum all seems well
	got, err = sampleRatio(strange)
	require.NoError(t, err)
	require.False(t, got.OK)

	got, err = sampleRatio([]*experiment{of(4, 4), of(4, 4)})
	require.NoError(t, err)
	require.Nil(t, got)
	got, err = sampleRatio(nil)
	require.NoError(t, err)
	require.Nil(t, got)
}

// launched adds a campaign whose messages were sent around a moment: sizes and
// responses of control, optimised and preferred, the first of them hours after
// the moment. model chose the hours of the last two; 0: none did.
func (w *world) launched(spec kairos.CampaignSpec, at time.Time, model int, control, optimised, preferred armCount) kairos.ID {
	w.t.Helper()
	id := w.campaign(spec)
	w.exec(`UPDATE campaigns SET created_at = $2 WHERE id = $1`, id, at.Add(-hour))
	for i, n := range []armCount{control, optimised, preferred} {
		if n.sent == 0 {
			continue
		}
		arm := []kairos.Arm{kairos.ArmControl, kairos.ArmOptimised, kairos.ArmPreferred}[i]
		w.exec(`INSERT INTO rollups SELECT $1, $2, 'email', step, $3, $3 FROM unnest(ARRAY['planned', 'sent']) AS step`, id, string(arm), n.sent)
		w.exec(`INSERT INTO arms VALUES ($1, $2, CASE WHEN $2 <> 'control' THEN $3::int ELSE 0 END, $4, $5, $6)`,
			id, string(arm), model, n.sent, n.responses, at.Add(time.Duration(i)*hour))
	}
	return id
}

func TestTimingOfAPeriod(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, Options{})
	w.clock.Set(noon.Add(40 * 24 * hour))
	spec := optimisedSpec(kairos.Experiment{Control: 0.5})
	day := func(n int) time.Time { return noon.Add(time.Duration(n) * 24 * hour) }

	empty, err := w.a.TimingOf(ctx, day(0), day(1))
	require.NoError(t, err)
	require.Equal(t, Timing{From: day(0), Until: day(1), Verdict: VerdictNotEnoughData, Arms: []TimingArm{}, Models: []int{}}, empty)

	first := w.launched(spec, day(0), 0, sentAnd(1000, 400), sentAnd(900, 360), sentAnd(100, 40))
	w.launched(spec, day(5), 4, sentAnd(1000, 20), sentAnd(600, 15), sentAnd(400, 10))
	w.launched(spec, day(5), 2, sentAnd(1000, 20), sentAnd(1000, 25), armCount{})
	w.launched(spec, day(5), 0, armCount{}, armCount{}, armCount{}) // nothing sent
	w.launched(kairos.CampaignSpec{Schedule: kairos.Schedule{Mode: kairos.ModeLocal}}, day(5), 0, sentAnd(5, 5), armCount{}, armCount{})
	w.launched(spec, day(20), 9, sentAnd(1000, 1), sentAnd(1000, 900), armCount{})

	rate := func(f float64) *float64 { return &f }
	got, err := w.a.TimingOf(ctx, day(5), day(20))
	require.NoError(t, err)
	require.True(t, got.Campaign.IsZero())
	require.Equal(t, 2, got.Campaigns)
	require.Equal(t, []TimingArm{{kairos.ArmControl, 2000, 40, rate(0.02)}, {kairos.ArmOptimised, 1600, 40, rate(0.025)}, {kairos.ArmPreferred, 400, 10, rate(0.025)}}, got.Arms)
	require.InDelta(t, 0.25, *got.Lift.Estimate, 1e-12)
	require.Equal(t, []int{2, 4}, got.Models)
	require.Empty(t, got.Note)
	require.Equal(t, 1.0, got.SRM.P)
	require.NotNil(t, got.Needed)

	// Until is not in it, From is; a campaign whose later messages lie beyond the end is counted whole.
	got, err = w.a.TimingOf(ctx, day(0), day(0).Add(time.Microsecond))
	require.NoError(t, err)
	single, err := w.a.Timing(ctx, first)
	require.NoError(t, err)
	require.Equal(t, NoModel, got.Note)
	single.Campaign, single.From, single.Until, single.Campaigns = kairos.ID{}, got.From, got.Until, 1
	require.Equal(t, single, got, "a period with one campaign says what its own report says")
	got, err = w.a.TimingOf(ctx, day(0).Add(time.Microsecond), day(5))
	require.NoError(t, err)
	require.Zero(t, got.Campaigns)

	got, err = w.a.TimingOf(ctx, time.Time{}, time.Time{})
	require.NoError(t, err)
	require.Equal(t, 4, got.Campaigns)
	require.True(t, got.From.IsZero())
	require.Equal(t, w.clock.Now(), got.Until)
	require.Equal(t, []int{2, 4, 9}, got.Models)

	// What cannot be read, and what ended before, is left out.
	w.exec(`UPDATE campaigns SET finished_at = $2 WHERE id = $1`, first, day(1))
	w.exec(`UPDATE campaigns SET spec = spec || '{"schedule": {"mode": "optimised", "window": "x"}}' WHERE id = $1`, first)
	got, err = w.a.TimingOf(ctx, day(0), time.Time{})
	require.NoError(t, err)
	require.Equal(t, 3, got.Campaigns)

	for _, p := range [][2]time.Time{{day(1), day(1)}, {day(2), day(1)}, {day(60), {}}} {
		_, err = w.a.TimingOf(ctx, p[0], p[1])
		require.ErrorIs(t, err, kairos.ErrInvalid)
	}
}

// Shares are those that were fixed when the first page was planned, not those
// of a specification that asks for none.
func TestTimingSharesAsDecided(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	spec := kairos.CampaignSpec{Schedule: kairos.Schedule{Mode: kairos.ModeOptimised}}
	id := w.launched(spec, noon, 3, sentAnd(500, 5), sentAnd(450, 5), sentAnd(50, 1))
	got, err := w.a.Timing(t.Context(), id)
	require.NoError(t, err)
	require.False(t, got.SRM.OK, "by the specification nobody may be in control")
	w.exec(`INSERT INTO experiments (campaign, holdout, control, explore, model, decided_at) VALUES ($1, 0, 0.5, 0, 3, $2)`, id, noon)
	got, err = w.a.Timing(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, &TimingSRM{P: 1, OK: true}, got.SRM)
	require.Equal(t, []int{3}, got.Models)
	w.exec(`UPDATE experiments SET control = 0.45, explore = 0.05`)
	got, err = w.a.Timing(t.Context(), id)
	require.NoError(t, err)
	require.False(t, got.SRM.OK)
	require.Equal(t, kairos.ArmExplore, got.Arms[1].Arm, "an arm that was meant is listed")

	// Without a choice of hours only the holdout counts.
	now := w.launched(kairos.CampaignSpec{Schedule: kairos.Schedule{Mode: kairos.ModeNow}}, noon, 0, armCount{}, armCount{}, armCount{})
	w.exec(`INSERT INTO experiments (campaign, holdout, control, explore, decided_at) VALUES ($1, 0.5, 0.1, 0.1, $2)`, now, noon)
	w.exec(`INSERT INTO rollups SELECT $1, arm, 'email', step, 50, 50 FROM (VALUES ('all', 'planned'), ('holdout', 'held_out')) x (arm, step)`, now)
	got, err = w.a.Timing(t.Context(), now)
	require.NoError(t, err)
	require.Equal(t, &TimingSRM{P: 1, OK: true}, got.SRM)
	require.Nil(t, got.Lift)
	require.Empty(t, got.Note)
}
