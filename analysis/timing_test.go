package analysis

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/table"
)

func optimisedSpec(e kairos.Experiment) kairos.CampaignSpec {
	return kairos.CampaignSpec{Schedule: kairos.Schedule{Mode: kairos.ModeOptimised}, Experiment: &e}
}

// arm writes n messages of an arm to the log, all sent, and lets the first
// ones do what did says.
func (w *world) arm(c kairos.ID, arm kairos.Arm, n int, did ...func(m msg) []kairos.Event) {
	w.t.Helper()
	var events []kairos.Event
	for i := range n {
		m := w.message(c, kairos.ID{}, arm)
		events = append(events, m.sent(minute)...)
		if i < len(did) {
			events = append(events, did[i](m)...)
		}
	}
	w.log(events...)
}

func doing(kind string, data ...any) func(m msg) []kairos.Event {
	return func(m msg) []kairos.Event { return []kairos.Event{m.on(kind, hour, data...)} }
}

func TestTimingCountsExactly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	c := w.campaign(optimisedSpec(kairos.Experiment{Holdout: 0.1, Control: 0.5, Explore: 0.2}))
	other := w.campaign(optimisedSpec(kairos.Experiment{Control: 0.5}))
	w.arm(other, kairos.ArmControl, 2, doing(kairos.CTAClicked))
	w.arm(c, kairos.ArmControl, 12,
		doing(kairos.NotificationClicked, "link", 1),
		doing(kairos.PageViewed), doing(kairos.CTAClicked), doing(kairos.OfferAccepted), doing(kairos.OfferDeclined),
		func(m msg) []kairos.Event { // paid without a token, after an open: attributed
			return []kairos.Event{m.on(kairos.NotificationOpened, hour), by(m.contact, kairos.PaymentReceived, 2*hour, paying("5", "EUR")...)}
		},
		func(m msg) []kairos.Event { // everything, twice: one response
			var all []kairos.Event
			for range 2 {
				all = append(all, m.on(kairos.NotificationClicked, hour, "link", 1), m.on(kairos.PageViewed, hour), m.on(kairos.CTAClicked, hour),
					m.on(kairos.OfferAccepted, hour), m.on(kairos.PaymentReceived, hour, paying("5", "EUR")...))
			}
			return all
		},
		// None of these is a response.
		doing(kairos.NotificationOpened),
		doing(kairos.NotificationClicked, "link", 1, "machine", "head"),
		doing(kairos.PageViewed, "machine", "scanner"),
		func(m msg) []kairos.Event { // too late
			return []kairos.Event{m.on(kairos.NotificationOpened, hour), by(m.contact, kairos.PaymentReceived, 200*hour, paying("5", "EUR")...)}
		},
		func(m msg) []kairos.Event { // no touch
			return []kairos.Event{by(m.contact, kairos.PaymentReceived, 2*hour, paying("5", "EUR")...)}
		},
	)
	w.arm(c, kairos.ArmOptimised, 3, doing(kairos.CTAClicked))
	w.arm(c, kairos.ArmPreferred, 2, doing(kairos.PageViewed), doing(kairos.PageViewed))
	w.arm(c, kairos.ArmExplore, 1)
	for _, kind := range []string{kairos.NotificationUnknown, kairos.NotificationRejected, kairos.NotificationSkipped} {
		m := w.message(c, kairos.ID{}, kairos.ArmExplore)
		events := []kairos.Event{m.on(kind, minute), m.on(kairos.PageViewed, hour)}
		if kind != kairos.NotificationSkipped {
			events = append(events, m.on(kairos.NotificationPlanned, 0), m.on(kairos.NotificationSent, minute))
		}
		w.log(events...)
	}
	for range 2 {
		w.log(w.message(c, kairos.ID{}, kairos.ArmHoldout).on(kairos.NotificationHeldOut, 0))
	}
	w.log(w.message(c, kairos.ID{}, kairos.ArmAll).on(kairos.NotificationSkipped, 0))
	w.fold()

	got, err := w.a.Timing(context.Background(), c)
	require.NoError(t, err)
	r := func(f float64) *float64 { return &f }
	require.Equal(t, []TimingArm{
		{kairos.ArmControl, 12, 7, r(7.0 / 12)},
		{kairos.ArmExplore, 2, 1, r(0.5)}, // the unknown one counts, the rejected and the skipped do not
		{kairos.ArmOptimised, 3, 1, r(1.0 / 3)},
		{kairos.ArmPreferred, 2, 2, r(1)},
	}, got.Arms)
	require.Equal(t, VerdictNotEnoughData, got.Verdict)
	require.NotNil(t, got.Needed)
	require.InDelta(t, (3.0/5)/(7.0/12)-1, *got.Lift.Estimate, 1e-12, "optimised and preferred together")
	require.Equal(t, []int{}, got.Models)
	require.Equal(t, NoModel, got.Note)
	// Drawn 2 held out, 12 control, 3 explore (with the rejected one) and 5 optimised and preferred of 22, against
	// 2.2, 11, 4.4 and 4.4: chi-square .63636 with 3 degrees of freedom,
	// p = erfc(sqrt(x/2)) + sqrt(2x/pi) exp(-x/2).
	require.InDelta(t, 0.88806, got.SRM.P, 1e-4)
	require.True(t, got.SRM.OK)

	raw, err := json.Marshal(got)
	require.NoError(t, err)
	var keys map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &keys))
	require.Len(t, keys, 8)
	require.JSONEq(t, `{"arm":"preferred","n":2,"responses":2,"rate":1}`, string(raw[strings.Index(string(raw), `{"arm":"preferred"`):strings.Index(string(raw), `],"lift"`)]))

	_, err = w.a.Timing(context.Background(), kairos.NewID())
	require.ErrorIs(t, err, kairos.ErrNotFound)
}

// An open is no response even where it is the goal; another goal of the
// client's own is one.
func TestTimingFollowsTheGoal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	for goal, want := range map[string]int64{kairos.NotificationOpened: 0, "trial.started": 1, "trial.ended": 0} {
		spec := optimisedSpec(kairos.Experiment{Control: 0.5})
		spec.Goal.Kind = goal
		c := w.campaign(spec)
		w.arm(c, kairos.ArmControl, 2, func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationOpened, hour), by(m.contact, "trial.started", 2*hour)}
		})
		w.fold()
		got, err := w.a.Timing(context.Background(), c)
		require.NoError(t, err)
		require.Equal(t, want, got.Arms[0].Responses, goal)
	}
}

// What cannot be compared is null, not zero.
func TestTimingWithoutAComparison(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	at := kairos.CampaignSpec{Schedule: kairos.Schedule{Mode: kairos.ModeAt}, Experiment: &kairos.Experiment{Holdout: 0.5}}
	for name, c := range map[string]struct {
		spec  kairos.CampaignSpec
		seed  func(id kairos.ID)
		arms  string
		note  string
		srm   bool
		lines int
	}{
		"one moment for all": {at, func(id kairos.ID) {
			w.arm(id, kairos.ArmAll, 1, doing(kairos.CTAClicked))
			w.log(w.message(id, kairos.ID{}, kairos.ArmHoldout).on(kairos.NotificationHeldOut, 0))
		}, `[{"arm":"all","n":1,"responses":1,"rate":1}]`, ``, true, 1},
		"no control": {optimisedSpec(kairos.Experiment{}), func(id kairos.ID) { w.arm(id, kairos.ArmOptimised, 2) },
			`[{"arm":"optimised","n":2,"responses":0,"rate":0}]`, `,"note":"` + NoModel + `"`, false, 1},
		"nothing sent yet": {optimisedSpec(kairos.Experiment{Control: 0.5, Explore: 0.5}), func(kairos.ID) {},
			`[{"arm":"control","n":0,"responses":0,"rate":null},{"arm":"explore","n":0,"responses":0,"rate":null}]`, ``, false, 2},
	} {
		t.Run(name, func(t *testing.T) {
			id := w.campaign(c.spec)
			c.seed(id)
			w.fold()
			got, err := w.a.Timing(context.Background(), id)
			require.NoError(t, err)
			require.Equal(t, c.srm, got.SRM != nil)
			got.SRM = nil
			raw, err := json.Marshal(got)
			require.NoError(t, err)
			require.JSONEq(t, `{"campaign":"`+id.String()+`","verdict":"not_enough_data","needed":null,"arms":`+c.arms+`,"lift":null,"srm":null,"models":[]`+c.note+`}`, string(raw))
			require.Len(t, got.Rows(), c.lines)
		})
	}
}

func TestTimingCSV(t *testing.T) {
	t.Parallel()
	rate, lift, needed := 0.0625, -0.5, int64(1200)
	id := kairos.MustID("01936c3e-8a6f-7cc2-9f5e-2b1d0c3a4e5f")
	var b strings.Builder
	require.NoError(t, table.Write(&b, table.CSV, Timing{Campaign: id, Verdict: VerdictNotEnoughData, Needed: &needed,
		Arms: []TimingArm{{kairos.ArmControl, 16, 1, &rate}, {"=cmd()", 0, 0, nil}},
		Lift: &TimingLift{Estimate: &lift, Interval: &[2]float64{-0.9, 0.25}, P: 0.125}, SRM: &TimingSRM{P: 0.5, OK: true}}.Rows()))
	require.Equal(t, "campaign,arm,n,responses,rate,verdict,needed,lift,lift_low,lift_high,p,srm_p,srm_ok\n"+
		id.String()+",control,16,1,0.0625,not_enough_data,1200,-0.5,-0.9,0.25,0.125,0.5,true\n"+
		id.String()+",'=cmd(),0,0,,not_enough_data,1200,-0.5,-0.9,0.25,0.125,0.5,true\n", b.String())
}

func TestTimingPeriodCSV(t *testing.T) {
	t.Parallel()
	for from, want := range map[time.Time]string{{}: "", noon: "2026-03-02T12:00:00Z"} {
		var b strings.Builder
		require.NoError(t, table.Write(&b, table.CSV, Timing{From: from, Until: noon.Add(hour), Verdict: VerdictNotEnoughData,
			Arms: []TimingArm{{kairos.ArmControl, 16, 0, nil}}}.PeriodRows()))
		require.Equal(t, "from,until,arm,n,responses,rate,verdict,needed,lift,lift_low,lift_high,p,srm_p,srm_ok\n"+
			want+",2026-03-02T13:00:00Z,control,16,0,,not_enough_data,,,,,,,\n", b.String())
	}
}

func BenchmarkTiming(b *testing.B) {
	ctx := context.Background()
	w := newWorld(b, Options{})
	c := w.campaign(optimisedSpec(kairos.Experiment{Control: 0.2, Explore: 0.1}))
	w.populate(c, 300_000)
	w.settled()
	require.NoError(b, w.a.Rebuild(ctx))
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		_, err := w.a.Timing(ctx, c)
		require.NoError(b, err)
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/report")
	}
}
