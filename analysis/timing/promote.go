package timing

import (
	"context"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/dto"
	"kairos/internal/pg"
)

// check trims a person's name and reason and names the one that is missing.
func (b By) check() (By, error) {
	b.Name, b.Reason = strings.TrimSpace(b.Name), strings.TrimSpace(b.Reason)
	switch {
	case b.Name == "":
		return b, kairos.Invalid("by", "must name the person who decides")
	case utf8.RuneCountInString(b.Name) > 200:
		return b, kairos.Invalid("by", "must have at most 200 characters")
	case b.Reason == "":
		return b, kairos.Invalid("reason", "must say why")
	case utf8.RuneCountInString(b.Reason) > 1000:
		return b, kairos.Invalid("reason", "must have at most 1,000 characters")
	}
	return b, nil
}

// settle takes a person's decision about a version in one transaction, in which
// nobody else changes the registry.
func (r *Registry) settle(ctx context.Context, what string, version int, by By, do func(tx pgx.Tx, m *record, d Decision) error) (Model, error) {
	by, err := by.check()
	if err != nil {
		return Model{}, err
	}
	err = pg.InTx(ctx, r.pool, func(tx pgx.Tx) error {
		if err := lockRegistry(ctx, tx); err != nil {
			return err
		}
		m, err := one(ctx, tx, version, "FOR UPDATE")
		if err != nil {
			return err
		}
		return do(tx, m, Decision{At: r.clock.Now(), Actor: by.Name, Reason: by.Reason})
	})
	if err != nil {
		return Model{}, fmt.Errorf("%s model %d: %w", what, version, err)
	}
	return r.Model(ctx, version)
}

// end takes a version out of the race, with who did it and why.
func (r *Registry) end(ctx context.Context, tx pgx.Tx, version int, state string, d Decision, kind string) error {
	_, err := tx.Exec(ctx, `UPDATE timing_models SET state = $2, reason = $3, ended_at = $4 WHERE version = $1`, version, state, d.Reason, d.At)
	if err != nil {
		return fmt.Errorf("end model: %w", err)
	}
	return decide(ctx, tx, version, d, kind, nil)
}

// Promote makes a model that passed its trial the active one. ErrConflict says
// what is missing: a verdict, a trial, its pass.
func (r *Registry) Promote(ctx context.Context, version int, by By) (Model, error) {
	return r.settle(ctx, "promote", version, by, func(tx pgx.Tx, m *record, d Decision) error {
		if missing := missingFor(m); missing != "" {
			return conflict("%s", missing)
		}
		former, err := holding(ctx, tx, Active, "FOR UPDATE")
		if err != nil {
			return err
		}
		if former != nil {
			was := Decision{d.At, "retired", d.Actor, fmt.Sprintf("Model %d took its place: %s", version, d.Reason)}
			if err := r.end(ctx, tx, former.Version, Retired, was, ""); err != nil {
				return err
			}
		}
		then, err := bestHours(ctx, tx, version)
		if err != nil {
			return err
		}
		w := newWatch(m, then)
		_, err = tx.Exec(ctx, `UPDATE timing_models SET state = 'active', active_at = $2, reason = $3, drift = $4 WHERE version = $1`,
			version, d.At, "Promoted by "+d.Actor+": "+d.Reason, w)
		if err != nil {
			return fmt.Errorf("store promotion: %w", err)
		}
		d.Action = "promoted"
		return decide(ctx, tx, version, d, kairos.ModelPromoted, nil)
	})
}

// missingFor says what a version lacks to be promoted; "": nothing.
func missingFor(m *record) string {
	switch {
	case m.State == Active:
		return "it is active already"
	case m.State == Training:
		return "it is still being trained: it has neither a verdict nor a trial"
	case m.State == Candidate:
		return "it has not been on trial yet"
	case m.State != OnTrial:
		return "it is " + m.State + ": only a model that passed its trial can be promoted"
	case m.Canary == nil || !m.Canary.Done:
		progress := 0.0
		if m.Canary != nil {
			progress = m.Canary.Progress
		}
		return fmt.Sprintf("its trial is not over: %.0f %% of the messages that it needs have been counted", 100*math.Floor(100*progress)/100)
	case !m.Canary.Pass:
		return "it did not pass its trial"
	}
	return ""
}

// Reject ends a candidate or a trial.
func (r *Registry) Reject(ctx context.Context, version int, by By) (Model, error) {
	return r.settle(ctx, "reject", version, by, func(tx pgx.Tx, m *record, d Decision) error {
		if m.State != Candidate && m.State != OnTrial {
			return conflict("it is %s: only a candidate or a model on trial can be rejected", m.State)
		}
		d.Action = "rejected"
		return r.end(ctx, tx, version, Rejected, d, kairos.ModelRejected)
	})
}

// Rollback takes the active model out of service; the one that was active
// before it, if any, is active again.
func (r *Registry) Rollback(ctx context.Context, version int, by By) (Model, error) {
	return r.settle(ctx, "roll back", version, by, func(tx pgx.Tx, m *record, d Decision) error {
		if m.State != Active {
			return conflict("it is %s: only the active model can be rolled back", m.State)
		}
		former, err := records(ctx, tx, `
			WHERE state = 'retired' AND active_at < $1
			  AND NOT EXISTS (SELECT FROM timing_decisions d WHERE d.version = timing_models.version AND d.action = 'rolled_back')
			ORDER BY active_at DESC LIMIT 1 FOR UPDATE`, m.ActiveAt)
		if err != nil {
			return err
		}
		d.Action = "rolled_back"
		if err := r.end(ctx, tx, version, Retired, d, ""); err != nil {
			return err
		}
		to := map[string]any{"version": version, "actor": d.Actor, "reason": d.Reason, "to": nil}
		if len(former) > 0 {
			back := former[0]
			to["to"] = back.Version
			if err := r.restore(ctx, tx, back, Decision{d.At, "promoted", d.Actor, fmt.Sprintf("Active again: model %d was rolled back. %s", version, d.Reason)}); err != nil {
				return err
			}
		}
		return tell(ctx, tx, kairos.ModelRolledBack, d.At, to)
	})
}

// restore makes a retired model active again: its hours are computed anew, and
// the watch over it begins anew with the lift it was promoted for.
func (r *Registry) restore(ctx context.Context, tx pgx.Tx, m *record, d Decision) error {
	if m.watch == nil {
		m.watch = newWatch(m, nil)
	}
	m.watch.Level, m.watch.AlarmAt, m.watch.Reason = 0, nil, ""
	_, err := tx.Exec(ctx, `
		UPDATE timing_models SET state = 'active', active_at = $2, ended_at = NULL, reason = $3, drift = $4 WHERE version = $1`,
		m.Version, d.At, d.Reason, m.watch)
	if err != nil {
		return fmt.Errorf("restore model: %w", err)
	}
	if err := decide(ctx, tx, m.Version, d, "", nil); err != nil {
		return err
	}
	if m.Verdict != dto.Clusters {
		return nil
	}
	return plan(ctx, tx, kairos.KindScore, m.Version, d.At)
}

func conflict(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, kairos.ErrConflict)...)
}
