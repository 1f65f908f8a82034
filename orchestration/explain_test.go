package orchestration

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
)

func TestExplainTellsTheDecision(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	o := New(pool, kairos.NewManualClock(monday), Options{})
	id, _ := launched(t, pool, optimised(kairos.Experiment{Holdout: .2, Control: .2, Explore: .2}).spec, 60)
	_, err := o.Plan(t.Context(), page(t, pool, id))
	require.NoError(t, err)
	rows, err := pool.Query(t.Context(), `SELECT id FROM notifications`)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
	require.NoError(t, err)
	seen := map[kairos.Arm]bool{}
	for _, n := range ids {
		e, err := o.Explain(t.Context(), n)
		require.NoError(t, err)
		seen[e.Arm] = true
		require.Equal(t, "passed", e.Rules[0].Outcome)
		chosen := 0
		for _, c := range e.Candidates {
			if c.Chosen {
				chosen++
			}
		}
		require.Equal(t, 1, chosen, "%+v", e)
		loc, _ := o.zones.find(e.Slot.Zone)
		require.Equal(t, e.Slot.UTC.In(loc).Format("Mon 15:04"), e.Slot.Local)
	}
	require.Len(t, seen, 4)
	_, err = o.Explain(t.Context(), kairos.NewID())
	require.ErrorIs(t, err, kairos.ErrNotFound)
}

// explained returns what explain says of the only notification, by rule, and all of it.
func explained(t testing.TB, o *Orchestration, pool *pgxpool.Pool) (map[string]string, Explanation) {
	t.Helper()
	var id kairos.ID
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT id FROM notifications`).Scan(&id))
	e, err := o.Explain(t.Context(), id)
	require.NoError(t, err)
	out := map[string]string{}
	for _, r := range e.Rules {
		require.NotContains(t, out, r.Rule, "each rule answers once")
		out[r.Rule] = r.Outcome
	}
	return out, e
}

// What was asked of a decision is told in words, from what was stored.
func TestExplainInWords(t *testing.T) {
	t.Parallel()
	type world struct {
		experiment  *kairos.Experiment
		window      time.Duration
		start       time.Time
		zone        string
		preferences string
		active      ranking // nil: no model
		score       ranking
		canary      ranking
		schedule    *kairos.Schedule
	}
	spring, autumn := time.Date(2027, 3, 27, 20, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		world
		state string
		want  map[string]string // rule: a part of its outcome; "": the rule isn't there
	}{
		"the model's first": {world{score: ranking{19, 8}, active: everyHour(), preferences: `{"quiet_hours": {"from": "22:00", "until": "05:00"}}`}, kairos.StatePlanned, map[string]string{
			"zone": "UTC", "window": "Mon 12:20 to Tue 12:20",
			"quiet_hours":        "7 of the window's 25 local hours are left out: Mon 22:00 to Tue 04:59",
			"experiment":         "holdout 0 %, control 0 %, explore 0 %; the rest by model 1",
			"arm":                "optimised: drew 0.",
			"model":              "19:00 was the 1st choice of model 1 among 18 allowed hours",
			"schedule_optimised": "Mon 19:", "canary": "", "preferred_hours": "",
		}},
		"not its first of all": {world{active: ranking{23, 2, 7}, preferences: `{"quiet_hours": {"from": "22:00", "until": "05:00"}}`}, kairos.StatePlanned, map[string]string{
			"model": "07:00 was the 1st choice of model 1 among 18 allowed hours; it is the 3rd of all its hours",
		}},
		"none of its hours": {world{active: ranking{23, 2}, preferences: `{"quiet_hours": {"from": "22:00", "until": "05:00"}}`}, kairos.StatePlanned, map[string]string{
			"model": "none of the hours of model 1 is among the allowed hours: the baseline time", "schedule_optimised": "Tue 09:30",
		}},
		"a broken model": {world{active: ranking{99}}, kairos.StatePlanned, map[string]string{
			"model": "model 1 has no usable order of hours: the baseline time",
		}},
		"no model": {world{}, kairos.StatePlanned, map[string]string{
			"experiment": "no model was active", "model": "none is active: the baseline time", "quiet_hours": "passed: all 25 local hours of the window are allowed",
		}},
		"on trial": {world{active: everyHour(), canary: ranking{6}}, kairos.StatePlanned, map[string]string{
			"experiment": "the rest by model 1, 100 % of it by model 2 on trial",
			"canary":     "on trial: drew 0.", "model": "06:00 was the 1st choice of model 2 among 25 allowed hours",
		}},
		"control":     {world{experiment: &kairos.Experiment{Control: 1}, active: everyHour()}, kairos.StatePlanned, map[string]string{"arm": "control: drew 0.", "model": "", "canary": "", "schedule_optimised": "Tue 09:30"}},
		"explore":     {world{experiment: &kairos.Experiment{Explore: 1}, active: everyHour()}, kairos.StatePlanned, map[string]string{"arm": "explore: drew 0.", "explore": "of 25 allowed hours, each with the same chance", "model": ""}},
		"held out":    {world{experiment: &kairos.Experiment{Holdout: 1}, active: everyHour()}, kairos.StateHeldOut, map[string]string{"holdout": "held out: drew 0.", "arm": "", "model": ""}},
		"asked for":   {world{active: everyHour(), preferences: `{"preferred_hours": [{"from": "07:00", "until": "10:00"}]}`}, kairos.StatePlanned, map[string]string{"preferred_hours": "the person asked for 3 of 25 allowed hours", "model": "08:00 was the 1st choice of model 1 among 3 hours asked for; it is the 7th of all its hours"}},
		"asked, none": {world{preferences: `{"preferred_hours": [{"from": "07:00", "until": "10:00"}]}`}, kairos.StatePlanned, map[string]string{"arm": "preferred: drew 0.", "model": "none is active: any of the hours asked for"}},
		"asked for what lies outside": {world{active: everyHour(), window: 4 * time.Hour, preferences: `{"preferred_hours": [{"from": "07:00", "until": "10:00"}]}`}, kairos.StatePlanned, map[string]string{
			"preferred_hours": "none of the hours asked for is allowed in the window: the optimised arm", "model": "12:00 was the 1st choice of model 1 among 5 allowed hours; it is the 6th of all its hours",
		}},
		"unknown zone": {world{zone: "Mars/Olympus"}, kairos.StatePlanned, map[string]string{"zone": "unknown, the default UTC was used"}},
		"clocks go forward": {world{start: spring, window: 12 * time.Hour, zone: "Europe/Berlin", active: ranking{2, 4}}, kairos.StatePlanned, map[string]string{
			"window": "Sat 21:00 to Sun 10:00; in it clocks go from Sun 02:00 to 03:00", "model": "04:00 was the 1st choice of model 1 among 12 allowed hours; it is the 2nd of all its hours",
		}},
		"clocks skip the baseline": {world{start: spring, window: 12 * time.Hour, zone: "Europe/Berlin", schedule: &kairos.Schedule{Mode: kairos.ModeOptimised, Baseline: kairos.ClockTime(2, 30)}}, kairos.StatePlanned, map[string]string{
			"schedule_optimised": "Sun 03:00, the first moment after the clocks skip 02:30",
		}},
		"clocks skip the local time": {world{start: spring, zone: "Europe/Berlin", schedule: &kairos.Schedule{Mode: kairos.ModeLocal, LocalTime: kairos.ClockTime(2, 30)}}, kairos.StatePlanned, map[string]string{
			"schedule_local": "Sun 03:00, the first moment after the clocks skip 02:30", "quiet_hours": "passed",
		}},
		"clocks skip nothing asked for": {world{start: spring, zone: "Europe/Berlin", schedule: &kairos.Schedule{Mode: kairos.ModeLocal, LocalTime: kairos.ClockTime(3, 0)}}, kairos.StatePlanned, map[string]string{
			"schedule_local": "Sun 03:00",
		}},
		"clocks go back": {world{start: autumn, window: 12 * time.Hour, zone: "Europe/Berlin", active: ranking{2}}, kairos.StatePlanned, map[string]string{
			"window": "Sat 22:00 to Sun 09:00; in it clocks go from Sun 03:00 to 02:00", "model": "02:00 was the 1st choice of model 1 among 11 allowed hours",
		}},
		"quiet hours cover the window": {world{window: 2 * time.Hour, preferences: `{"quiet_hours": {"from": "12:00", "until": "15:00"}}`}, kairos.StateSkipped, map[string]string{
			"window": "Mon 12:20 to Mon 14:20", "quiet_hours": "quiet_hours", "arm": "", "experiment": "",
		}},
		"the window has passed": {world{start: monday.Add(-30 * time.Hour)}, kairos.StateSkipped, map[string]string{
			"window": "it ended Mon 06:20", "schedule_optimised": "missed_window",
		}},
		"quiet hours move a moment": {world{schedule: &kairos.Schedule{Mode: kairos.ModeNow}, preferences: `{"quiet_hours": {"from": "12:00", "until": "15:00"}}`}, kairos.StatePlanned, map[string]string{
			"quiet_hours": "moved from Mon 12:20 to Mon 15:00", "schedule_now": "Mon 15:00", "experiment": "", "window": "",
		}},
		"a holdout without hours": {world{experiment: &kairos.Experiment{Holdout: .00001, Control: .9}, schedule: &kairos.Schedule{Mode: kairos.ModeNow}}, kairos.StatePlanned, map[string]string{
			"holdout": "written to: drew 0.", "arm": "", "experiment": "",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, now := devstack.NewDB(t), monday
			spec := optimised(kairos.Experiment{}).spec
			if c.experiment != nil {
				spec.Experiment = c.experiment
			}
			if c.schedule != nil {
				spec.Schedule = *c.schedule
			}
			if c.window != 0 {
				spec.Schedule.Window = kairos.Duration(c.window)
			}
			if !c.start.IsZero() {
				spec.Schedule.At = &c.start
				now = c.start
			}
			if c.start.Before(monday) && c.state == kairos.StateSkipped {
				now = monday
			}
			o := New(pool, kairos.NewManualClock(now), Options{})
			contacts := audience(t, pool, 1)
			id := launch(t, pool, spec, contacts)
			_, err := pool.Exec(t.Context(), `UPDATE contacts SET timezone = nullif($1, ''), preferences = coalesce(nullif($2, ''), '{}')::jsonb`, c.zone, c.preferences)
			require.NoError(t, err)
			if c.active != nil {
				registered(t, pool, 1, "active", "clusters", c.active)
			}
			if c.canary != nil {
				registered(t, pool, 2, "canary", "clusters", c.canary)
				_, err := pool.Exec(t.Context(), `UPDATE timing_models SET canary = '{"share": 1}'`)
				require.NoError(t, err)
			}
			if c.score != nil {
				scores(t, pool, 1, c.score, contacts...)
			}
			_, err = o.Plan(t.Context(), page(t, pool, id))
			require.NoError(t, err)
			// Later the registry and the person's wishes are others: it is told as it was.
			_, err = pool.Exec(t.Context(), `DELETE FROM timing_scores; UPDATE timing_models SET hours = NULL, state = 'retired'; UPDATE contacts SET preferences = '{}'`)
			require.NoError(t, err)
			rules, e := explained(t, o, pool)
			require.Equal(t, c.state, e.State, rules)
			for rule, part := range c.want {
				if part == "" {
					require.NotContains(t, rules, rule)
					continue
				}
				require.Contains(t, rules[rule], part, rule)
			}
			chosen := slices.ContainsFunc(e.Candidates, func(c Candidate) bool { return c.Chosen })
			require.Equal(t, c.state != kairos.StateSkipped, chosen)
		})
	}
}

// Who moves after planning keeps the moment; who moves before it gets one of
// the new zone.
func TestMovingKeepsWhatIsPlanned(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	o := New(pool, kairos.NewManualClock(monday), Options{})
	registered(t, pool, 1, "active", "global", everyHour())
	contacts := audience(t, pool, 2)
	id := launch(t, pool, optimised(kairos.Experiment{}).spec, contacts[:1], contacts[1:])
	move := func(zone string) {
		_, err := pool.Exec(t.Context(), `UPDATE contacts SET timezone = $1`, zone)
		require.NoError(t, err)
	}
	explain := func(contact kairos.ID) (zone string, e Explanation) {
		var n kairos.ID
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT id FROM notifications WHERE contact = $1`, contact).Scan(&n))
		e, err := o.Explain(t.Context(), n)
		require.NoError(t, err)
		i := slices.IndexFunc(e.Rules, func(r RuleOutcome) bool { return r.Rule == "zone" })
		return e.Rules[i].Outcome, e
	}
	move("Europe/Berlin") // since the launch
	_, err := o.Plan(t.Context(), pageTask(t, pool, id, 0))
	require.NoError(t, err)
	_, before := explain(contacts[0])
	move("America/New_York")
	_, err = o.Plan(t.Context(), pageTask(t, pool, id, 1))
	require.NoError(t, err)
	zone, after := explain(contacts[0])
	require.Equal(t, "Europe/Berlin, as it was decided; the contact's is America/New_York now, and the moment stays", zone)
	require.Equal(t, before.Slot, after.Slot)
	require.True(t, strings.HasPrefix(after.Slot.Local, "Mon 19:"), after.Slot.Local)
	zone, other := explain(contacts[1])
	require.Equal(t, "America/New_York", zone)
	require.True(t, strings.HasPrefix(other.Slot.Local, "Mon 19:"), other.Slot.Local)
	require.Equal(t, 6*time.Hour, other.Slot.UTC.Truncate(time.Hour).Sub(after.Slot.UTC.Truncate(time.Hour)))
}

func TestExplanationKeepsItsContract(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	o := New(pool, kairos.NewManualClock(monday), Options{})
	registered(t, pool, 1, "active", "global", everyHour())
	id, _ := launched(t, pool, optimised(kairos.Experiment{}).spec, 1)
	_, err := o.Plan(t.Context(), page(t, pool, id))
	require.NoError(t, err)
	_, e := explained(t, o, pool)
	raw, err := json.Marshal(e)
	require.NoError(t, err)
	var got map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &got))
	for _, key := range []string{"notification", "state", "reason", "arm", "propensity", "model", "slot", "channel", "rules", "candidates", "events"} {
		require.Contains(t, got, key)
	}
	require.Equal(t, "1", string(got["model"]))
	require.Equal(t, "1", string(got["propensity"]))
	require.Eventually(t, func() bool { // shown once all that began before it has ended
		_, e = explained(t, o, pool)
		return len(e.Events) == 1
	}, 30*time.Second, 10*time.Millisecond)
	require.JSONEq(t, `{"model": 1, "rank": 1}`, string(e.Events[0].Data))
	// A decision without its event is told as far as the columns go.
	_, err = pool.Exec(t.Context(), `DELETE FROM events`)
	require.NoError(t, err)
	rules, _ := explained(t, o, pool)
	require.Contains(t, rules["model"], "the 1st choice of model 1")
}
