package timing

import (
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

// Bounds of a batch's tries.
const (
	maxTries = 10              // claims, after which a run that never ends is a failed one
	retry    = 5 * time.Second // of domain time, before a run that met trouble is tried again
)

// TrainTask asks for a training run.
type TrainTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (TrainTask) Kind() string { return kairos.KindTrain }

// Request asks for a training; it runs in the background. Errors:
// ErrInvalid (no name), ErrConflict (one is running).
func (r *Registry) Request(ctx context.Context, by By) (Model, error) {
	by, err := by.check()
	if err != nil {
		return Model{}, err
	}
	version := 0
	err = pg.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		if err := lockRegistry(ctx, tx); err != nil {
			return err
		}
		running, err := holding(ctx, tx, Training, "")
		if err != nil {
			return err
		}
		if running != nil {
			return conflict("model %d is being trained", running.Version)
		}
		version, err = r.request(ctx, tx, by)
		return err
	})
	if err != nil {
		return Model{}, fmt.Errorf("request training: %w", err)
	}
	return r.Model(ctx, version)
}

// request writes the run down and plans its batch. The caller holds the
// registry's lock and knows that no other run is open.
func (r *Registry) request(ctx context.Context, tx pgx.Tx, by By) (version int, err error) {
	now := r.clock.Now()
	err = tx.QueryRow(ctx, `
		INSERT INTO timing_models (state, parent, code, seed, requested_by, request_reason, reason, created_at)
		VALUES ('training', (SELECT version FROM timing_models WHERE state = 'active'), $1, $2, $3, $4, $5, $6) RETURNING version`,
		r.opts.Code, int64(r.opts.Seed), by.Name, by.Reason, "Requested by "+by.Name+": "+by.Reason, now).Scan(&version)
	if err != nil {
		return 0, err
	}
	if err := decide(ctx, tx, version, Decision{now, "requested", by.Name, by.Reason}, "", nil); err != nil {
		return 0, err
	}
	return version, plan(ctx, tx, kairos.KindTrain, version, now)
}

// Train fits a model on a snapshot of the log as it stands.
func (r *Registry) Train(ctx context.Context, task TrainTask) ([]kairos.Task, error) {
	return nil, r.run(ctx, task.Ref, func(ctx context.Context, ref kairos.Ref, version, tries int) error {
		err := r.train(ctx, ref, version, tries)
		if errors.Is(err, kairos.ErrInvalid) || errors.Is(err, kairos.ErrPermanent) {
			return r.fail(ctx, ref, version, err)
		}
		return err
	})
}

// run claims a batch about a version and does the work while it is held. What
// the work cannot do now is put off; a batch that was taken away is dropped.
func (r *Registry) run(ctx context.Context, ref kairos.Ref, work func(ctx context.Context, ref kairos.Ref, version, tries int) error) error {
	claim, err := batch.Claim(ctx, r.pool, ref, r.opts.Owner, batch.Lease)
	if claim == nil || err != nil {
		return err
	}
	held, stop := batch.Keep(ctx, r.pool, ref, r.opts.Owner, batch.Lease)
	defer stop()
	var o order
	if err := claim.Into(&o); err != nil {
		return errors.Join(err, batch.Finish(ctx, r.pool, ref))
	}
	err = work(held, ref, o.Version, claim.Tries)
	switch {
	case err == nil, errors.Is(err, batch.ErrFenced), errors.Is(context.Cause(held), batch.ErrFenced):
		return nil
	}
	put, end := context.WithTimeout(context.WithoutCancel(ctx), batch.Lease)
	defer end()
	if derr := batch.Defer(put, r.pool, ref, r.clock.Now().Add(retry), err); derr != nil && !errors.Is(derr, batch.ErrFenced) {
		return fmt.Errorf("put off %s: %w", claim.Kind, errors.Join(err, derr))
	}
	r.opts.Log.Warn("put off", "stage", "timing", "kind", claim.Kind, "version", o.Version, "err", err)
	return nil
}

// train does one run. It writes nothing before the last transaction but the
// exposures, which mature whoever looks.
func (r *Registry) train(ctx context.Context, ref kairos.Ref, version, tries int) error {
	m, err := one(ctx, r.pool, version, "")
	if err != nil && !errors.Is(err, kairos.ErrNotFound) {
		return err
	}
	if err != nil || m.State != Training {
		return batch.Finish(ctx, r.pool, ref)
	}
	if tries > maxTries {
		return fmt.Errorf("it was tried %d times and never came to its end: %w", maxTries, kairos.ErrPermanent)
	}
	if err := r.mature(ctx); err != nil {
		return err
	}
	s, err := r.snapshot(ctx)
	if err != nil {
		return err
	}
	fit, err := dto.Fit(s.data, dto.Options{Seed: m.Seed, Verdict: dto.VerdictOptions{Alpha: r.alpha(s.look)}})
	if err != nil {
		return err
	}
	fit.People = s.People
	s.Comparing = comparing(s.data)
	sober(fit, s.Comparing)
	if err := context.Cause(ctx); err != nil { // the fit does not look
		return err
	}
	var current *record
	if s.parent != nil {
		if current, err = one(ctx, r.pool, *s.parent, ""); err != nil {
			return err
		}
	}
	value := evaluate(s, fit, current)
	return r.conclude(ctx, ref, m, s, fit, value)
}

// conclude stores the model with its verdict and what follows from it.
func (r *Registry) conclude(ctx context.Context, ref kairos.Ref, m *record, s *snapshot, fit *dto.Model, value *OffPolicy) error {
	now := r.clock.Now()
	m.Verdict, m.Data, m.fit, m.look = fit.Decision.Verdict, &s.Snapshot, fit, s.look
	m.State, m.Reason = Rejected, verdictReason(fit, s.Comparing)
	if fit.Decision.Verdict == dto.Global || fit.Decision.Verdict == dto.Clusters {
		m.State = Candidate
	}
	eta := make([]float64, kairos.HoursPerDay)
	fit.Scorer().Score(eta, make([]float32, kairos.HoursPerDay))
	hours := rank(make([]byte, 0, kairos.HoursPerDay), eta, fit.Mask)
	return pg.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		if err := lockRegistry(ctx, tx); err != nil {
			return err
		}
		if err := batch.Hold(ctx, tx, ref); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `
			UPDATE timing_models SET state = $2, parent = $3, look = $4, verdict = $5, data = $6, hours = $7, model = $8, off_policy = $9,
			       reason = $10, trained_at = $11, ended_at = CASE WHEN $2 = 'rejected' THEN $11::timestamptz END
			WHERE version = $1 AND state = 'training'`,
			m.Version, m.State, s.parent, s.look, string(m.Verdict), m.Data, hours, fit, value, m.Reason, now)
		if err != nil {
			return fmt.Errorf("store model: %w", err)
		}
		if tag.RowsAffected() == 1 {
			err := decide(ctx, tx, m.Version, Decision{now, "trained", kairosItself, m.Reason}, kairos.ModelTrained, map[string]any{"verdict": m.Verdict})
			if err != nil {
				return err
			}
			if m.State == Candidate {
				if err := r.queueForTrial(ctx, tx, m.Version); err != nil {
					return err
				}
			}
		}
		return batch.Finish(ctx, tx, ref)
	})
}

// fail ends a run with an error and an alarm; everything else stays.
func (r *Registry) fail(ctx context.Context, ref kairos.Ref, version int, cause error) error {
	now := r.clock.Now()
	return pg.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		if err := batch.Hold(ctx, tx, ref); err != nil {
			return err
		}
		const reason = "The training failed; whatever was planning messages goes on planning them."
		tag, err := tx.Exec(ctx, `
			UPDATE timing_models SET state = 'failed', error = $2, reason = $3, ended_at = $4 WHERE version = $1 AND state = 'training'`,
			version, cause.Error(), reason, now)
		if err != nil {
			return fmt.Errorf("store failure: %w", err)
		}
		if tag.RowsAffected() == 1 {
			err := decide(ctx, tx, version, Decision{now, "failed", kairosItself, cause.Error()}, kairos.ModelFailed, nil)
			if err != nil {
				return err
			}
		}
		r.opts.Log.Error("training failed", "stage", "timing", "version", version, "err", cause)
		return batch.Finish(ctx, tx, ref)
	})
}
