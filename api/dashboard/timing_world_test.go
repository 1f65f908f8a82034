package dashboard

import (
	"context"
	"fmt"
	"math"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis"
	"kairos/analysis/timing"
	"kairos/dto"
)

// shelf is a registry that holds what a test put on it. What it decides about
// is decided by the rules that timing.Registry documents.
type shelf struct {
	mu       sync.Mutex
	standing timing.Standing
	models   []timing.Model // newest first
	asked    []string       // what was decided, by whom and why
}

func (s *shelf) Standing(context.Context) (timing.Standing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing, nil
}

func (s *shelf) Models(_ context.Context, limit int, after string) ([]timing.Model, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []timing.Model
	for _, m := range s.models {
		if after == "" || fmt.Sprint(m.Version) < after {
			m.Curve, m.Rhythm, m.Clusters, m.Lift, m.Canary, m.Arms, m.Drift, m.Decisions = nil, nil, nil, nil, nil, nil, nil, nil
			list = append(list, m)
		}
	}
	if len(list) > limit {
		return list[:limit], fmt.Sprint(list[limit-1].Version), nil
	}
	return list, "", nil
}

func (s *shelf) Model(_ context.Context, version int) (timing.Model, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.models {
		if m.Version == version {
			return m, nil
		}
	}
	return timing.Model{}, fmt.Errorf("load model: %w", kairos.ErrNotFound)
}

func (s *shelf) Request(_ context.Context, by timing.By) (timing.Model, error) {
	if s.standing.Training != nil {
		return timing.Model{}, fmt.Errorf("request training: one is running: %w", kairos.ErrConflict)
	}
	return s.decide("request", 0, by)
}

func (s *shelf) Promote(_ context.Context, version int, by timing.By) (timing.Model, error) {
	if m, err := s.Model(context.Background(), version); err != nil || m.Canary == nil || !m.Canary.Pass {
		return m, fmt.Errorf("promote model %d: it did not pass its trial: %w", version, kairos.ErrConflict)
	}
	return s.decide("promote", version, by)
}

func (s *shelf) Reject(_ context.Context, version int, by timing.By) (timing.Model, error) {
	return s.decide("reject", version, by)
}

func (s *shelf) Rollback(_ context.Context, version int, by timing.By) (timing.Model, error) {
	return s.decide("rollback", version, by)
}

func (s *shelf) decide(what string, version int, by timing.By) (timing.Model, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, fmt.Sprintf("%s %d by %s: %s", what, version, by.Name, by.Reason))
	return timing.Model{}, nil
}

// newTimingWorld is a world whose registry is the shelf.
func newTimingWorld(t testing.TB, s *shelf, change func(o *Options)) *world {
	w := newWorld(t, change)
	w.serve(s)
	return w
}

// serve starts the dashboard anew on a registry.
func (w *world) serve(models registry) {
	handler, err := build(w.stages, models)
	require.NoError(w.t, err)
	w.server.Close()
	w.server = httptest.NewServer(handler)
	w.t.Cleanup(w.server.Close)
}

func ref[T any](v T) *T { return &v }

// wave is a day with a peak at an hour, mean 1.
func wave(peak, size float64) []float64 {
	list := make([]float64, 24)
	for h := range list {
		list[h] = 1 + size*(math.Cos((float64(h)-peak)*2*math.Pi/24)+.35*math.Cos((float64(h)-peak)*4*math.Pi/24))
	}
	return list
}

func moved(list []float64, by func(y float64, h int) float64) []float64 {
	out := make([]float64, len(list))
	for h, y := range list {
		out[h] = by(y, h)
	}
	return out
}

func clusterOf(i, size int, share float64, hour int, effect float64) timing.Cluster {
	curve := wave(float64(hour), effect)
	rhythm := moved(wave(float64(hour)-1, .8), func(y float64, _ int) float64 { return math.Max(y, .06) / 25.4 })
	return timing.Cluster{Cluster: i, Size: size, Share: share, Hour: hour, Rhythm: rhythm, Curve: curve,
		Low:  moved(curve, func(y float64, h int) float64 { return y * (.86 - .05*float64(h%3)/2) }),
		High: moved(curve, func(y float64, h int) float64 { return y * (1.15 + .06*float64(h%4)/3) })}
}

func armOf(name string, n, responses int64) timing.Arm {
	a := timing.Arm{Arm: name, N: n, Responses: responses}
	if n > 0 {
		a.Rate = ref(float64(responses) / float64(n))
	}
	return a
}

func daytime() []int {
	var hours []int
	for h := 6; h < 23; h++ {
		hours = append(hours, h)
	}
	return hours
}

func trained(version int, state string, v dto.Verdict, headline, next string) timing.Model {
	at := noon.AddDate(0, 0, 7*(version-9))
	return timing.Model{
		Version: version, State: state, Verdict: v, Headline: headline, Next: next, CreatedAt: at.Add(-time.Minute), TrainedAt: &at,
		Code: "v0.3.1-14-gdd71f1f", Seed: 1,
		Data: &timing.Snapshot{From: at.AddDate(0, 0, -180), Until: at.Add(-24 * time.Hour), ResponseWindow: kairos.Duration(24 * time.Hour), Slots: daytime(),
			People: 41_208, Deliveries: 62_410, Responses: 4_981, Comparing: 3_906, DroppedOverlap: 812, DroppedLate: 37, WithPreference: 1_204,
			Fingerprint: "9f2c1b7a44d1e0a35c6f88210be7d34a91cf02a7765e1d3b0c4f5a6978e2d1b3"},
		Tests: &timing.Tests{Main: timing.Test{Statistic: 118.4, DF: 16, P: 3.1e-17, AdjustedP: 6.2e-17, People: 4_212},
			Interaction: timing.Test{Statistic: 6.21, P: 2.6e-10, AdjustedP: 2.6e-10, People: 3_108}, Look: 2, Alpha: .05 / 6},
		Curve: wave(19, .18), Rhythm: moved(wave(18, .5), func(y float64, _ int) float64 { return math.Max(y, .1) / 24.3 }),
		Clusters:   []timing.Cluster{clusterOf(0, 13_599, .33, 8, .42), clusterOf(1, 11_950, .29, 12, .31), clusterOf(2, 9_478, .23, 20, .55), clusterOf(3, 6_181, .15, 22, .38)},
		Parameters: &timing.Parameters{K: 4, C: [3]float64{.81, .12, .43}, Prior: 24, Bandwidth: 1.8, Kappa: 35, Gain: 81.4},
		OffPolicy: &timing.OffPolicy{Model: policyOf(.104, .006, 4_118, 62_410), Global: policyOf(.088, .004, 6_904, 62_410),
			Baseline: policyOf(.0798, .0021, 62_410, 62_410)},
		Decisions: []timing.Decision{{At: at, Action: "trained", Actor: "kairos", Reason: "The verdict is clusters."},
			{At: at.Add(-time.Minute), Action: "requested", Actor: "kairos", Reason: "A week has passed since the last training."}},
	}
}

func policyOf(v, half, effective float64, n int) dto.OffPolicy {
	e := func(f float64) dto.Estimate {
		return dto.Estimate{Value: v, SE: half * f / 1.96, Low: v - half*f, High: v + half*f, Refused: effective < 500}
	}
	return dto.OffPolicy{DR: e(1), SNIPS: e(1.3), IPS: e(1.7), Effective: effective, N: n}
}

// fourKinds is an installation where timing works: one model in use, one that
// passed its trial, and older ones.
func fourKinds() *shelf {
	active := trained(7, timing.Active, dto.Clusters, "People differ in their best hour. Four kinds of rhythm were found. Sending each at their own hour brought 24 % more responses than the usual time (95 % interval 13 % to 36 %).",
		"It plans the optimised messages. It is watched day by day and can be rolled back.")
	active.ActiveAt, active.ScoredAt = ref(noon.AddDate(0, 0, -9)), ref(noon.Add(-3*time.Hour))
	active.Reason = "Promoted by Ada Lovelace: passed its trial."
	active.Arms = []timing.Arm{armOf("control", 6_120, 471), armOf("explore", 3_040, 246), armOf("optimised", 48_300, 4_612), armOf("preferred", 3_210, 338)}
	active.Lift = &timing.Lift{Estimate: ref(.241), Interval: &[2]float64{.133, .359}, P: 3e-6, Verdict: analysis.VerdictBetter}
	active.SRM = &timing.SRM{P: .61, OK: true}
	active.Canary = &timing.Canary{Share: .5, Since: noon.AddDate(0, 0, -15), NeededPerArm: 8_400, ExpectedLift: .18,
		Candidate: armOf("candidate", 8_612, 871), Current: armOf("current", 8_498, 690), Control: armOf("control", 2_140, 171),
		Progress: 1, Done: true, Pass: true, Reason: "the lower end of the difference is +1.2 points; unsubscribes and complaints are not worse",
		Lift: &timing.Lift{Estimate: ref(.246), Interval: &[2]float64{.132, .371}, P: 5e-6, Verdict: analysis.VerdictBetter}, JudgedAt: ref(noon.AddDate(0, 0, -9))}
	active.Decisions = append([]timing.Decision{{At: noon.AddDate(0, 0, -9), Action: "promoted", Actor: "Ada Lovelace", Reason: "Passed its trial; the newsletter team agrees."},
		{At: noon.AddDate(0, 0, -9), Action: "judged", Actor: "kairos", Reason: "Passed: 10.1 % against 8.1 %."}}, active.Decisions...)
	drift := &timing.Drift{Days: 34, Level: 2.7, Threshold: 8, Stability: &dto.Stability{Index: .021, Threshold: .1, Enough: true}}
	level := 0.0
	for i := range 34 {
		z := 1.3*math.Sin(float64(i)*1.7) + .4*math.Cos(float64(i*i))
		level = math.Max(0, level+math.Abs(z)*.5-.35)
		line := timing.Day{Day: noon.AddDate(0, 0, i-35).Format(time.DateOnly), N: 1_400, Responses: 134, ControlN: 180, ControlResponses: 14, Level: level}
		if i != 11 {
			line.Residual = &z
		}
		drift.Diary = append(drift.Diary, line)
	}
	drift.Level = level
	active.Drift = drift

	trial := trained(9, timing.OnTrial, dto.Clusters, "People differ in their best hour. Four kinds of rhythm were found. Sending each at their own hour brought 10 % more responses than model 7 (95 % interval 1 % to 20 %).",
		"It passed its trial and waits for a person to promote it.")
	trial.Parent, trial.ScoredAt = ref(7), ref(noon)
	trial.Canary = &timing.Canary{Share: .5, Since: noon.AddDate(0, 0, -1), NeededPerArm: 8_400, ExpectedLift: .12,
		Candidate: armOf("candidate", 8_650, 902), Current: armOf("current", 8_430, 801), Control: armOf("control", 1_980, 152), Progress: 1, Done: true, Pass: true,
		Reason: "the lower end of the difference is +0.1 points; unsubscribes and complaints are not worse",
		Lift:   &timing.Lift{Estimate: ref(.097), Interval: &[2]float64{.006, .197}, P: .037, Verdict: analysis.VerdictBetter}, JudgedAt: ref(noon)}
	trial.Decisions = append([]timing.Decision{{At: noon, Action: "judged", Actor: "kairos", Reason: "Passed."}, {At: noon.AddDate(0, 0, -1), Action: "canary", Actor: "kairos", Reason: "No other model was on trial."}}, trial.Decisions...)

	old := trained(4, timing.Retired, dto.Global, "The hour matters, and nothing shows that people differ in it: 19:00 is the best hour for everybody, about 20 % above the average hour.", "A newer model took its place.")
	old.ActiveAt, old.EndedAt, old.Clusters = ref(noon.AddDate(0, 0, -30)), ref(noon.AddDate(0, 0, -9)), []timing.Cluster{clusterOf(0, 30_000, 1, 19, .2)}
	old.Lift = &timing.Lift{Estimate: ref(.062), Interval: &[2]float64{-.021, .152}, P: .15, Verdict: analysis.VerdictNotEnoughData}
	old.LiftNeeded = ref(int64(11_240))
	failed := timing.Model{Version: 6, State: timing.Failed, CreatedAt: noon.AddDate(0, 0, -16), Error: "Training took longer than it may.", Code: "v0.3.1", Seed: 1}
	thin := trained(3, timing.Rejected, dto.NotEnoughData, "Too few responses to tell whether the hour matters.", "About 21,000 more messages at random hours are needed.")
	return &shelf{
		standing: timing.Standing{Verdict: dto.Clusters, Headline: trial.Headline, Next: "Model 9 passed its trial and waits for a person to promote it.",
			Active: ref(7), Canary: ref(9), Exposures: 62_410, Responses: 4_981, Explore: .05, TrainAt: ref(noon.AddDate(0, 0, 6))},
		models: []timing.Model{trial, active, failed, old, thin},
	}
}

// flat is an installation where the hour does not matter.
func flat() *shelf {
	m := trained(2, timing.Rejected, dto.Null, "The hour of sending makes no difference: 4,981 responses to 62,410 messages sent at random hours would have shown one of about a fifth, and show none.",
		"Messages go out at the usual time. Exploration goes on at a low rate, in case that changes.")
	m.Reason = "Enough was explored to see an effect worth having, and there was none."
	m.Curve, m.Clusters = wave(15, .012), []timing.Cluster{clusterOf(0, 41_208, 1, 15, .012)}
	m.Tests.Main, m.Tests.Interaction = timing.Test{Statistic: 14.2, DF: 16, P: .58, AdjustedP: 1, People: 4_212}, timing.Test{Statistic: .41, P: .34, AdjustedP: .68, People: 3_108}
	m.OffPolicy.Model, m.OffPolicy.Global = policyOf(.08, .02, 212, 62_410), policyOf(.081, .004, 6_904, 62_410)
	return &shelf{models: []timing.Model{m}, standing: timing.Standing{Verdict: dto.Null, Headline: m.Headline, Next: m.Next, Exposures: 62_410, Responses: 4_981, Explore: .05,
		TrainAt: ref(noon.AddDate(0, 0, 6))}}
}

// thin is an installation that has not explored enough.
func thin() *shelf {
	m := trained(1, timing.Rejected, dto.NotEnoughData, "It is too early to tell whether the hour of sending matters: 4,120 messages sent at random hours brought 331 responses.", "Keep sending: about 9,300 more messages at random hours are needed.")
	m.Needed = &timing.Needed{Responses: 744, Deliveries: 9_310}
	m.Clusters = []timing.Cluster{clusterOf(0, 5_120, 1, 17, .15)}
	m.Tests.Main, m.Tests.Interaction = timing.Test{Statistic: 19.2, DF: 16, P: .26, AdjustedP: .52, People: 410}, timing.Test{Statistic: 1.1, P: .14, AdjustedP: .28, People: 230}
	m.OffPolicy.Model = policyOf(.08, .05, 88, 4_120)
	return &shelf{models: []timing.Model{m}, standing: timing.Standing{Verdict: dto.NotEnoughData, Headline: m.Headline, Next: m.Next, Exposures: 4_120, Responses: 331,
		Needed: m.Needed, Explore: .3, TrainAt: ref(noon.AddDate(0, 0, 3))}}
}

// empty is an installation where nothing happened yet.
func empty() *shelf {
	return &shelf{standing: timing.Standing{Verdict: dto.NotEnoughData, Headline: "It is too early to tell whether the hour of sending matters: nothing was sent at a random hour yet.",
		Next: "Send campaigns with the schedule optimised: they explore by themselves.", Needed: &timing.Needed{Responses: 1_060, Deliveries: 13_250}, Explore: .3}}
}
