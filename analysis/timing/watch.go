package timing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/dto"
	"kairos/internal/pg"
)

// Periods of domain time.
const (
	trialEvery = time.Hour        // a trial's arms are counted
	scoreEvery = 24 * time.Hour   // people are scored anew
	askEvery   = 10 * time.Minute // what is being done already is not asked for again
	afterFail  = 24 * time.Hour   // a failed training is followed by another one
)

// standing is a version that something may be due for.
type standing struct {
	version            int
	state              string
	verdict            dto.Verdict
	created            time.Time
	activeAt, scoredAt *time.Time
	judged             bool
	lastDay            *time.Time
	newest             bool
}

// Watch does what is due: exposures mature, trials are judged, the active
// model is scored daily and watched for drift, the next training is planned.
// Cheap when nothing is due; made for being called every second.
func (r *Registry) Watch(ctx context.Context) error {
	matured, all, err := r.look(ctx)
	if err != nil {
		return err
	}
	now := r.clock.Now()
	var errs []error
	if matured == nil || now.Add(-r.opts.ResponseWindow-matureEvery).After(*matured) {
		if r.due("mature", now, matureEvery) {
			errs = append(errs, r.mature(ctx))
		}
	}
	busy := false
	for _, m := range all {
		busy = busy || m.state == Training || m.state == OnTrial || m.state == Candidate
		if m.state == OnTrial && !m.judged && r.due("trial", now, trialEvery) {
			errs = append(errs, r.followTrial(ctx))
		}
		if m.state == Active && m.diaryDue(now.Add(-r.opts.ResponseWindow-foldLag)) {
			errs = append(errs, r.watchDrift(ctx))
		}
		if m.scoringDue(now) && r.due(fmt.Sprint("score ", m.version), now, askEvery) {
			errs = append(errs, r.askForScores(ctx))
		}
	}
	if !busy && r.opts.TrainEvery > 0 {
		at, err := r.trainAt(ctx, all)
		if err == nil && at != nil && !now.Before(*at) {
			err = r.trainByItself(ctx)
		}
		errs = append(errs, err)
	}
	if r.due("sweep", now, day) {
		errs = append(errs, r.sweep(ctx))
	}
	return errors.Join(errs...)
}

// due reports whether work was last done longer than a period ago, and takes
// note that it is done now. It is forgotten with the process: nothing depends on it.
func (r *Registry) due(what string, now time.Time, period time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, done := r.last[what]; done && now.Sub(last) < period && !now.Before(last) {
		return false
	}
	r.last[what] = now
	return true
}

// look reads all that tells what is due.
func (r *Registry) look(ctx context.Context) (matured *time.Time, all []standing, err error) {
	rows, err := r.pool.Query(ctx, `
		SELECT s.matured_until, coalesce(m.version, 0), coalesce(m.state, ''), coalesce(m.verdict, ''), coalesce(m.created_at, 'epoch'),
		       m.active_at, m.scored_at, coalesce((m.canary->>'done')::boolean, false),
		       (SELECT max(day) FROM timing_days d WHERE d.model = m.version AND m.state = 'active'),
		       coalesce(m.version = (SELECT max(version) FROM timing_models), false)
		FROM timing_state s LEFT JOIN timing_models m
		  ON m.state IN ('training', 'candidate', 'canary', 'active') OR m.version = (SELECT max(version) FROM timing_models)`)
	if err != nil {
		return nil, nil, fmt.Errorf("look for what is due: %w", err)
	}
	var m standing
	_, err = pgx.ForEachRow(rows, []any{&matured, &m.version, &m.state, &m.verdict, &m.created, &m.activeAt, &m.scoredAt, &m.judged, &m.lastDay, &m.newest}, func() error {
		if m.version > 0 {
			all = append(all, m)
		}
		return nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("look for what is due: %w", err)
	}
	return matured, all, nil
}

// diaryDue: a day of sending has ended before the given moment and is not
// written yet.
func (m *standing) diaryDue(matured time.Time) bool {
	if m.activeAt == nil {
		return false
	}
	from := m.activeAt.UTC().Truncate(day)
	if m.lastDay != nil && !m.lastDay.Before(from) {
		from = m.lastDay.Add(day)
	}
	return !from.Add(day).After(matured)
}

// scoringDue: a candidate waits for its trial, or hours are a day old.
func (m *standing) scoringDue(now time.Time) bool {
	switch m.state {
	case Candidate:
		return true
	case OnTrial, Active:
		return m.verdict == dto.Clusters && (m.scoredAt == nil || now.Sub(*m.scoredAt) >= scoreEvery)
	}
	return false
}

// askForScores plans the scoring of what waits for it.
func (r *Registry) askForScores(ctx context.Context) error {
	now := r.clock.Now()
	err := pg.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		if err := lockRegistry(ctx, tx); err != nil {
			return err
		}
		all, err := records(ctx, tx, `WHERE state IN ('candidate', 'canary', 'active') ORDER BY version`)
		if err != nil {
			return err
		}
		candidate := 0
		for _, m := range all {
			s := standing{state: m.State, verdict: m.Verdict, scoredAt: m.ScoredAt}
			switch {
			case m.State == Candidate:
				candidate = m.Version
			case s.scoringDue(now):
				if err := plan(ctx, tx, kairos.KindScore, m.Version, now); err != nil {
					return err
				}
			}
		}
		if candidate == 0 {
			return nil
		}
		return r.queueForTrial(ctx, tx, candidate)
	})
	if err != nil {
		return fmt.Errorf("ask for scores: %w", err)
	}
	return nil
}

// trainAt is when the next training starts by itself; nil: never, or when
// something was explored. The caller knows that nothing is in training or on
// trial.
func (r *Registry) trainAt(ctx context.Context, all []standing) (*time.Time, error) {
	if r.opts.TrainEvery < 0 {
		return nil, nil
	}
	for _, m := range all {
		if m.newest {
			at := m.created.Add(r.opts.TrainEvery)
			if m.state == Failed {
				at = m.created.Add(min(r.opts.TrainEvery, afterFail))
			}
			return &at, nil
		}
	}
	var first *time.Time
	if err := r.pool.QueryRow(ctx, `SELECT min(sent_at) FROM exposures`).Scan(&first); err != nil {
		return nil, fmt.Errorf("find first exposure: %w", err)
	}
	if first == nil {
		return nil, nil
	}
	at := first.Add(r.opts.TrainEvery)
	return &at, nil
}

// trainByItself requests the periodic training unless somebody else just did.
func (r *Registry) trainByItself(ctx context.Context) error {
	now := r.clock.Now()
	err := pg.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		if err := lockRegistry(ctx, tx); err != nil {
			return err
		}
		late, err := records(ctx, tx, `WHERE state IN ('training', 'candidate', 'canary') OR created_at > $1 LIMIT 1`,
			now.Add(-min(r.opts.TrainEvery, afterFail)))
		if err != nil || len(late) > 0 {
			return err
		}
		_, err = r.request(ctx, tx, By{kairosItself, "The time for a new training has come."})
		return err
	})
	if err != nil {
		return fmt.Errorf("plan training: %w", err)
	}
	return nil
}

// sweep deletes the hours of models that will not come back: all but those in
// the race and the last one that a rollback would restore.
func (r *Registry) sweep(ctx context.Context) error {
	_, err := r.pool.Exec(ctx, `
		DELETE FROM timing_scores WHERE model IN (
			SELECT version FROM timing_models WHERE state = 'rejected' OR state = 'retired' AND active_at < (
				SELECT max(active_at) FROM timing_models WHERE state = 'retired'))`)
	if err != nil {
		return fmt.Errorf("sweep scores: %w", err)
	}
	return nil
}
