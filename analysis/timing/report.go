package timing

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/dto"
	"kairos/internal/batch"
)

// Bounds of a page of models.
const (
	defaultModels = 20
	maxModels     = 100
)

// Models lists the registry, newest first, without pictures. next is "" at the end.
func (r *Registry) Models(ctx context.Context, limit int, after string) (models []Model, next string, err error) {
	if limit <= 0 {
		limit = defaultModels
	}
	limit = min(limit, maxModels)
	below := 1<<31 - 1
	if after != "" {
		if below, err = strconv.Atoi(after); err != nil || below < 1 || below > 1<<31-1 {
			return nil, "", kairos.Invalid("after", "is not a place in this list")
		}
	}
	found, err := records(ctx, r.pool, `WHERE version < $1 ORDER BY version DESC LIMIT $2`, below, limit+1)
	if err != nil {
		return nil, "", err
	}
	if len(found) > limit {
		found = found[:limit]
		next = strconv.Itoa(found[limit-1].Version)
	}
	models = make([]Model, 0, len(found))
	for _, m := range found {
		m.finish(r)
		m.Curve, m.Rhythm, m.Clusters, m.Arms, m.Decisions = []float64{}, []float64{}, []Cluster{}, []Arm{}, []Decision{}
		m.Parameters, m.OffPolicy, m.Canary, m.Drift = nil, nil, nil, nil
		models = append(models, m.Model)
	}
	return models, next, nil
}

// Model returns one version with everything; kairos.ErrNotFound.
func (r *Registry) Model(ctx context.Context, version int) (Model, error) {
	var m *record
	err := pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		if m, err = one(ctx, tx, version, ""); err != nil {
			return err
		}
		if m.Decisions, err = decisions(ctx, tx, version); err != nil {
			return err
		}
		if err := r.compareArms(ctx, tx, m); err != nil {
			return err
		}
		if m.watch != nil {
			m.Drift = &m.watch.Drift
			if m.Drift.Diary, err = loadDiary(ctx, tx, version); err != nil {
				return err
			}
		}
		m.finish(r)
		return m.picture(ctx, tx)
	})
	if err != nil {
		return Model{}, fmt.Errorf("report model: %w", err)
	}
	return m.Model, nil
}

// finish fills in what follows from the row alone.
func (m *record) finish(r *Registry) {
	if fit := m.fit; fit != nil {
		m.Tests = &Tests{
			Main:        testOf(fit.Main, fit.Decision.MainP),
			Interaction: testOf(fit.Interaction, fit.Decision.InteractionP),
			Look:        m.look, Alpha: r.alpha(max(m.look, 1)),
		}
		if m.Verdict == dto.NotEnoughData {
			m.Needed = neededFor(fit.Decision, min(fit.Responses, float64(m.Data.Comparing)))
		}
		m.Parameters = &Parameters{K: fit.K, C: fit.C, Prior: fit.Prior, Bandwidth: fit.Bandwidth, Kappa: fit.Kappa, Gain: fit.Gain}
	}
	m.Headline, m.Next = headline(m), nextStep(m)
}

func testOf(t dto.Test, adjusted float64) Test {
	return Test{Statistic: t.Statistic, DF: t.DF, P: t.P, AdjustedP: adjusted, People: t.People}
}

func neededFor(d dto.Decision, responses float64) *Needed {
	return &Needed{Responses: int64(max(0, d.NeededResponses-responses)), Deliveries: int64(d.NeededDeliveries)}
}

// picture fills in curves and clusters.
func (m *record) picture(ctx context.Context, db batch.DB) error {
	m.Curve, m.Rhythm, m.Clusters = []float64{}, []float64{}, []Cluster{}
	fit := m.fit
	if fit == nil {
		return nil
	}
	m.Curve, m.Rhythm = fit.Curve, fit.Rhythm
	if fit.K == 1 || m.Verdict != dto.Clusters {
		m.Clusters = []Cluster{everybody(fit)}
		return nil
	}
	sizes := fit.Sizes
	if m.ScoredAt != nil {
		scored, err := clusterSizes(ctx, db, m.Version, fit.K)
		if err != nil {
			return err
		}
		if scored != nil {
			sizes = scored
		}
	}
	total := 0
	for _, n := range sizes {
		total += n
	}
	for c, n := range sizes {
		lo, hi := c*fit.Slots, (c+1)*fit.Slots
		one := Cluster{Cluster: c, Size: n, Hour: fit.ClusterSlots[c], Rhythm: fit.ClusterRhythm[lo:hi], Curve: fit.ClusterCurve[lo:hi],
			Low: make([]float64, fit.Slots), High: make([]float64, fit.Slots)}
		if total > 0 {
			one.Share = float64(n) / float64(total)
		}
		fit.Band(one.Low, one.High, c, 0.95)
		m.Clusters = append(m.Clusters, one)
	}
	return nil
}

// everybody is the one cluster of a model that does not cut the people.
func everybody(fit *dto.Model) Cluster {
	all := dto.Model{Slots: fit.Slots, Mask: fit.Mask, K: 1, Curve: fit.Curve, Rhythm: fit.Rhythm, Kappa: fit.Kappa,
		ClusterRhythm: fit.Rhythm, ClusterCurve: fit.Curve,
		Cells: dto.Cells{Responses: make([]float64, fit.Slots), Expected: make([]float64, fit.Slots)}}
	for i := range fit.Cells.Responses {
		all.Cells.Responses[i%fit.Slots] += fit.Cells.Responses[i]
		all.Cells.Expected[i%fit.Slots] += fit.Cells.Expected[i]
	}
	c := Cluster{Size: fit.People, Share: 1, Hour: fit.GlobalSlot, Rhythm: fit.Rhythm, Curve: fit.Curve,
		Low: make([]float64, fit.Slots), High: make([]float64, fit.Slots)}
	all.Band(c.Low, c.High, 0, 0.95)
	return c
}

// clusterSizes counts the people of each cluster as they were last scored; nil:
// nobody is.
func clusterSizes(ctx context.Context, db batch.DB, version, k int) ([]int, error) {
	rows, err := db.Query(ctx, `SELECT cluster, count(*) FROM timing_scores WHERE model = $1 AND cluster >= 0 AND cluster < $2 GROUP BY 1`, version, k)
	if err != nil {
		return nil, fmt.Errorf("count clusters: %w", err)
	}
	var sizes []int
	var c, n int
	_, err = pgx.ForEachRow(rows, []any{&c, &n}, func() error {
		if sizes == nil {
			sizes = make([]int, k)
		}
		sizes[c] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count clusters: %w", err)
	}
	return sizes, nil
}

// compareArms fills in what the campaigns planned while it was active brought.
func (r *Registry) compareArms(ctx context.Context, db batch.DB, m *record) error {
	m.Arms = []Arm{}
	if m.ActiveAt == nil {
		return nil
	}
	rows, err := db.Query(ctx, `
		SELECT j.arm, count(*), count(*) FILTER (WHERE `+respondedSQL+`)
		FROM experiments e JOIN journeys j ON j.campaign = e.campaign
		WHERE e.model = $2 AND j.sent_at < $3
		  AND (j.arm IN ('control', 'explore') OR j.arm IN ('optimised', 'preferred') AND j.model = $2)
		GROUP BY 1`, r.opts.ResponseWindow, m.Version, r.clock.Now().Add(-r.opts.ResponseWindow))
	if err != nil {
		return fmt.Errorf("count arms: %w", err)
	}
	counts := map[kairos.Arm]dto.Arm{}
	var name kairos.Arm
	var a dto.Arm
	_, err = pgx.ForEachRow(rows, []any{&name, &a.N, &a.Responses}, func() error {
		counts[name] = a
		return nil
	})
	if err != nil {
		return fmt.Errorf("count arms: %w", err)
	}
	for _, name := range []kairos.Arm{kairos.ArmControl, kairos.ArmExplore, kairos.ArmOptimised, kairos.ArmPreferred} {
		if c, sent := counts[name]; sent {
			m.Arms = append(m.Arms, armOf(string(name), c))
		}
	}
	o, p := counts[kairos.ArmOptimised], counts[kairos.ArmPreferred]
	if m.Lift, m.LiftNeeded, err = compare(dto.Arm{N: o.N + p.N, Responses: o.Responses + p.Responses}, counts[kairos.ArmControl]); err != nil {
		return err
	}
	m.SRM, err = sampleRatio(ctx, db, m.Version)
	return err
}

// sampleRatio checks that the arms of a model's campaigns have, taken together,
// the sizes that each campaign's shares ask for.
func sampleRatio(ctx context.Context, db batch.DB, version int) (*SRM, error) {
	rows, err := db.Query(ctx, `
		SELECT e.holdout, e.control, e.explore, coalesce(sum(uniques) FILTER (WHERE arm = 'holdout'), 0)::bigint,
		       coalesce(sum(uniques) FILTER (WHERE arm = 'control'), 0)::bigint, coalesce(sum(uniques) FILTER (WHERE arm = 'explore'), 0)::bigint,
		       coalesce(sum(uniques) FILTER (WHERE arm IN ('optimised', 'preferred')), 0)::bigint
		FROM experiments e JOIN rollups r ON r.campaign = e.campaign AND r.step IN ('planned', 'held_out')
		WHERE e.model = $1 GROUP BY e.campaign`, version)
	if err != nil {
		return nil, fmt.Errorf("count drawn arms: %w", err)
	}
	var shares [3]float64
	var n, observed [4]int64
	var expected [4]float64
	_, err = pgx.ForEachRow(rows, []any{&shares[0], &shares[1], &shares[2], &n[0], &n[1], &n[2], &n[3]}, func() error {
		total, rest := float64(n[0]+n[1]+n[2]+n[3]), 1.0
		for i, s := range shares {
			expected[i] += total * s
			rest -= s
		}
		expected[3] += total * max(rest, 0)
		for i := range n {
			observed[i] += n[i]
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count drawn arms: %w", err)
	}
	var sizes []int64
	var wanted []float64
	for i := range observed {
		switch {
		case expected[i] > 1e-6:
			sizes, wanted = append(sizes, observed[i]), append(wanted, expected[i])
		case observed[i] > 0: // somebody where nobody may be
			return &SRM{}, nil
		}
	}
	if len(sizes) < 2 {
		return nil, nil
	}
	t, alarm, err := dto.SampleRatio(sizes, wanted)
	if err != nil {
		return nil, fmt.Errorf("check drawn arms: %w", err)
	}
	return &SRM{P: t.P, OK: !alarm}, nil
}
