package timing

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/dto"
	"kairos/internal/batch"
	"kairos/internal/eventlog"
)

// kairosItself is who decided what follows from rules.
const kairosItself = "kairos"

// record is a row of timing_models.
type record struct {
	Model
	look  int
	hours []byte
	fit   *dto.Model // nil: not trained
	watch *watch     // nil: never active
}

const recordColumns = `version, state, coalesce(verdict, ''), reason, parent, coalesce(error, ''), created_at, trained_at, active_at,
	ended_at, scored_at, code, seed, look, hours, data, model, off_policy, canary, drift`

// records loads rows of the registry; where may use args.
func records(ctx context.Context, db batch.DB, where string, args ...any) ([]*record, error) {
	rows, err := db.Query(ctx, `SELECT `+recordColumns+` FROM timing_models `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("load models: %w", err)
	}
	found, err := pgx.CollectRows(rows, scanRecord)
	if err != nil {
		return nil, fmt.Errorf("load models: %w", err)
	}
	return found, nil
}

func scanRecord(row pgx.CollectableRow) (*record, error) {
	m := &record{}
	var seed int64
	var data, model, offPolicy, canary, drift []byte
	err := row.Scan(&m.Version, &m.State, &m.Verdict, &m.Reason, &m.Parent, &m.Error, &m.CreatedAt, &m.TrainedAt, &m.ActiveAt,
		&m.EndedAt, &m.ScoredAt, &m.Code, &seed, &m.look, &m.hours, &data, &model, &offPolicy, &canary, &drift)
	if err != nil {
		return nil, err
	}
	m.Seed = uint64(seed)
	for _, part := range []struct {
		raw  []byte
		into any
	}{{data, &m.Data}, {model, &m.fit}, {offPolicy, &m.OffPolicy}, {canary, &m.Canary}, {drift, &m.watch}} {
		if part.raw == nil {
			continue
		}
		if err := json.Unmarshal(part.raw, part.into); err != nil {
			return nil, fmt.Errorf("read model %d: %w", m.Version, err)
		}
	}
	return m, nil
}

// one loads a version, kairos.ErrNotFound where there is none. lock is a
// locking clause or empty.
func one(ctx context.Context, db batch.DB, version int, lock string) (*record, error) {
	found, err := records(ctx, db, `WHERE version = $1 `+lock, version)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("load model %d: %w", version, kairos.ErrNotFound)
	}
	return found[0], nil
}

// holding loads the one version in a state that at most one can be in; nil: none.
func holding(ctx context.Context, db batch.DB, state, lock string) (*record, error) {
	found, err := records(ctx, db, `WHERE state = $1 ORDER BY version DESC LIMIT 1 `+lock, state)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// lockRegistry makes those who change what is on trial, active or in training
// take turns. It lasts until the transaction ends.
func lockRegistry(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtext('kairos.timing'))`)
	return err
}

// decide writes down who did what, and tells the log where kind is not empty.
func decide(ctx context.Context, tx pgx.Tx, version int, d Decision, kind string, more map[string]any) error {
	_, err := tx.Exec(ctx, `INSERT INTO timing_decisions (version, at, action, actor, reason) VALUES ($1, $2, $3, $4, $5)`,
		version, d.At, d.Action, d.Actor, d.Reason)
	if err != nil {
		return fmt.Errorf("write decision: %w", err)
	}
	if kind == "" {
		return nil
	}
	data := map[string]any{"version": version, "actor": d.Actor, "reason": d.Reason}
	for k, v := range more {
		data[k] = v
	}
	return tell(ctx, tx, kind, d.At, data)
}

// tell records an event about a model.
func tell(ctx context.Context, tx pgx.Tx, kind string, at time.Time, data map[string]any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	_, err = eventlog.Append(ctx, tx, kairos.Event{Kind: kind, OccurredAt: at, Data: raw})
	return err
}

func decisions(ctx context.Context, db batch.DB, version int) ([]Decision, error) {
	rows, err := db.Query(ctx, `SELECT at, action, actor, reason FROM timing_decisions WHERE version = $1 ORDER BY number`, version)
	if err != nil {
		return nil, fmt.Errorf("load decisions: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Decision])
	if err != nil {
		return nil, fmt.Errorf("load decisions: %w", err)
	}
	return found, nil
}

// order is what a batch of training or scoring is told.
type order struct {
	Version int `json:"version"`
}

// plan inserts a batch for a version unless an open one of its kind is there.
// The caller holds the registry's lock.
func plan(ctx context.Context, tx pgx.Tx, kind string, version int, now time.Time) error {
	var open bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM batches WHERE kind = $1 AND state = 'planned' AND payload->>'version' = $2::text)
		    OR EXISTS (SELECT FROM batches WHERE kind = $1 AND state IN ('queued', 'running') AND payload->>'version' = $2::text)`,
		kind, fmt.Sprint(version)).Scan(&open)
	if err != nil {
		return fmt.Errorf("look for open batch: %w", err)
	}
	if open {
		return nil
	}
	_, err = batch.Insert(ctx, tx, batch.Batch{Kind: kind, Slot: now, Payload: order{version}})
	return err
}
