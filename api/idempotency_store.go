package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// record is a row of idempotency_keys. Its times are the machine's: a retry
// happens in real time also where the domain's clock runs fast.
type record struct {
	caller, key string
	request     []byte
	state       string
	answer      *memory
}

// take makes the caller the holder of the key, whose lease it returns: the
// fence of all later writes. A zero lease means that the key is taken, by old.
func (r *record) take(ctx context.Context, pool *pgxpool.Pool) (held time.Time, old *record, err error) {
	err = pool.QueryRow(ctx, `
		INSERT INTO idempotency_keys AS k (caller, key, request, state, lease_until, created_at)
		VALUES ($1, $2, $3, 'running', clock_timestamp() + $4::interval, clock_timestamp())
		ON CONFLICT (caller, key) DO UPDATE
		SET request = excluded.request, state = 'running', lease_until = excluded.lease_until, created_at = excluded.created_at,
		    status = NULL, headers = NULL, body = NULL
		WHERE (k.state = 'done' AND k.created_at < clock_timestamp() - interval '24 hours')
		   OR (k.state = 'running' AND k.lease_until < clock_timestamp())
		RETURNING lease_until`, r.caller, r.key, r.request, lease).Scan(&held)
	if err == nil {
		return held, nil, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil, fmt.Errorf("take idempotency key: %w", err)
	}
	old = &record{answer: &memory{header: http.Header{}}}
	var status *int
	var headers, body []byte
	err = pool.QueryRow(ctx, `
		SELECT request, state, status, headers, body FROM idempotency_keys WHERE caller = $1 AND key = $2`, r.caller, r.key).
		Scan(&old.request, &old.state, &status, &headers, &body)
	if errors.Is(err, pgx.ErrNoRows) { // dropped in between
		return time.Time{}, nil, nil
	}
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("read idempotency key: %w", err)
	}
	if old.state == "done" && status != nil {
		if err := json.Unmarshal(headers, &old.answer.header); err != nil {
			return time.Time{}, nil, fmt.Errorf("read idempotent answer: %w", err)
		}
		old.answer.status = *status
		old.answer.body.Write(body)
	}
	return time.Time{}, old, nil
}

// keep renews the lease until stop is called, which returns after the last
// renewal. held follows the lease.
func (r *record) keep(ctx context.Context, pool *pgxpool.Pool, held *time.Time) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				var until time.Time
				err := pool.QueryRow(ctx, `
					UPDATE idempotency_keys SET lease_until = clock_timestamp() + $4::interval
					WHERE caller = $1 AND key = $2 AND state = 'running' AND lease_until = $3
					RETURNING lease_until`, r.caller, r.key, *held, lease).Scan(&until)
				if err == nil {
					*held = until
				}
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// store keeps the answer.
func (r *record) store(ctx context.Context, pool *pgxpool.Pool, held time.Time, m *memory) error {
	headers, err := json.Marshal(m.header)
	if err != nil {
		return fmt.Errorf("store idempotent answer: %w", err)
	}
	tag, err := pool.Exec(ctx, `
		UPDATE idempotency_keys SET state = 'done', status = $4, headers = $5, body = $6, request = $7, lease_until = NULL
		WHERE caller = $1 AND key = $2 AND state = 'running' AND lease_until = $3`,
		r.caller, r.key, held, m.status, string(headers), m.body.Bytes(), r.request)
	if err != nil {
		return fmt.Errorf("store idempotent answer %s: %w", r.keyText(), err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("store idempotent answer %s: %w", r.keyText(), errLost)
	}
	return nil
}

// drop frees the key for the next try.
func (r *record) drop(ctx context.Context, pool *pgxpool.Pool, held time.Time) error {
	_, err := pool.Exec(ctx, `
		DELETE FROM idempotency_keys WHERE caller = $1 AND key = $2 AND state = 'running' AND lease_until = $3`,
		r.caller, r.key, held)
	if err != nil {
		return fmt.Errorf("drop idempotency key %s: %w", r.keyText(), err)
	}
	return nil
}

// PurgeIdempotency removes answers older than 24 hours and keys whose request
// died, and returns how many. Periodic work of the leader.
func PurgeIdempotency(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	tag, err := pool.Exec(ctx, `
		DELETE FROM idempotency_keys WHERE created_at < clock_timestamp() - interval '24 hours'
		  AND (state = 'done' OR lease_until < clock_timestamp())`)
	if err != nil {
		return 0, fmt.Errorf("purge idempotency keys: %w", err)
	}
	return tag.RowsAffected(), nil
}
