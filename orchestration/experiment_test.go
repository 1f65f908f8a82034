package orchestration

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
	"kairos/internal/pg"
)

// stored experiment and decisions of a campaign.
type fixedRow struct {
	Holdout, Control, Explore float64
	Model, Canary             *int
	CanaryShare               float64
}

func fixedOf(t testing.TB, pool *pgxpool.Pool, campaign kairos.ID) (r fixedRow, ok bool) {
	t.Helper()
	rows, err := pool.Query(t.Context(), `SELECT holdout, control, explore, model, canary, canary_share FROM experiments WHERE campaign = $1`, campaign)
	require.NoError(t, err)
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[fixedRow])
	require.NoError(t, err)
	if len(list) == 0 {
		return r, false
	}
	return list[0], true
}

// decisions returns what was decided for whom, without the ids.
func decisions(t testing.TB, pool *pgxpool.Pool, campaign kairos.ID) map[kairos.ID]string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT contact, concat_ws(' ', state, coalesce(reason, '-'), arm, propensity, coalesce(model, 0), slot, zone, planned_at, encode(eligible, 'hex'))
		FROM notifications WHERE campaign = $1`, campaign)
	require.NoError(t, err)
	out := map[kairos.ID]string{}
	var who kairos.ID
	var what string
	_, err = pgx.ForEachRow(rows, []any{&who, &what}, func() error { out[who] = what; return nil })
	require.NoError(t, err)
	return out
}

func TestTheFirstPageFixesTheExperiment(t *testing.T) {
	t.Parallel()
	three, four := 3, 4
	for name, c := range map[string]struct {
		mode       string
		experiment *kairos.Experiment
		prepare    string
		want       fixedRow
		none       bool
	}{
		"nothing asked for, nothing known": {kairos.ModeOptimised, nil, ``, fixedRow{Control: .1, Explore: .3}, false},
		"nothing asked for, half is known": {kairos.ModeOptimised, nil, `UPDATE timing_state SET responses = 1550`, fixedRow{Control: .1, Explore: .175}, false},
		"nothing asked for, all is known":  {kairos.ModeOptimised, nil, `UPDATE timing_state SET responses = 1000000`, fixedRow{Control: .1, Explore: .05}, false},
		"no state at all":                  {kairos.ModeOptimised, nil, `DELETE FROM timing_state`, fixedRow{Control: .1, Explore: .3}, false},
		"asked for nothing":                {kairos.ModeOptimised, &kairos.Experiment{}, ``, fixedRow{}, false},
		"asked for": {kairos.ModeOptimised, &kairos.Experiment{Holdout: .05, Control: .2, Explore: .1}, `UPDATE timing_state SET responses = 1000000`,
			fixedRow{Holdout: .05, Control: .2, Explore: .1}, false},
		"models": {kairos.ModeOptimised, &kairos.Experiment{}, `INSERT INTO timing_models (version, state, code, seed, requested_by, request_reason, canary, created_at) OVERRIDING SYSTEM VALUE VALUES
			(2, 'retired', '', 1, '', '', NULL, now()), (3, 'active', '', 1, '', '', '{"share": 0.9}', now()), (4, 'canary', '', 1, '', '', '{"share": 0.25}', now()), (5, 'candidate', '', 1, '', '', NULL, now())`,
			fixedRow{Model: &three, Canary: &four, CanaryShare: .25}, false},
		"a trial without a share": {kairos.ModeOptimised, &kairos.Experiment{}, `INSERT INTO timing_models (version, state, code, seed, requested_by, request_reason, canary, created_at) OVERRIDING SYSTEM VALUE VALUES
			(3, 'active', '', 1, '', '', NULL, now()), (4, 'canary', '', 1, '', '', NULL, now())`, fixedRow{Model: &three}, false},
		"a trial with a broken share": {kairos.ModeOptimised, &kairos.Experiment{}, `INSERT INTO timing_models (version, state, code, seed, requested_by, request_reason, canary, created_at) OVERRIDING SYSTEM VALUE VALUES
			(4, 'canary', '', 1, '', '', '{"share": "NaN"}', now())`, fixedRow{}, false},
		"hours are not chosen: the holdout alone": {kairos.ModeNow, &kairos.Experiment{Holdout: .1, Control: .2, Explore: .3}, `INSERT INTO timing_models (version, state, code, seed, requested_by, request_reason, created_at) OVERRIDING SYSTEM VALUE VALUES
			(3, 'active', '', 1, '', '', now())`, fixedRow{Holdout: .1}, false},
		"hours are not chosen, no holdout": {kairos.ModeNow, &kairos.Experiment{Control: .2}, ``, fixedRow{}, true},
		"hours are not chosen, nothing":    {kairos.ModeNow, nil, ``, fixedRow{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := devstack.NewDB(t)
			_, err := pool.Exec(t.Context(), c.prepare)
			require.NoError(t, err)
			spec := optimised(kairos.Experiment{}).spec
			spec.Experiment, spec.Schedule.Mode = c.experiment, c.mode
			id, contacts := launched(t, pool, spec, 40)
			_, err = New(pool, kairos.NewManualClock(monday), Options{}).Plan(t.Context(), page(t, pool, id))
			require.NoError(t, err)
			got, ok := fixedOf(t, pool, id)
			require.Equal(t, !c.none, ok)
			require.InDelta(t, c.want.Explore, got.Explore, 1e-12)
			got.Explore = c.want.Explore
			require.Equal(t, c.want, got)
			require.Equal(t, len(contacts), count(t, pool, `SELECT count(*) FROM notifications WHERE state IN ('planned', 'held_out')`), "nobody is lost")
		})
	}
}

// Pages planned by several processes at once, while models come and go, divide
// people alike.
func TestPagesOfManyProcessesAgree(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	for v := 1; v <= 6; v++ {
		registered(t, pool, v, "candidate", "global", everyHour())
	}
	const pages, size = 8, 50
	contacts := audience(t, pool, pages*size)
	cut := make([][]kairos.ID, pages)
	for i := range cut {
		cut[i] = contacts[i*size:][:size]
	}
	spec := optimised(kairos.Experiment{}).spec
	spec.Experiment = nil
	id := launch(t, pool, spec, cut...)
	tasks := make([]PlanTask, pages)
	for i := range tasks {
		tasks[i] = pageTask(t, pool, id, i)
	}
	start, stop := make(chan struct{}), make(chan struct{})
	var planners, registry sync.WaitGroup
	errs := make([]error, pages+1)
	registry.Go(func() {
		<-start
		for v := 0; errs[pages] == nil; v++ {
			select {
			case <-stop:
				return
			default:
			}
			errs[pages] = pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), `UPDATE timing_models SET state = 'retired' WHERE state IN ('active', 'canary')`)
				if err != nil {
					return err
				}
				_, err = tx.Exec(t.Context(), fmt.Sprintf(`UPDATE timing_models SET state = CASE version WHEN %d THEN 'active' ELSE 'canary' END WHERE version IN (%d, %d)`,
					v%6+1, v%6+1, (v+1)%6+1))
				if err != nil {
					return err
				}
				_, err = tx.Exec(t.Context(), `UPDATE timing_state SET responses = responses + 1`)
				return err
			})
		}
	})
	for i := range tasks {
		planners.Go(func() {
			<-start
			o := New(pool, kairos.NewManualClock(monday), Options{Owner: fmt.Sprint("process ", i)})
			_, errs[i] = o.Plan(t.Context(), tasks[i])
		})
	}
	close(start)
	planners.Wait()
	close(stop)
	registry.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	got, ok := fixedOf(t, pool, id)
	require.True(t, ok)
	require.Equal(t, pages*size, count(t, pool, `SELECT count(*) FROM notifications`))
	active, canary := 0, 0
	if got.Model != nil {
		active = *got.Model
	}
	if got.Canary != nil {
		canary = *got.Canary
	}
	require.Zero(t, count(t, pool, `SELECT count(*) FROM notifications WHERE model NOT IN ($1, $2)`, active, canary))
	for _, c := range contacts { // each in the arm that the one experiment gives
		u, want := draw(id, c, "arm"), kairos.ArmOptimised
		switch {
		case u < got.Control:
			want = kairos.ArmControl
		case u < got.Control+got.Explore:
			want = kairos.ArmExplore
		}
		require.Equal(t, 1, count(t, pool, `SELECT count(*) FROM notifications WHERE contact = $1 AND arm = $2`, c, string(want)))
	}
}

// A process that is killed between planning and its commit, and a registry
// that moves on meanwhile, change nobody's decision.
func TestAKillChangesNothing(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	registered(t, pool, 1, "active", "clusters", everyHour())
	registered(t, pool, 2, "canary", "clusters", everyHour())
	registered(t, pool, 3, "candidate", "clusters", ranking{3})
	o := New(pool, kairos.NewManualClock(monday), Options{})
	id, contacts := launched(t, pool, optimised(kairos.Experiment{Holdout: .1, Control: .1, Explore: .2}).spec, 200)
	scores(t, pool, 1, ranking{8, 20}, contacts[:100]...)
	scores(t, pool, 2, ranking{7}, contacts[50:150]...)
	task := page(t, pool, id)
	_, err := pool.Exec(t.Context(), `
		CREATE FUNCTION kill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'killed'; END $$;
		CREATE CONSTRAINT TRIGGER kill AFTER INSERT ON events_rest DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION kill()`)
	require.NoError(t, err)
	_, err = o.Plan(t.Context(), task)
	require.ErrorContains(t, err, "killed")
	require.Zero(t, count(t, pool, `SELECT count(*) FROM notifications`))
	first, ok := fixedOf(t, pool, id)
	require.True(t, ok)
	_, err = pool.Exec(t.Context(), `
		DROP TRIGGER kill ON events_rest;
		UPDATE timing_models SET state = 'retired' WHERE state IN ('active', 'canary');
		UPDATE timing_models SET state = 'active' WHERE version = 3;
		UPDATE timing_state SET responses = 1000000`)
	require.NoError(t, err)
	again := func() map[kairos.ID]string {
		_, err := pool.Exec(t.Context(), `DELETE FROM batches WHERE kind = 'delivery.send'; DELETE FROM notifications; DELETE FROM events;
			UPDATE batches SET state = 'running', lease_until = now() - interval '1 s'`)
		require.NoError(t, err)
		require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			_, err := batch.Reissue(t.Context(), tx, task.Ref)
			return err
		}))
		bells, err := batch.Due(t.Context(), pool, kairos.KindPlan, monday, 64)
		refs := batch.Refs(bells)
		require.NoError(t, err)
		require.Len(t, refs, 1)
		task = PlanTask{refs[0]}
		_, err = o.Plan(t.Context(), task)
		require.NoError(t, err)
		return decisions(t, pool, id)
	}
	one := again()
	require.Len(t, one, len(contacts))
	second, _ := fixedOf(t, pool, id)
	require.Equal(t, first, second)
	require.Positive(t, count(t, pool, `SELECT count(*) FROM notifications WHERE model = 1`))
	require.Positive(t, count(t, pool, `SELECT count(*) FROM notifications WHERE model = 2`))
	require.Zero(t, count(t, pool, `SELECT count(*) FROM notifications WHERE model = 3`))
	require.Equal(t, one, again())
}

// Each person's own hours are used, those of the model where there are none,
// and the baseline where the model is broken or gone; nobody is lost.
func TestScoresAndWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil string
		hour  [3]int // local: with a score, with none, with a spoilt score
		model int
	}{
		"as it should be":         {``, [3]int{8, 19, 19}, 1},
		"the model is gone":       {`DELETE FROM timing_models`, [3]int{9, 9, 9}, 0},
		"no hours":                {`UPDATE timing_models SET hours = NULL`, [3]int{8, 9, 9}, 1},
		"hours that are none":     {`UPDATE timing_models SET hours = '\xffff'`, [3]int{8, 9, 9}, 1},
		"no scores":               {`DELETE FROM timing_scores`, [3]int{19, 19, 19}, 1},
		"everybody's hours alike": {`UPDATE timing_models SET verdict = 'global'`, [3]int{19, 19, 19}, 1},
		"no verdict":              {`UPDATE timing_models SET verdict = NULL`, [3]int{19, 19, 19}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := devstack.NewDB(t)
			registered(t, pool, 1, "active", "clusters", everyHour())
			o := New(pool, kairos.NewManualClock(monday), Options{})
			spec := optimised(kairos.Experiment{}).spec
			spec.Schedule.Window = kairos.Duration(7 * 24 * time.Hour)
			contacts := audience(t, pool, 12)
			id := launch(t, pool, spec, contacts[:1], contacts)
			scores(t, pool, 1, ranking{8, 20}, contacts[:4]...)
			scores(t, pool, 1, ranking{77}, contacts[8:]...)
			_, err := o.Plan(t.Context(), pageTask(t, pool, id, 0)) // fixes the experiment
			require.NoError(t, err)
			_, err = pool.Exec(t.Context(), `DELETE FROM notifications;`+c.spoil)
			require.NoError(t, err)
			_, err = o.Plan(t.Context(), pageTask(t, pool, id, 1))
			require.NoError(t, err)
			for i, who := range contacts {
				var hour, model int
				err := pool.QueryRow(t.Context(), `SELECT slot % 24, coalesce(model, 0) FROM notifications WHERE contact = $1 AND state = 'planned'`, who).Scan(&hour, &model)
				require.NoError(t, err)
				require.Equal(t, c.hour[i/4], hour, i)
				if hour == 9 {
					require.Zero(t, model)
				} else {
					require.Equal(t, c.model, model)
				}
			}
		})
	}
}
