package timing

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/dto"
	"kairos/dto/sim"
)

// What is stored for each person is what the model says of the person.
func TestScoresAreTheModels(t *testing.T) {
	w := newWorld(t, Options{TrainEvery: -1})
	p := sim.World{Kind: sim.Clusters, People: 600, Effect: 1, Base: .2}.Draw(1)
	people := w.fill(p)
	ctx := context.Background()
	asking := kairos.NewIDAt(dawn.Add(-time.Hour)) // somebody of whom nothing is known but a wish
	for _, id := range []kairos.ID{asking, people[5]} {
		w.exec(`INSERT INTO contacts (id, preferences, created_at, updated_at) VALUES ($1, '{"preferred_hours": [{"from": "20:00", "until": "22:00"}]}', $2, $2)`, id, dawn)
	}
	w.exec(`INSERT INTO contacts (id, preferences, created_at, updated_at) VALUES (gen_random_uuid(), '{"preferred_hours": null}', $1, $1),
	        (gen_random_uuid(), '{"preferred_hours": []}', $1, $1), (gen_random_uuid(), '{}', $1, $1)`, dawn)
	m := w.train()
	require.Equal(t, OnTrial, m.State, m.Reason)
	require.Equal(t, 601, m.Data.People)
	require.Equal(t, 2, m.Data.WithPreference)

	check := func() {
		t.Helper()
		rec, err := one(ctx, w.pool, m.Version, "")
		require.NoError(t, err)
		s, err := w.r.snapshot(ctx)
		require.NoError(t, err)
		require.Equal(t, asking, s.people[0])
		slots, clusters := make([]int16, len(s.people)), make([]int16, len(s.people))
		require.NoError(t, rec.fit.Score(slots, clusters, s.data.Activity, nil))
		require.Equal(t, 601, w.count(`SELECT count(*) FROM timing_scores`))
		scorer, eta := rec.fit.Scorer(), make([]float64, 24)
		for u, id := range s.people {
			var cluster int16
			var hours []byte
			require.NoError(t, w.pool.QueryRow(ctx, `SELECT cluster, hours FROM timing_scores WHERE model = $1 AND contact = $2`, m.Version, id).Scan(&cluster, &hours))
			require.Equal(t, clusters[u], cluster)
			require.EqualValues(t, slots[u], hours[0])
			require.Len(t, hours, 24)
			scorer.Score(eta, s.row(s.data.Activity, u))
			for i := 1; i < 24; i++ {
				require.GreaterOrEqual(t, eta[hours[i-1]], eta[hours[i]])
			}
		}
	}
	check()
	total := 0
	for _, c := range w.model(m.Version).Clusters {
		total += c.Size
	}
	require.Equal(t, 601-w.count(`SELECT count(*) FROM timing_scores WHERE cluster = -1`), total)

	// A day later people have done other things; the model is as it was.
	before := m.Data.Fingerprint
	w.exec(`UPDATE profiles SET activity = (SELECT activity FROM profiles WHERE contact = $2) WHERE contact = $1`, people[0], people[1])
	w.exec(`DELETE FROM profiles WHERE contact = $1`, people[7])
	w.clock.Advance(25 * time.Hour)
	w.watch()
	require.Equal(t, 1, w.work())
	require.Equal(t, 600, w.count(`SELECT count(*) FROM timing_scores`))
	require.Equal(t, 1, w.count(`SELECT count(*) FROM timing_scores a JOIN timing_scores b ON a.hours = b.hours AND a.cluster = b.cluster WHERE a.contact = $1 AND b.contact = $2`, people[0], people[1]))
	require.Equal(t, before, w.model(m.Version).Data.Fingerprint)
	w.watch()
	require.Zero(t, w.work(), "once a day")
}

func TestScoreChunks(t *testing.T) {
	w := newWorld(t, Options{TrainEvery: -1})
	w.fill(sim.World{Kind: sim.Clusters, People: 300, Effect: 1, Base: .3}.Draw(1))
	w.r.chunk = 300
	m := w.train()
	require.Equal(t, dto.Clusters, m.Verdict)
	w.exec(`INSERT INTO profiles SELECT gen_random_uuid(), array_fill(3::real, ARRAY[24]), '2026-03-01', 0 FROM generate_series(1, $1)`, 900)
	w.exec(`INSERT INTO contacts (id, preferences, created_at, updated_at)
	        SELECT gen_random_uuid(), '{"preferred_hours": [{"from": "20:00", "until": "22:00"}]}', $1, $1 FROM generate_series(1, 10)`, dawn)
	w.clock.Advance(25 * time.Hour)
	w.watch()
	require.Equal(t, 1, w.work())
	require.Equal(t, 1210, w.count(`SELECT count(*) FROM timing_scores`))
	w.exec(`UPDATE timing_models SET state = 'rejected'`)
	w.clock.Advance(25 * time.Hour)
	w.watch()
	require.Zero(t, w.count(`SELECT count(*) FROM timing_scores`), "hours of a rejected model are swept")
}

func TestRank(t *testing.T) {
	eta := []float64{1, 3, 2, 3, 5}
	require.Equal(t, []byte{1, 3, 2, 0}, rank(nil, eta, dto.Mask(0b01111)))
	require.Empty(t, rank(nil, eta, 0))
}
