package timing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/dto"
	"kairos/dto/sim"
	"kairos/internal/batch"
)

func clustersWorld() *sim.Population {
	return sim.World{Kind: sim.Clusters, People: 600, Effect: .8, Deliveries: 20, Base: .2}.Draw(3)
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name    string
		world   sim.World
		verdict dto.Verdict
		state   string
		words   string
	}{
		{"clusters", sim.World{Kind: sim.Clusters, People: 700, Effect: .8, Base: .2}, dto.Clusters, OnTrial, "People differ in their best hour."},
		{"global", sim.World{Kind: sim.Global, People: 700, Effect: .8, Base: .2}, dto.Global, OnTrial, "The hour matters, and nothing shows that people differ"},
		{"null", sim.World{Kind: sim.Null, People: 1200, Base: .2}, dto.Null, Rejected, "The hour of sending makes no difference"},
		{"young", sim.World{Kind: sim.Null, People: 200, Base: .05}, dto.NotEnoughData, Rejected, "It is too early to tell"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.fill(c.world.Draw(11))
			m := w.train()
			require.Equal(t, c.verdict, m.Verdict, m.Reason)
			require.Equal(t, c.state, m.State, m.Reason)
			require.Contains(t, m.Headline, c.words)
			require.NotEmpty(t, m.Next)
			t.Log(m.Headline, "|", m.Next, "|", m.Reason)
			require.Equal(t, c.verdict == dto.NotEnoughData, m.Needed != nil)
			require.Len(t, m.Curve, 24)
			require.Len(t, m.Rhythm, 24)
			require.NotEmpty(t, m.Clusters)
			if c.verdict != dto.Clusters {
				require.Len(t, m.Clusters, 1)
			}
			for _, cl := range m.Clusters {
				for _, list := range [][]float64{cl.Rhythm, cl.Curve, cl.Low, cl.High} {
					require.Len(t, list, 24)
				}
				for h, v := range cl.Curve {
					require.LessOrEqual(t, cl.Low[h], v)
					require.GreaterOrEqual(t, cl.High[h], v)
				}
			}
			require.Equal(t, 1, m.Tests.Look)
			require.InDelta(t, .025, m.Tests.Alpha, 1e-12)
			require.EqualValues(t, c.world.People*20, m.Data.Deliveries)
			require.Len(t, m.Data.Slots, 24)
			require.NotNil(t, m.OffPolicy)
			require.Equal(t, 1, w.events(kairos.ModelTrained))
			if c.state == OnTrial {
				require.Greater(t, m.OffPolicy.Model.DR.Value, m.OffPolicy.Baseline.DR.Value)
				require.NotNil(t, m.Canary)
				require.Positive(t, m.Canary.NeededPerArm)
				require.Equal(t, 1, w.events(kairos.ModelOnTrial))
			}
			s, err := w.r.Standing(context.Background())
			require.NoError(t, err)
			require.Equal(t, c.verdict, s.Verdict)
			require.EqualValues(t, c.world.People*20, s.Exposures)
			list, next, err := w.r.Models(context.Background(), 10, "")
			require.NoError(t, err)
			require.Empty(t, next)
			require.Len(t, list, 1)
			require.Equal(t, m.Headline, list[0].Headline)
			raw, err := json.Marshal([]any{m, s, list})
			require.NoError(t, err)
			require.NotContains(t, string(raw), `"clusters":null`)
			require.NotContains(t, string(raw), `"diary":null`)
		})
	}
}

func TestSameSnapshotSameModel(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(clustersWorld())
	load := func(v int) (model, print string, look int) {
		require.NoError(t, w.pool.QueryRow(context.Background(), `SELECT model::text, data->>'fingerprint', look FROM timing_models WHERE version = $1`, v).
			Scan(&model, &print, &look))
		return model, print, look
	}
	a := w.train()
	b := w.train()
	model1, print1, look1 := load(a.Version)
	model2, print2, look2 := load(b.Version)
	require.Equal(t, model1, model2)
	require.Equal(t, print1, print2)
	require.Len(t, print1, 64)
	require.Equal(t, []int{1, 2}, []int{look1, look2})
	require.InDelta(t, .05/6, b.Tests.Alpha, 1e-12)

	var fit dto.Model // what is stored scores as what was fitted
	require.NoError(t, json.Unmarshal([]byte(model1), &fit))
	s, err := w.r.snapshot(context.Background())
	require.NoError(t, err)
	again, err := dto.Fit(s.data, dto.Options{Seed: 1, Verdict: dto.VerdictOptions{Alpha: .025}})
	require.NoError(t, err)
	require.Equal(t, *again, fit)
	w.exec(`UPDATE exposures SET responded = NOT responded WHERE notification = (SELECT min(notification::text)::uuid FROM exposures)`)
	s2, err := w.r.snapshot(context.Background())
	require.NoError(t, err)
	require.NotEqual(t, s.Fingerprint, s2.Fingerprint)
}

// Data that make no sense, or hardly any, have a defined end.
func TestOddData(t *testing.T) {
	person := kairos.NewIDRange(dawn)
	explore := func(n int, hour func(i int) int, responded func(i int) bool) func(w *world) {
		return func(w *world) {
			campaign := kairos.NewID()
			var ms []message
			for i := range n {
				m := message{campaign: campaign, contact: person.Nth(i), arm: kairos.ArmExplore, hour: hour(i), sent: dawn.Add(time.Duration(hour(i)) * time.Hour)}
				if responded(i) {
					m.clicked = m.sent.Add(time.Minute)
				}
				ms = append(ms, m)
			}
			w.send(ms...)
			w.clock.Set(dawn.Add(30 * 24 * time.Hour))
		}
	}
	spread := func(i int) int { return i % 24 }
	always, never := func(int) bool { return true }, func(int) bool { return false }
	for _, c := range []struct {
		name    string
		prepare func(w *world)
		verdict dto.Verdict
		state   string
	}{
		{"nothing at all", func(*world) {}, dto.NotEnoughData, Rejected},
		{"activity without exploration", func(w *world) {
			w.exec(`INSERT INTO profiles SELECT gen_random_uuid(), array_fill(5::real, ARRAY[24]), '2026-03-01', 0 FROM generate_series(1, 50)`)
		}, dto.NotEnoughData, Rejected},
		{"exploration without activity", explore(4000, spread, func(i int) bool { return i%7 == 0 }), dto.NotEnoughData, Rejected},
		{"no response", explore(4000, spread, never), dto.NotEnoughData, Rejected},
		{"only responses", explore(4000, spread, always), dto.NotEnoughData, Rejected},
		{"responses in one hour alone", explore(4000, spread, func(i int) bool { return i%24 == 9 }), dto.NotEnoughData, Rejected},
		{"all in one hour", explore(4000, func(int) int { return 9 }, func(i int) bool { return i%2 == 0 }), dto.NotEnoughData, Rejected},
		{"one message each", explore(40000, spread, func(i int) bool { return i%7 == 0 }), dto.NotEnoughData, Rejected},
		{"one message", explore(1, spread, always), dto.NotEnoughData, Rejected},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Options{})
			c.prepare(w)
			m := w.train()
			require.Equal(t, c.state, m.State, "%s %s", m.Error, m.Reason)
			require.Equal(t, c.verdict, m.Verdict, m.Reason)
			require.NotEmpty(t, m.Headline)
			if c.verdict == dto.NotEnoughData {
				require.Regexp(t, `About [\d,]+ more messages`, m.Reason)
				require.Positive(t, m.Needed.Deliveries)
			}
			require.Len(t, m.Clusters, 1)
			_, err := json.Marshal(m)
			require.NoError(t, err)
			t.Log(m.Headline, m.Next)
		})
	}
}

// Counts that no campaign reaches, and broken rows, end in a failed run: an
// alarm, and nothing else changes.
func TestBadDataFails(t *testing.T) {
	for name, activity := range map[string]string{
		"not a number":   `array_fill('NaN'::real, ARRAY[24])`,
		"infinite":       `array_fill('infinity'::real, ARRAY[24])`,
		"negative":       `array_fill(-1::real, ARRAY[24])`,
		"hours missing":  `array_fill(1::real, ARRAY[7])`,
		"an empty array": `'{}'::real[]`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.exec(`INSERT INTO timing_models (state, code, seed, requested_by, request_reason, created_at, active_at) VALUES ('active', '', 1, 'a', 'b', $1, $1)`, dawn)
			w.exec(`INSERT INTO profiles VALUES (gen_random_uuid(), ` + activity + `, '2026-03-01', 0)`)
			m := w.train()
			require.Equal(t, Failed, m.State)
			require.NotEmpty(t, m.Error)
			require.NotEmpty(t, m.Headline)
			require.Equal(t, 1, w.events(kairos.ModelFailed))
			require.Equal(t, Active, w.model(1).State)
			require.Zero(t, w.count(`SELECT count(*) FROM batches WHERE state <> 'done'`))
		})
	}
	w := newWorld(t, Options{})
	w.exec(`INSERT INTO profiles VALUES (gen_random_uuid(), array_fill(1e38::real, ARRAY[24]), '2026-03-01', 0)`)
	require.Equal(t, Rejected, w.train().State, "huge counts are counts")
}

func TestRequest(t *testing.T) {
	w := newWorld(t, Options{})
	ctx := context.Background()
	for _, by := range []By{{}, {"", "why"}, {"Ann", " "}, {fmt.Sprintf("%0201d", 1), "why"}, {"Ann", fmt.Sprintf("%01001d", 1)}} {
		_, err := w.r.Request(ctx, by)
		require.ErrorIs(t, err, kairos.ErrInvalid)
	}
	m, err := w.r.Request(ctx, ann)
	require.NoError(t, err)
	require.Equal(t, Training, m.State)
	require.Equal(t, []Decision{{dawn, "requested", "Ann", ann.Reason}}, m.Decisions)
	_, err = w.r.Request(ctx, ann)
	require.ErrorIs(t, err, kairos.ErrConflict)
	require.ErrorContains(t, err, fmt.Sprintf("model %d is being trained", m.Version))
	require.Equal(t, 1, w.count(`SELECT count(*) FROM batches`))
	s, err := w.r.Standing(ctx)
	require.NoError(t, err)
	require.Equal(t, m.Version, *s.Training)
	require.Equal(t, dto.NotEnoughData, s.Verdict)
	require.InDelta(t, .3, s.Explore, 1e-9)
	require.Nil(t, s.TrainAt)
	_, err = w.r.Model(ctx, 99)
	require.ErrorIs(t, err, kairos.ErrNotFound)
	_, _, err = w.r.Models(ctx, 10, "x")
	require.ErrorIs(t, err, kairos.ErrInvalid)
}

func TestModelsPages(t *testing.T) {
	w := newWorld(t, Options{})
	for range 5 {
		w.train()
	}
	var seen []int
	for after := ""; ; {
		ms, next, err := w.r.Models(context.Background(), 2, after)
		require.NoError(t, err)
		for _, m := range ms {
			seen = append(seen, m.Version)
			require.Empty(t, m.Curve)
			require.NotNil(t, m.Clusters)
		}
		if after = next; next == "" {
			break
		}
	}
	require.Equal(t, []int{5, 4, 3, 2, 1}, seen)
	require.Equal(t, 1, w.model(5).Tests.Look, "a look that could not have seen anything costs nothing")
}

func TestTrainTwiceIsOnce(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(sim.World{Kind: sim.Clusters, People: 500, Effect: 1, Base: .2}.Draw(1))
	ctx := context.Background()
	m, err := w.r.Request(ctx, ann)
	require.NoError(t, err)
	refs := w.due(kairos.KindTrain)
	require.Len(t, refs, 1)
	for range 2 {
		_, err = w.r.Train(ctx, TrainTask{refs[0]})
		require.NoError(t, err)
	}
	require.Equal(t, 1, w.events(kairos.ModelTrained))
	scores := w.due(kairos.KindScore)
	require.Len(t, scores, 1)
	for range 2 {
		_, err = w.r.Score(ctx, ScoreTask{scores[0]})
		require.NoError(t, err)
	}
	require.Equal(t, 1, w.events(kairos.ModelOnTrial))
	require.Equal(t, 500, w.count(`SELECT count(*) FROM timing_scores WHERE model = $1`, m.Version))
}

// A training that is stopped anywhere can be taken over and ends once.
func TestTrainStopped(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(sim.World{Kind: sim.Clusters, People: 400, Effect: 1, Base: .2}.Draw(1))
	m, err := w.r.Request(context.Background(), ann)
	require.NoError(t, err)
	stopped := 0
	for wait := time.Millisecond; stopped < 4; wait *= 2 {
		refs := w.due(kairos.KindTrain)
		if len(refs) == 0 {
			break
		}
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		_, err := w.r.Train(ctx, TrainTask{refs[0]})
		cancel()
		if err != nil { // not even claimed: the reconciler's work
			require.True(t, errors.Is(err, context.DeadlineExceeded), err)
			_, err := batch.Requeue(context.Background(), w.pool, 0)
			require.NoError(t, err)
			w.exec(`UPDATE batches SET state = 'planned', epoch = epoch + 1 WHERE state = 'running'`)
		}
		if w.model(m.Version).State == Training {
			stopped++
			require.Zero(t, w.events(kairos.ModelTrained))
		}
		w.clock.Advance(time.Minute)
	}
	require.Positive(t, stopped)
	w.work()
	require.NotEqual(t, Training, w.model(m.Version).State)
	require.Equal(t, 1, w.events(kairos.ModelTrained))
}

// A holder that lost its batch changes nothing; the one that took it over does.
func TestTrainFenced(t *testing.T) {
	w := newWorld(t, Options{})
	ctx := context.Background()
	m, err := w.r.Request(ctx, ann)
	require.NoError(t, err)
	old := w.due(kairos.KindTrain)[0]
	claim, err := batch.Claim(ctx, w.pool, old, "dead", time.Millisecond)
	require.NoError(t, err)
	require.NotNil(t, claim)
	w.exec(`UPDATE batches SET state = 'planned', epoch = epoch + 1`) // its lease ran out
	require.ErrorIs(t, w.r.train(ctx, old, m.Version, 1), batch.ErrFenced)
	require.Equal(t, Training, w.model(m.Version).State)
	w.work()
	require.Equal(t, Rejected, w.model(m.Version).State)
}

// A run that kills its process each time does not go on for ever.
func TestTrainGivesUp(t *testing.T) {
	w := newWorld(t, Options{})
	m, err := w.r.Request(context.Background(), ann)
	require.NoError(t, err)
	w.exec(`UPDATE batches SET tries = 10`)
	w.work()
	got := w.model(m.Version)
	require.Equal(t, Failed, got.State)
	require.Contains(t, got.Error, "tried 10 times")
}
