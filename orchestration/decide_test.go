package orchestration

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

var monday = time.Date(2026, 11, 23, 12, 20, 0, 0, time.UTC)

func load(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

func optimised(e kairos.Experiment) *campaign {
	return &campaign{id: kairos.MustID("01930000-0000-7000-8000-000000000001"), start: monday, experiment: experiment{Experiment: e}, spec: kairos.CampaignSpec{
		Purpose: "marketing", Experiment: &e,
		Schedule: kairos.Schedule{Mode: kairos.ModeOptimised, Window: kairos.Duration(24 * time.Hour), Baseline: kairos.ClockTime(9, 30)},
	}}
}

func someone() *person { return &person{id: kairos.NewID(), hasAddress: true} }

func hours(from, until int) *kairos.HourRange {
	return &kairos.HourRange{From: kairos.ClockTime(from, 0), Until: kairos.ClockTime(until, 0)}
}

func TestEverySkipHasItsReason(t *testing.T) {
	news := optimised(kairos.Experiment{})
	news.spec.Topic = "news"
	tx := optimised(kairos.Experiment{})
	tx.spec.Purpose, tx.spec.Schedule = "transactional", kairos.Schedule{Mode: kairos.ModeNow}
	soon, now := monday.Add(time.Hour), monday
	late := &campaign{start: monday, spec: kairos.CampaignSpec{Latest: &soon, Schedule: kairos.Schedule{Mode: kairos.ModeLocal, LocalTime: kairos.ClockTime(9, 30)}}}
	over := optimised(kairos.Experiment{})
	over.spec.Latest = &now
	past := optimised(kairos.Experiment{})
	past.start = monday.Add(-25 * time.Hour)
	for name, c := range map[string]struct {
		c    *campaign
		p    person
		want kairos.Reason
	}{
		"missing":               {news, person{missing: true}, kairos.ReasonNoContact},
		"erased":                {news, person{erased: true}, kairos.ReasonErased},
		"no address":            {news, person{}, kairos.ReasonNoAddress},
		"suppressed":            {tx, person{hasAddress: true, suppressed: true}, kairos.ReasonSuppressed},
		"unsubscribed":          {news, person{hasAddress: true, unsubscribed: true}, kairos.ReasonUnsubscribed},
		"channel refused":       {news, person{hasAddress: true, preferences: kairos.Preferences{Channels: map[string]bool{"email": false}}}, kairos.ReasonNoConsent},
		"topic refused":         {news, person{hasAddress: true, preferences: kairos.Preferences{Topics: map[string]bool{"news": false}}}, kairos.ReasonTopicRefused},
		"quiet all day":         {news, person{hasAddress: true, preferences: kairos.Preferences{QuietHours: hours(7, 7)}}, kairos.ReasonQuietHours},
		"after latest":          {late, person{hasAddress: true}, kairos.ReasonLatest},
		"no hour before latest": {over, person{hasAddress: true}, kairos.ReasonLatest},
		"window has passed":     {past, person{hasAddress: true}, kairos.ReasonMissed},
		"transactional anyway":  {tx, person{hasAddress: true, unsubscribed: true, preferences: kairos.Preferences{Channels: map[string]bool{"email": false}, QuietHours: hours(0, 0)}}, ""},
		"another topic refused": {news, person{hasAddress: true, preferences: kairos.Preferences{Topics: map[string]bool{"offers": false}}}, ""},
	} {
		d := decide(c.c, &c.p, time.UTC, true, monday)
		require.Equal(t, c.want, d.reason, name)
		if c.want == "" {
			require.Equal(t, kairos.StatePlanned, d.state, name)
		} else {
			require.Equal(t, kairos.StateSkipped, d.state, name)
		}
	}
}

func TestModes(t *testing.T) {
	berlin := load(t, "Europe/Berlin")
	at := monday.Add(3 * time.Hour)
	for name, c := range map[string]struct {
		schedule kairos.Schedule
		want     time.Time
	}{
		"now":                  {kairos.Schedule{Mode: kairos.ModeNow}, monday},
		"at":                   {kairos.Schedule{Mode: kairos.ModeAt, At: &at}, at},
		"local, still today":   {kairos.Schedule{Mode: kairos.ModeLocal, LocalTime: kairos.ClockTime(18, 0)}, time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)},
		"local, tomorrow":      {kairos.Schedule{Mode: kairos.ModeLocal, LocalTime: kairos.ClockTime(9, 0)}, time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)},
		"optimised falls back": {kairos.Schedule{Mode: kairos.ModeOptimised, Baseline: kairos.ClockTime(9, 30)}, time.Date(2026, 11, 24, 8, 30, 0, 0, time.UTC)},
		"optimised, small":     {kairos.Schedule{Mode: kairos.ModeOptimised, Baseline: kairos.ClockTime(9, 30), Window: kairos.Duration(3 * time.Hour)}, time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)},
	} {
		cam := &campaign{id: kairos.NewID(), start: monday, spec: kairos.CampaignSpec{Schedule: c.schedule}}
		if c.schedule.At != nil {
			cam.start = *c.schedule.At
		}
		d := decide(cam, someone(), berlin, true, monday)
		require.Equal(t, kairos.StatePlanned, d.state, name)
		require.Equal(t, c.want, d.at.UTC(), name)
		require.Equal(t, kairos.SlotAt(c.want, berlin), d.slot, name)
	}
}

func TestQuietHoursMoveAFixedMoment(t *testing.T) {
	c := &campaign{id: kairos.NewID(), start: monday, spec: kairos.CampaignSpec{Purpose: "marketing", Schedule: kairos.Schedule{Mode: kairos.ModeNow}}}
	p := someone()
	p.preferences.QuietHours = hours(11, 14)
	d := decide(c, p, time.UTC, true, monday)
	require.Equal(t, time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC), d.at)
}

func TestArmsKeepTheirShares(t *testing.T) {
	c := optimised(kairos.Experiment{Holdout: 0.05, Control: 0.2, Explore: 0.1})
	const n = 40_000
	count := map[kairos.Arm]int{}
	slots := map[kairos.Slot]int{}
	for range n {
		p := someone()
		d := decide(c, p, time.UTC, true, monday)
		require.Equal(t, d, decide(c, p, time.UTC, true, monday), "the same every time")
		count[d.arm]++
		if d.arm == kairos.ArmExplore {
			slots[d.slot]++
			require.InDelta(t, 1.0/25, d.propensity, 1e-12) // 12:20 to 12:20 touches 25 local hours
			require.True(t, d.eligible.has(d.slot))
		}
	}
	for arm, share := range map[kairos.Arm]float64{
		kairos.ArmHoldout: .05, kairos.ArmControl: .2, kairos.ArmExplore: .1, kairos.ArmOptimised: .65,
	} {
		sd := math.Sqrt(n * share * (1 - share))
		require.InDelta(t, n*share, count[arm], 5*sd, arm)
	}
	require.Len(t, slots, 25)
}

func TestPreferredHoursAreHonoured(t *testing.T) {
	c := optimised(kairos.Experiment{})
	p := someone()
	p.preferences.PreferredHours = []kairos.HourRange{{Days: []string{"mon"}, From: kairos.ClockTime(18, 0), Until: kairos.ClockTime(21, 0)}}
	d := decide(c, p, time.UTC, true, monday)
	require.Equal(t, kairos.ArmPreferred, d.arm)
	require.Contains(t, []int{18, 19, 20}, d.at.Hour())
	p.preferences.PreferredHours[0].Days = []string{"thu"} // outside the window
	require.Equal(t, kairos.ArmOptimised, decide(c, p, time.UTC, true, monday).arm)
}

// Whatever zone, window and moment: hours follow one another without a gap,
// each within its own local hour, and a chosen slot lies in the window and
// never in quiet hours.
func TestHoursCoverTheWindow(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia", "Africa/Casablanca"}
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "start"), 0).UTC()
		end := start.Add(time.Duration(rapid.IntRange(1, 72*60).Draw(t, "minutes")) * time.Minute)
		at := start
		for _, h := range hoursOf(start, end, loc) {
			if !h.from.Equal(at) || !h.until.After(h.from) || h.until.Sub(h.from) > time.Hour {
				t.Fatalf("hour %v after %v", h, at)
			}
			if kairos.SlotAt(h.until.Add(-time.Second), loc) != h.slot {
				t.Fatalf("hour %v runs out of its slot", h)
			}
			at = h.until
		}
		if !at.Equal(end) {
			t.Fatalf("hours end at %v, the window at %v", at, end)
		}
		c := optimised(kairos.Experiment{Control: .3, Explore: .4})
		c.start, c.spec.Schedule.Window = start, kairos.Duration(end.Sub(start))
		p := someone()
		p.preferences.QuietHours = &kairos.HourRange{From: kairos.ClockTime(rapid.IntRange(0, 23).Draw(t, "from"), 0), Until: kairos.ClockTime(rapid.IntRange(0, 23).Draw(t, "until"), 0)}
		d := decide(c, p, loc, true, start)
		if d.state != kairos.StatePlanned {
			return
		}
		if d.at.Before(start) || !d.at.Before(end) {
			t.Fatalf("slot %v outside of %v to %v", d.at, start, end)
		}
		if _, is := quiet(p.preferences.QuietHours, d.at, loc); is {
			t.Fatalf("%v is quiet", d.at.In(loc))
		}
	})
}
