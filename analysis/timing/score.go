package timing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/dto"
	"kairos/internal/batch"
	"kairos/internal/pg"
)

// scoreChunk is how many people are scored at a time: what bounds the memory.
const scoreChunk = 50_000

// ScoreTask asks for people's hours to be computed anew under one model.
type ScoreTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (ScoreTask) Kind() string { return kairos.KindScore }

// Score computes everybody's hours under one model, in bulk: the model as it
// is, people's activity as of today. A candidate goes on trial when it is
// scored, if the place is free.
func (r *Registry) Score(ctx context.Context, task ScoreTask) ([]kairos.Task, error) {
	return nil, r.run(ctx, task.Ref, r.score)
}

func (r *Registry) score(ctx context.Context, ref kairos.Ref, version, _ int) error {
	m, err := one(ctx, r.pool, version, "")
	if err != nil && !errors.Is(err, kairos.ErrNotFound) {
		return err
	}
	if err != nil || m.fit == nil || m.State != Candidate && m.State != OnTrial && m.State != Active {
		return batch.Finish(ctx, r.pool, ref)
	}
	now := r.clock.Now()
	if m.Verdict == dto.Clusters { // else everybody has the model's own hours
		if err := r.scoreAll(ctx, ref, m, now); err != nil {
			return fmt.Errorf("score people: %w", err)
		}
	}
	return r.scored(ctx, ref, version, now)
}

func (r *Registry) scoreAll(ctx context.Context, ref kairos.Ref, m *record, now time.Time) error {
	c := &scored{m: m, scorer: m.fit.Scorer(), eta: make([]float64, kairos.HoursPerDay), weight: dto.ActivityWeight(now), chunk: r.chunk}
	for more, after := true, (kairos.ID{}); more; {
		if err := c.read(ctx, r.pool, after); err != nil {
			return err
		}
		more, after = !c.until.IsZero(), c.until
		if err := r.storeScores(ctx, ref, c); err != nil {
			return err
		}
	}
	return pg.InTx(ctx, r.pool, func(tx pgx.Tx) error { // those who left: erased, or nothing is known of them any more
		_, err := tx.Exec(ctx, `
			DELETE FROM timing_scores t WHERE model = $1 AND NOT EXISTS (SELECT FROM profiles p WHERE p.contact = t.contact)
			  AND NOT EXISTS (SELECT FROM contacts c WHERE c.id = t.contact AND `+preferringSQL+`)`, m.Version)
		if err != nil {
			return err
		}
		return batch.Hold(ctx, tx, ref)
	})
}

// scored is a chunk of people with their hours.
type scored struct {
	m      *record
	scorer *dto.Scorer
	eta    []float64
	weight float64
	chunk  int

	people []kairos.ID
	acts   []float32 // people x 24
	until  kairos.ID // last id of the chunk; zero: it was the last chunk
	hours  []byte    // of all people, one after the other
	ends   []int     // of each person's hours
	labels []int16
}

// read loads the next people with activity or a preference, by id, and scores them.
func (c *scored) read(ctx context.Context, db batch.DB, after kairos.ID) error {
	c.people, c.acts, c.until = c.people[:0], c.acts[:0], kairos.ID{}
	rows, err := db.Query(ctx, `
		SELECT contact, activity FROM profiles
		WHERE contact > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000') ORDER BY contact LIMIT $2`, after, c.chunk)
	if err != nil {
		return err
	}
	var id kairos.ID
	var a []float32
	_, err = pgx.ForEachRow(rows, []any{&id, &a}, func() error {
		return decay(c.add(id), a, c.weight)
	})
	if err != nil {
		return err
	}
	if len(c.people) == c.chunk {
		c.until = c.people[c.chunk-1]
	}
	asked, err := askedHours(ctx, db, after, c.until)
	if err != nil {
		return err
	}
	c.prefer(asked)
	c.rank()
	return nil
}

// add makes room for a person and returns its row.
func (c *scored) add(id kairos.ID) []float32 {
	c.people = append(c.people, id)
	n := len(c.acts)
	c.acts = append(c.acts, make([]float32, kairos.HoursPerDay)...)
	return c.acts[n:]
}

// prefer adds preferences, sorted by id as the people are.
func (c *scored) prefer(asked []wish) {
	known, i := len(c.people), 0
	for _, w := range asked {
		for i < known && bytes.Compare(c.people[i][:], w.contact[:]) < 0 {
			i++
		}
		row := []float32(nil)
		if i < known && c.people[i] == w.contact {
			row = c.acts[i*kairos.HoursPerDay : (i+1)*kairos.HoursPerDay]
		} else {
			row = c.add(w.contact)
		}
		dto.AddPreference(row, w.hours)
	}
}

func (c *scored) rank() {
	c.hours, c.ends, c.labels = c.hours[:0], c.ends[:0], c.labels[:0]
	var order [kairos.HoursPerDay]byte
	for i := range c.people {
		cluster := c.scorer.Score(c.eta, c.acts[i*kairos.HoursPerDay:(i+1)*kairos.HoursPerDay])
		c.hours = append(c.hours, rank(order[:0], c.eta, c.m.fit.Mask)...)
		c.ends, c.labels = append(c.ends, len(c.hours)), append(c.labels, int16(cluster))
	}
}

// storeScores writes what changed.
func (r *Registry) storeScores(ctx context.Context, ref kairos.Ref, c *scored) error {
	if len(c.people) == 0 {
		return nil
	}
	return pg.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `CREATE TEMP TABLE timing_scored (contact uuid, cluster smallint, hours bytea) ON COMMIT DROP`)
		if err != nil {
			return err
		}
		start := 0
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"timing_scored"}, []string{"contact", "cluster", "hours"},
			pgx.CopyFromSlice(len(c.people), func(i int) ([]any, error) {
				if i > 0 {
					start = c.ends[i-1]
				}
				return []any{c.people[i], c.labels[i], c.hours[start:c.ends[i]]}, nil
			}))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO timing_scores AS t (model, contact, cluster, hours)
			SELECT $1, s.contact, s.cluster, s.hours FROM timing_scored s
			ON CONFLICT (model, contact) DO UPDATE SET cluster = excluded.cluster, hours = excluded.hours
			WHERE (t.cluster, t.hours) IS DISTINCT FROM (excluded.cluster, excluded.hours)`, c.m.Version)
		if err != nil {
			return err
		}
		// Last, because whoever extends the claim waits for it.
		return batch.Hold(ctx, tx, ref)
	})
}

// scored ends a scoring: a candidate goes on trial, the active model's hours
// are compared with those at its promotion.
func (r *Registry) scored(ctx context.Context, ref kairos.Ref, version int, now time.Time) error {
	return pg.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		if err := lockRegistry(ctx, tx); err != nil {
			return err
		}
		if err := batch.Hold(ctx, tx, ref); err != nil {
			return err
		}
		m, err := one(ctx, tx, version, "FOR UPDATE")
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE timing_models SET scored_at = $2 WHERE version = $1`, version, now); err != nil {
			return fmt.Errorf("store scoring: %w", err)
		}
		switch m.State {
		case Candidate:
			err = r.startTrial(ctx, tx, m)
		case Active:
			err = r.compareHours(ctx, tx, m)
		}
		if err != nil {
			return err
		}
		return batch.Finish(ctx, tx, ref)
	})
}

// bestHours counts the people by their best hour under a model; nil: nobody is scored.
func bestHours(ctx context.Context, db batch.DB, version int) ([]float64, error) {
	rows, err := db.Query(ctx, `
		SELECT get_byte(hours, 0), count(*) FROM timing_scores WHERE model = $1 AND length(hours) > 0 GROUP BY 1`, version)
	if err != nil {
		return nil, fmt.Errorf("count best hours: %w", err)
	}
	var counts []float64
	var hour int
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&hour, &n}, func() error {
		if counts == nil {
			counts = make([]float64, kairos.HoursPerDay)
		}
		if hour < kairos.HoursPerDay {
			counts[hour] = float64(n)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count best hours: %w", err)
	}
	return counts, nil
}
