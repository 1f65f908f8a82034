package orchestration

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
	"kairos/dto"
)

// crowd returns people whose ids, and so whose draws, are always the same.
func crowd(seed uint64, n int) []*person {
	r := rand.New(rand.NewPCG(seed, 1))
	people := make([]*person, n)
	for i := range people {
		people[i] = &person{hasAddress: true}
		binary.BigEndian.PutUint64(people[i].id[:8], r.Uint64())
		binary.BigEndian.PutUint64(people[i].id[8:], r.Uint64())
	}
	return people
}

// withModels is a campaign for which model 3 is active and model 4 on trial.
func withModels(e experiment, active, canary ranking) *campaign {
	c := optimised(e.Experiment)
	c.experiment = e
	c.active = model{version: e.model, hours: active, personal: true}
	c.canary = model{version: e.canary, hours: canary, personal: true}
	return c
}

func prefers(from, until int) kairos.Preferences {
	return kairos.Preferences{PreferredHours: []kairos.HourRange{*hours(from, until)}}
}

func TestModelsChooseOrFallBack(t *testing.T) {
	all, none := experiment{model: 3, canary: 4, canaryShare: 1}, experiment{model: 3}
	lunch := &kairos.HourRange{From: kairos.ClockTime(12, 0), Until: kairos.ClockTime(14, 0)}
	for name, c := range map[string]struct {
		x              experiment
		active, canary ranking
		own, ownCanary ranking
		preferences    kairos.Preferences
		arm            kairos.Arm
		hour, model    int
		told           told
	}{
		"no model: the baseline":                 {experiment{}, nil, nil, nil, nil, kairos.Preferences{}, kairos.ArmOptimised, 9, 0, told{}},
		"the model's own hours":                  {none, everyHour(), nil, nil, nil, kairos.Preferences{}, kairos.ArmOptimised, 19, 3, told{Model: 3, Rank: 1}},
		"the person's":                           {none, everyHour(), nil, ranking{7, 19}, nil, kairos.Preferences{}, kairos.ArmOptimised, 7, 3, told{Model: 3, Rank: 1}},
		"an empty score is none":                 {none, everyHour(), nil, ranking{}, nil, kairos.Preferences{}, kairos.ArmOptimised, 19, 3, told{Model: 3, Rank: 1}},
		"a score that is no hours is none":       {none, everyHour(), nil, ranking{24, 255}, nil, kairos.Preferences{}, kairos.ArmOptimised, 19, 3, told{Model: 3, Rank: 1}},
		"what is no hour is passed over":         {none, everyHour(), nil, ranking{99, 8}, nil, kairos.Preferences{}, kairos.ArmOptimised, 8, 3, told{Model: 3, Rank: 1}},
		"the trial's":                            {all, everyHour(), ranking{6}, nil, nil, kairos.Preferences{}, kairos.ArmOptimised, 6, 4, told{Model: 4, Rank: 1}},
		"the trial's for the person":             {all, everyHour(), ranking{6}, ranking{7}, ranking{8}, kairos.Preferences{}, kairos.ArmOptimised, 8, 4, told{Model: 4, Rank: 1}},
		"a broken trial leaves it to the active": {all, everyHour(), nil, nil, nil, kairos.Preferences{}, kairos.ArmOptimised, 19, 3, told{Model: 3, Rank: 1}},
		"a trial with nothing active":            {experiment{canary: 4, canaryShare: 1}, nil, ranking{6}, nil, nil, kairos.Preferences{}, kairos.ArmOptimised, 6, 4, told{Model: 4, Rank: 1}},
		"a broken model: the baseline":           {none, nil, nil, nil, nil, kairos.Preferences{}, kairos.ArmOptimised, 9, 0, told{Model: 3, Fallback: noOrder}},
		"the next best of all 24":                {none, ranking{13, 12, 20}, nil, nil, nil, kairos.Preferences{QuietHours: lunch}, kairos.ArmOptimised, 20, 3, told{Model: 3, Rank: 3}},
		"a partial order, none allowed":          {none, ranking{13, 12}, nil, nil, nil, kairos.Preferences{QuietHours: lunch}, kairos.ArmOptimised, 9, 0, told{Model: 3, Fallback: noneAllowed}},
		"the trial's partial order, none":        {all, everyHour(), ranking{13}, nil, nil, kairos.Preferences{QuietHours: lunch}, kairos.ArmOptimised, 9, 0, told{Model: 4, Fallback: noneAllowed}},
		"best of the hours asked for":            {none, everyHour(), nil, nil, nil, prefers(7, 10), kairos.ArmPreferred, 8, 3, told{Model: 3, Rank: 7, Asked: 3}},
		"who asks is in no trial":                {all, everyHour(), ranking{7}, nil, nil, prefers(7, 10), kairos.ArmPreferred, 8, 3, told{Model: 3, Rank: 7, Asked: 3}},
		"asked for an hour the model lacks":      {none, ranking{20}, nil, nil, nil, prefers(7, 8), kairos.ArmPreferred, 7, 0, told{Model: 3, Asked: 1, Fallback: noneAllowed}},
		"asked for, no model":                    {experiment{}, nil, nil, nil, nil, prefers(7, 8), kairos.ArmPreferred, 7, 0, told{Asked: 1}},
		"asked for what is quiet: optimised":     {none, everyHour(), nil, nil, nil, kairos.Preferences{QuietHours: lunch, PreferredHours: []kairos.HourRange{*lunch}}, kairos.ArmOptimised, 19, 3, told{Model: 3, Rank: 1, Outside: true}},
	} {
		cam := withModels(c.x, c.active, c.canary)
		p := someone()
		p.active, p.canary, p.preferences = c.own, c.ownCanary, c.preferences
		d := decide(cam, p, time.UTC, true, monday)
		require.Equal(t, kairos.StatePlanned, d.state, name)
		require.Equal(t, c.arm, d.arm, name)
		require.Equal(t, c.hour, d.at.Hour(), name)
		require.Equal(t, c.model, d.model, name)
		require.Equal(t, c.told, d.told, name)
		require.Equal(t, 1.0, d.propensity, name)
		require.True(t, d.eligible.has(d.slot), name)
		require.Equal(t, c.model != 0, c.told.Rank != 0, name)
	}
}

// The clocks of Berlin skip 02:00 to 02:59 on 28 March 2027, and show it twice
// on 25 October 2026.
func TestClocksAreSet(t *testing.T) {
	berlin := load(t, "Europe/Berlin")
	spring, autumn := time.Date(2027, 3, 27, 20, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC)
	at := func(c *campaign, start time.Time, share kairos.Experiment) *campaign {
		c.start, c.experiment.Experiment = start, share
		c.spec.Schedule.Window, c.spec.Schedule.Baseline = kairos.Duration(12*time.Hour), kairos.ClockTime(2, 30)
		return c
	}
	third := experiment{model: 3}
	for name, c := range map[string]struct {
		c           *campaign
		preferences kairos.Preferences
		arm         kairos.Arm
		want        time.Time
		propensity  float64
	}{
		"gap, optimised: the next best hour": {at(withModels(third, ranking{2, 3}, nil), spring, kairos.Experiment{}), kairos.Preferences{},
			kairos.ArmOptimised, time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC), 1},
		"gap, optimised, no other hour: the baseline, after the gap": {at(withModels(third, ranking{2}, nil), spring, kairos.Experiment{}), kairos.Preferences{},
			kairos.ArmOptimised, time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC), 1},
		"gap, control": {at(withModels(third, ranking{2}, nil), spring, kairos.Experiment{Control: 1}), kairos.Preferences{},
			kairos.ArmControl, time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC), 1},
		"gap, preferred": {at(withModels(third, ranking{2, 3}, nil), spring, kairos.Experiment{}), prefers(2, 4),
			kairos.ArmPreferred, time.Date(2027, 3, 28, 1, 0, 0, 0, time.UTC), 1},
		"gap, preferred, that hour alone: optimised": {at(withModels(third, ranking{5}, nil), spring, kairos.Experiment{}), prefers(2, 3),
			kairos.ArmOptimised, time.Date(2027, 3, 28, 3, 0, 0, 0, time.UTC), 1},
		"overlap, optimised: the first of the two": {at(withModels(third, ranking{2}, nil), autumn, kairos.Experiment{}), kairos.Preferences{},
			kairos.ArmOptimised, time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC), 1},
		"overlap, the first nearly over: the second": {at(withModels(third, ranking{2}, nil), autumn.Add(4*time.Hour+50*time.Minute), kairos.Experiment{}), kairos.Preferences{},
			kairos.ArmOptimised, time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), 1},
		"overlap, control": {at(withModels(third, ranking{2}, nil), autumn, kairos.Experiment{Control: 1}), kairos.Preferences{},
			kairos.ArmControl, time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC), 1},
		"overlap, preferred": {at(withModels(third, ranking{2}, nil), autumn, kairos.Experiment{}), prefers(2, 3),
			kairos.ArmPreferred, time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC), 1},
	} {
		p := someone()
		p.preferences = c.preferences
		d := decide(c.c, p, berlin, true, c.c.start)
		require.Equal(t, c.arm, d.arm, name)
		require.Equal(t, c.want, d.at.UTC(), name)
		require.Equal(t, kairos.SlotAt(c.want, berlin), d.slot, name)
		require.Equal(t, c.propensity, d.propensity, name)
	}
	explore := func(start time.Time, n int) map[time.Time]int {
		c, seen := at(optimised(kairos.Experiment{}), start, kairos.Experiment{Explore: 1}), map[time.Time]int{}
		for _, p := range crowd(7, 3000) {
			d := decide(c, p, berlin, true, start)
			require.InDelta(t, 1/float64(n), d.propensity, 1e-12)
			seen[d.at.UTC()]++
		}
		return seen
	}
	seen := explore(spring, 12)
	require.Len(t, seen, 12)
	for at := range seen {
		require.NotEqual(t, 2, at.In(berlin).Hour())
	}
	// The hour that comes twice is drawn as often as any other, half in each.
	seen = explore(autumn, 11)
	require.Len(t, seen, 12)
	first, second := seen[time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC)], seen[time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)]
	require.InDelta(t, 3000./11, first+second, 60)
	require.InDelta(t, first, second, 60)
}

func TestNarrowWindows(t *testing.T) {
	for name, c := range map[string]struct {
		window     time.Duration
		quiet      *kairos.HourRange
		want       kairos.Reason
		from, till string // of the slot
	}{
		"under an hour, within one":   {20 * time.Minute, nil, "", "12:20", "12:40"},
		"under an hour, across two":   {50 * time.Minute, nil, "", "13:00", "13:10"},
		"quiet hours cover it":        {20 * time.Minute, hours(12, 13), kairos.ReasonQuietHours, "", ""},
		"quiet hours around midnight": {20 * time.Minute, hours(22, 13), kairos.ReasonQuietHours, "", ""},
		"quiet hours leave its end": {20 * time.Minute, &kairos.HourRange{From: kairos.ClockTime(12, 0), Until: kairos.ClockTime(12, 30)}, "",
			"12:30", "12:40"},
		"quiet in its middle: the longer part": {30 * time.Minute, &kairos.HourRange{From: kairos.ClockTime(12, 30), Until: kairos.ClockTime(12, 35)}, "",
			"12:35", "12:50"},
		"quiet for a part of an hour: another one": {2 * time.Hour, &kairos.HourRange{From: kairos.ClockTime(13, 10), Until: kairos.ClockTime(13, 20)}, "",
			"14:00", "14:20"},
	} {
		cam := withModels(experiment{model: 3}, ranking{13, 14, 12}, nil)
		cam.spec.Schedule.Window = kairos.Duration(c.window)
		p := someone()
		p.preferences.QuietHours = c.quiet
		d := decide(cam, p, time.UTC, true, monday)
		require.Equal(t, c.want, d.reason, name)
		if c.want != "" {
			require.Equal(t, kairos.StateSkipped, d.state, name)
			continue
		}
		require.Equal(t, c.from, d.at.Format("15:04"), name)
		require.Equal(t, c.till, d.jitter.Format("15:04"), name)
	}
}

// Nothing is sent after the latest moment: hours after it are no choice.
func TestLatestEndsTheWindow(t *testing.T) {
	latest := monday.Add(3 * time.Hour)
	for _, e := range []kairos.Experiment{{}, {Control: 1}, {Explore: 1}} {
		c := withModels(experiment{Experiment: e, model: 3}, everyHour(), nil)
		c.spec.Latest = &latest
		for _, p := range crowd(3, 100) {
			d := decide(c, p, time.UTC, true, monday)
			require.Equal(t, kairos.StatePlanned, d.state)
			require.False(t, d.at.After(latest))
			require.False(t, d.jitter.After(latest))
			require.Equal(t, 4, d.eligible.len())
		}
	}
}

func TestArmSharesMatch(t *testing.T) {
	shares := []float64{.05, .1, .3, .55 * .25, .55 * .75}
	c := withModels(experiment{Experiment: kairos.Experiment{Holdout: .05, Control: .1, Explore: .3}, model: 3, canary: 4, canaryShare: .25}, everyHour(), ranking{6})
	seen, hour := make([]int64, len(shares)), make([]int64, 25)
	for _, p := range crowd(11, 60_000) {
		d := decide(c, p, time.UTC, true, monday)
		switch {
		case d.arm == kairos.ArmHoldout:
			seen[0]++
		case d.arm == kairos.ArmControl:
			seen[1]++
		case d.arm == kairos.ArmExplore:
			seen[2]++
			hour[(int(d.slot)+168-12)%168]++
		case d.model == 4:
			seen[3]++
		default:
			seen[4]++
		}
	}
	test, alarm, err := dto.SampleRatio(seen, shares)
	require.NoError(t, err)
	require.False(t, alarm, "%v %+v", seen, test)
	even := make([]float64, len(hour))
	for i := range even {
		even[i] = 1
	}
	test, alarm, err = dto.SampleRatio(hour, even)
	require.NoError(t, err)
	require.False(t, alarm, "%v %+v", hour, test)
}

var anyZone = rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia", "Africa/Casablanca"})

func anyRange(t *rapid.T, name string) *kairos.HourRange {
	at := func(end string) kairos.LocalTime {
		m := rapid.IntRange(0, 24*60-1).Draw(t, name+" "+end)
		return kairos.ClockTime(m/60, m%60)
	}
	return &kairos.HourRange{From: at("from"), Until: at("until")}
}

// Whatever was asked for and whatever the models say: who is planned gets a
// moment in the window, outside quiet hours, in an allowed slot; chances add up
// to 1 over the slots they were spread over; and it is the same again.
func TestAnyDecisionHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(anyZone.Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		order := rapid.SliceOfN(rapid.Byte(), 0, 24)
		x := experiment{model: rapid.IntRange(0, 3).Draw(t, "model"), canary: rapid.SampledFrom([]int{0, 4}).Draw(t, "canary"), canaryShare: rapid.Float64Range(0, 1).Draw(t, "share")}
		x.Experiment = rapid.SampledFrom([]kairos.Experiment{{}, {Holdout: .3, Control: .3, Explore: .3}, {Explore: 1}, {Control: 1}}).Draw(t, "experiment")
		c := withModels(x, ranking(order.Draw(t, "active")).usable(), ranking(order.Draw(t, "on trial")).usable())
		c.start = time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "start"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
		c.spec.Schedule.Window = kairos.Duration(time.Duration(rapid.IntRange(1, 200*60).Draw(t, "minutes")) * time.Minute)
		c.spec.Schedule.Baseline = anyRange(t, "baseline").From
		now := c.start.Add(time.Duration(rapid.IntRange(-300, 300).Draw(t, "late")) * time.Minute)
		if rapid.Bool().Draw(t, "has latest") {
			l := c.start.Add(time.Duration(rapid.IntRange(0, 100*60).Draw(t, "latest")) * time.Minute)
			c.spec.Latest = &l
		}
		p := crowd(rapid.Uint64().Draw(t, "person"), 1)[0]
		p.active, p.canary = order.Draw(t, "own"), order.Draw(t, "own on trial")
		if rapid.Bool().Draw(t, "has quiet") {
			p.preferences.QuietHours = anyRange(t, "quiet")
		}
		if rapid.Bool().Draw(t, "prefers") {
			p.preferences.PreferredHours = []kairos.HourRange{*anyRange(t, "preferred")}
		}
		d := decide(c, p, loc, true, now)
		if again := decide(c, p, loc, true, now); again.at != d.at || again.told != d.told || again.arm != d.arm || again.propensity != d.propensity {
			t.Fatalf("%+v, then %+v", d, again)
		}
		if d.state == kairos.StateSkipped {
			if d.reason != kairos.ReasonQuietHours && d.reason != kairos.ReasonMissed && d.reason != kairos.ReasonLatest {
				t.Fatalf("skipped for %s", d.reason)
			}
			return
		}
		rows := []row{{contact: p.id, decision: d}}
		cut(c, rows, 1, kairos.ID{})
		at := rows[0].at
		if at.Before(c.from(now)) || !at.Before(c.end()) {
			t.Fatalf("%v is outside of %v to %v", at, c.from(now), c.end())
		}
		if _, is := quiet(p.preferences.QuietHours, at, loc); is {
			t.Fatalf("%v is quiet", at.In(loc))
		}
		if kairos.SlotAt(at, loc) != d.slot || !d.eligible.has(d.slot) {
			t.Fatalf("%v is not in slot %s, or that is not allowed", at.In(loc), d.slot)
		}
		if (d.model != 0) != (d.told.Rank != 0) || d.model != 0 && d.arm != kairos.ArmOptimised && d.arm != kairos.ArmPreferred {
			t.Fatalf("model %d in arm %s: %+v", d.model, d.arm, d.told)
		}
		over := 1 // how many slots the chance was spread over
		switch {
		case d.arm == kairos.ArmExplore:
			over = d.eligible.len()
		case d.arm == kairos.ArmPreferred && d.model == 0:
			over = d.told.Asked
		case d.arm == kairos.ArmHoldout:
			return // its propensity is its share
		}
		if sum := d.propensity * float64(over); sum < 1-1e-9 || sum > 1+1e-9 {
			t.Fatalf("propensity %v over %d slots adds up to %v", d.propensity, over, sum)
		}
	})
}

// A draw spread evenly over [0, 1) takes each slot equally often, however many
// times the window holds it.
func TestPickIsEvenOverSlots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(anyZone.Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "start"), 0).UTC()
		list := hoursOf(start, start.Add(time.Duration(rapid.IntRange(1, 9*24*60).Draw(t, "minutes"))*time.Minute), loc)
		n := maskOf(list).len()
		count := map[kairos.Slot]int{}
		for i := range 4 * n {
			h, chance := pick(list, (float64(i)+.5)/float64(4*n))
			count[h.slot]++
			if chance != 1/float64(n) {
				t.Fatalf("chance %v of %d slots", chance, n)
			}
		}
		if len(count) != n {
			t.Fatalf("%d of %d slots", len(count), n)
		}
		for s, k := range count {
			if k != 4 {
				t.Fatalf("%s came %d times of 4", s, k)
			}
		}
	})
}
