package timing

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/dto"
	"kairos/dto/sim"
)

// learnt is a model of a small world, fitted once for all tests.
var learnt = sync.OnceValue(func() *dto.Model {
	m, err := dto.Fit(sim.World{Kind: sim.Clusters, People: 600, Effect: 1, Base: .2}.Draw(1).Data, dto.Options{Seed: 1})
	if err != nil {
		panic(err)
	}
	return m
})

// onTrial returns a world with a model on trial, as training and scoring would
// have left it.
func onTrial(t *testing.T) (*world, Model) {
	w := newWorld(t, Options{TrainEvery: -1})
	w.clock.Set(dawn.Add(40 * day))
	now, fit := w.clock.Now(), learnt()
	require.Equal(t, dto.Clusters, fit.Decision.Verdict)
	w.exec(`INSERT INTO timing_models (state, look, code, seed, requested_by, request_reason, verdict, data, hours, model, canary, created_at, trained_at, canary_at, scored_at)
		VALUES ('canary', 1, '', 1, 'Ann', 'why', 'clusters', '{}', '\x0a', $1, $2, $3, $3, $3, $3)`, fit,
		Canary{Share: .5, Since: now, NeededPerArm: 800, ExpectedLift: .4}, now)
	return w, w.model(1)
}

// arm is what a campaign sends of one arm.
type arm struct {
	arm          kairos.Arm
	model        *int
	n, responses int
	left, angry  int
}

// campaign sends a campaign with the shares that are usual, now.
func (w *world) campaign(model, canary *int, arms ...arm) kairos.ID {
	w.t.Helper()
	id, now := kairos.NewID(), w.clock.Now()
	w.exec(`INSERT INTO experiments (campaign, holdout, control, explore, model, canary, canary_share, decided_at) VALUES ($1, 0, .1, .1, $2, $3, .5, $4)`,
		id, model, canary, now)
	people := kairos.NewIDRange(now)
	var ms []message
	for _, a := range arms {
		for i := range a.n {
			m := message{campaign: id, contact: people.Nth(len(ms)), arm: a.arm, model: a.model, sent: now, state: "{}"}
			if i < a.responses {
				m.clicked = now.Add(time.Hour)
			}
			if i < a.left {
				m.state = `{"unsubscribed": 1}`
			} else if i < a.left+a.angry {
				m.state = `{"complained": 1}`
			}
			ms = append(ms, m)
		}
		w.exec(`INSERT INTO rollups VALUES ($1, $2, 'email', 'planned', $3, $3) ON CONFLICT (campaign, arm, channel, step)
		        DO UPDATE SET uniques = rollups.uniques + excluded.uniques`, id, string(a.arm), a.n)
	}
	w.send(ms...)
	return id
}

// pass lets the trial of a version end well.
func (w *world) pass(v int, active *int) {
	w.t.Helper()
	n := int(w.model(v).Canary.NeededPerArm)
	w.campaign(active, &v, arm{kairos.ArmOptimised, &v, n, n * 40 / 100, 0, 0}, arm{kairos.ArmOptimised, active, n, n * 30 / 100, 0, 0},
		arm{kairos.ArmControl, nil, n / 4, n / 4 * 30 / 100, 0, 0})
	w.clock.Advance(48 * time.Hour)
	w.watch()
	require.True(w.t, w.model(v).Canary.Pass, w.model(v).Canary.Reason)
}

func TestTrial(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name             string
		better, worse    int // responses per hundred, of the candidate and the current
		left, angry      int
		candidate, other float64 // of what is needed
		done, pass       bool
		reason           string
	}{
		{"better", 40, 30, 0, 0, 1, 1, true, true, "33 % more responses than the usual time"},
		{"worse", 30, 40, 0, 0, 1, 1, true, false, "25 % fewer responses"},
		{"alike", 30, 30, 0, 0, 1, 1, true, false, "not shown to be better"},
		{"people leave", 40, 30, 20, 0, 1, 1, true, false, "more people unsubscribe"},
		{"people complain", 40, 30, 0, 20, 1, 1, true, false, "more people complain"},
		{"sizes do not fit", 40, 30, 0, 0, 1, 1.4, true, false, "sizes do not fit"},
		{"not over", 40, 30, 0, 0, .5, .5, false, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, m := onTrial(t)
			v, n := m.Version, float64(m.Canary.NeededPerArm)
			a, b := int(n*c.candidate+.999), int(n*c.other+.999)
			w.campaign(nil, &v, arm{kairos.ArmOptimised, &v, a, a * c.better / 100, c.left, c.angry}, arm{kairos.ArmOptimised, nil, b, b * c.worse / 100, 0, 0},
				arm{kairos.ArmControl, nil, 40, 10, 0, 0})
			w.watch()
			require.False(t, w.model(v).Canary.Done, "nothing has matured yet")
			w.clock.Advance(26 * time.Hour)
			w.watch()
			m = w.model(v)
			require.Equal(t, c.done, m.Canary.Done)
			require.Equal(t, c.pass, m.Canary.Pass, m.Canary.Reason)
			require.Contains(t, m.Canary.Reason, c.reason)
			require.EqualValues(t, a, m.Canary.Candidate.N)
			require.EqualValues(t, b, m.Canary.Current.N)
			require.EqualValues(t, 40, m.Canary.Control.N)
			w.clock.Advance(2 * time.Hour)
			w.watch()
			require.Equal(t, map[bool]int{true: 1}[c.done], w.events(kairos.ModelJudged), "judged once")
			t.Log(m.Headline, m.Next, m.Reason)
			switch {
			case c.done && !c.pass:
				require.Equal(t, Rejected, m.State)
				require.Equal(t, 1, w.events(kairos.ModelRejected))
				require.NotNil(t, m.EndedAt)
			default:
				require.Equal(t, OnTrial, m.State)
			}
			_, err := w.r.Promote(ctx, v, ann)
			if c.pass {
				require.NoError(t, err)
				require.Equal(t, Active, w.model(v).State)
			} else {
				require.ErrorIs(t, err, kairos.ErrConflict)
			}
		})
	}
}

// The arms of a campaign go out at different hours: half of a campaign would
// look as if people had been divided unevenly.
func TestTrialCountsWholeCampaigns(t *testing.T) {
	w, m := onTrial(t)
	v, n, now := m.Version, int(m.Canary.NeededPerArm), w.clock.Now()
	id := w.campaign(nil, &v, arm{kairos.ArmOptimised, &v, n, n * 40 / 100, 0, 0})
	people, late := kairos.NewIDRange(now), now.Add(20*time.Hour)
	var ms []message
	for i := range n {
		at := message{campaign: id, contact: people.Nth(i), arm: kairos.ArmOptimised, planned: late, sent: late}
		if i < n*30/100 {
			at.clicked = late.Add(time.Hour)
		}
		ms = append(ms, at)
	}
	w.send(ms...)
	w.clock.Set(now.Add(26 * time.Hour))
	w.watch()
	c := w.model(v).Canary
	require.False(t, c.Done)
	require.Zero(t, c.Candidate.N, "the campaign has not matured yet")
	w.clock.Set(now.Add(46 * time.Hour))
	w.watch()
	c = w.model(v).Canary
	require.True(t, c.Pass, c.Reason)
	require.EqualValues(t, n, c.Candidate.N)
	require.EqualValues(t, n, c.Current.N)
}

func TestPromotionNeedsAPass(t *testing.T) {
	w, m := onTrial(t)
	ctx := context.Background()
	_, err := w.r.Promote(ctx, m.Version, By{})
	require.ErrorIs(t, err, kairos.ErrInvalid)
	_, err = w.r.Promote(ctx, 99, ann)
	require.ErrorIs(t, err, kairos.ErrNotFound)
	_, err = w.r.Promote(ctx, m.Version, ann)
	require.ErrorIs(t, err, kairos.ErrConflict)
	require.ErrorContains(t, err, "its trial is not over: 0 %")
	for state, missing := range map[string]string{
		Training: "neither a verdict nor a trial", Candidate: "not been on trial", Rejected: "it is rejected", Failed: "it is failed", Retired: "it is retired", Active: "active already",
	} {
		w.exec(`UPDATE timing_models SET state = $2 WHERE version = $1`, m.Version, state)
		_, err = w.r.Promote(ctx, m.Version, ann)
		require.ErrorIs(t, err, kairos.ErrConflict)
		require.ErrorContains(t, err, missing)
		if state != Active {
			_, err = w.r.Rollback(ctx, m.Version, ann)
			require.ErrorIs(t, err, kairos.ErrConflict)
		}
		if state != Candidate {
			_, err = w.r.Reject(ctx, m.Version, ann)
			require.ErrorIs(t, err, kairos.ErrConflict)
		}
	}
	require.Zero(t, w.events(kairos.ModelPromoted))
}

func TestPromoteRetireRollback(t *testing.T) {
	w := newWorld(t, Options{TrainEvery: -1})
	w.fill(sim.World{Kind: sim.Clusters, People: 500, Effect: 1, Base: .2}.Draw(1))
	a := w.train()
	require.Equal(t, OnTrial, a.State, a.Reason)
	ctx := context.Background()
	w.pass(a.Version, nil)
	got, err := w.r.Promote(ctx, a.Version, ann)
	require.NoError(t, err)
	require.Equal(t, Active, got.State)
	require.Contains(t, got.Headline, "brought 33 % more responses than the usual time")
	require.NotNil(t, got.Drift)
	t.Log(got.Headline, got.Next)

	b := w.train()
	require.Equal(t, OnTrial, b.State)
	require.Equal(t, a.Version, *b.Parent)
	require.NotNil(t, b.OffPolicy.Current)
	c := w.train() // waits: the place is taken
	require.Equal(t, Candidate, c.State)
	d := w.train()
	require.Equal(t, Rejected, w.model(c.Version).State, "a newer candidate takes its place")
	rejected, err := w.r.Reject(ctx, d.Version, ann)
	require.NoError(t, err)
	require.Equal(t, Rejected, rejected.State)

	w.pass(b.Version, &a.Version)
	_, err = w.r.Promote(ctx, b.Version, By{"Bob", "better still"})
	require.NoError(t, err)
	require.Equal(t, Retired, w.model(a.Version).State)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM timing_models WHERE state = 'active'`))

	w.clock.Advance(time.Hour)
	_, err = w.r.Rollback(ctx, a.Version, ann)
	require.ErrorIs(t, err, kairos.ErrConflict)
	got, err = w.r.Rollback(ctx, b.Version, By{"Bob", "I was wrong"})
	require.NoError(t, err)
	require.Equal(t, Retired, got.State)
	former := w.model(a.Version)
	require.Equal(t, Active, former.State)
	require.Nil(t, former.EndedAt)
	require.Equal(t, "rolled_back", got.Decisions[len(got.Decisions)-1].Action)
	require.Equal(t, Decision{w.clock.Now(), "rolled_back", "Bob", "I was wrong"}, got.Decisions[len(got.Decisions)-1])
	require.Equal(t, 1, w.count(`SELECT count(*) FROM events WHERE kind = $1 AND (data->>'to')::int = $2 AND data->>'actor' = 'Bob'`, kairos.ModelRolledBack, a.Version))
	require.Equal(t, 1, w.count(`SELECT count(*) FROM batches WHERE kind = $1 AND state = 'planned' AND payload->>'version' = $2::text`, kairos.KindScore, fmt.Sprint(a.Version)), "its hours are computed anew")

	w.clock.Advance(time.Hour)
	_, err = w.r.Rollback(ctx, a.Version, ann) // b was rolled back itself: nothing to go back to
	require.NoError(t, err)
	s, err := w.r.Standing(ctx)
	require.NoError(t, err)
	require.Nil(t, s.Active)
	require.Equal(t, 1, w.count(`SELECT count(*) FROM events WHERE kind = $1 AND data->'to' = 'null'`, kairos.ModelRolledBack))
}

func TestUniqueActive(t *testing.T) {
	w := newWorld(t, Options{})
	insert := func(state string) error {
		_, err := w.pool.Exec(context.Background(), `INSERT INTO timing_models (state, code, seed, requested_by, request_reason, created_at) VALUES ($1, '', 1, 'a', 'b', $2)`, state, dawn)
		return err
	}
	for _, state := range []string{Active, OnTrial} {
		require.NoError(t, insert(state))
		require.Error(t, insert(state))
	}
	require.NoError(t, insert(Retired))
	require.NoError(t, insert(Retired))
}

// Two processes that watch at once do everything once.
func TestWatchAtOnce(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(sim.World{Kind: sim.Clusters, People: 300, Effect: 1, Base: .3}.Draw(1))
	both := func() {
		var wait sync.WaitGroup
		for range 2 {
			r := New(w.pool, w.clock, Options{})
			wait.Go(func() {
				for range 3 {
					if err := r.Watch(context.Background()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
	}
	both()
	require.Equal(t, 6000, w.count(`SELECT exposures FROM timing_state`))
	require.Equal(t, 6000, w.count(`SELECT count(*) FROM exposures WHERE dropped IS NULL`))
	require.Equal(t, 1, w.count(`SELECT count(*) FROM timing_models`), "a week of exploration has passed: it trains by itself")
	w.work()
	require.Equal(t, OnTrial, w.model(1).State)
	n := int(w.model(1).Canary.NeededPerArm)
	v := 1
	w.campaign(nil, &v, arm{kairos.ArmOptimised, &v, n, n / 2, 0, 0}, arm{kairos.ArmOptimised, nil, n, n / 3, 0, 0})
	w.clock.Advance(30 * time.Hour)
	both()
	require.Equal(t, 1, w.events(kairos.ModelJudged))
	require.Equal(t, 1, w.count(`SELECT count(*) FROM batches WHERE kind = $1 AND state = 'planned'`, kairos.KindScore), "the trial's hours are a day old")
}

// While a trial runs nothing trains by itself; a week later it does, once.
func TestTrainsByItself(t *testing.T) {
	w := newWorld(t, Options{})
	ctx := context.Background()
	w.watch()
	require.Zero(t, w.count(`SELECT count(*) FROM timing_models`), "nothing was explored")
	campaign, person := kairos.NewID(), kairos.NewID()
	w.send(message{campaign: campaign, contact: person, arm: kairos.ArmExplore, sent: dawn.Add(time.Hour), hour: 1})
	w.clock.Set(dawn.Add(3 * 24 * time.Hour))
	w.watch()
	s, err := w.r.Standing(ctx)
	require.NoError(t, err)
	require.Equal(t, dawn.Add(7*24*time.Hour+time.Hour), *s.TrainAt)
	require.EqualValues(t, 1, s.Exposures)
	require.Contains(t, s.Next, "more messages")
	w.clock.Set(dawn.Add(8 * 24 * time.Hour))
	w.watch()
	w.watch()
	require.Equal(t, 1, w.work())
	require.Equal(t, kairosItself, w.model(1).Decisions[0].Actor)
	w.clock.Advance(6 * 24 * time.Hour)
	w.watch()
	require.Zero(t, w.work())
	w.exec(`UPDATE timing_models SET state = 'canary'`)
	w.clock.Advance(3 * 24 * time.Hour)
	w.watch()
	require.Zero(t, w.work(), "a trial runs")
	w.exec(`UPDATE timing_models SET state = 'rejected'`)
	w.watch()
	require.Equal(t, 1, w.work())
	require.Equal(t, dto.NotEnoughData, w.model(2).Verdict)
}

// The work is Watch's to find again when the process that had it is gone.
func TestWatchMendsWhatWasLost(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(sim.World{Kind: sim.Clusters, People: 300, Effect: 1, Base: .3}.Draw(1))
	m, err := w.r.Request(context.Background(), ann)
	require.NoError(t, err)
	_, err = w.r.Train(context.Background(), TrainTask{w.due(kairos.KindTrain)[0]})
	require.NoError(t, err)
	require.Equal(t, Candidate, w.model(m.Version).State)
	w.exec(`DELETE FROM batches`)
	w.watch()
	require.Equal(t, 1, w.work())
	require.Equal(t, OnTrial, w.model(m.Version).State)
}
