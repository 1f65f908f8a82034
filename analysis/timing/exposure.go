package timing

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos/internal/pg"
)

// matureEvery is how much domain time passes between two looks for exposures
// that have matured, so that Watch costs one small query in between.
const matureEvery = time.Hour

// stride bounds the sending time whose exposures one transaction takes in.
const stride = 2 * 24 * time.Hour

// respondedSQL says whether the message of journey j was responded to within
// the response window, given as the parameter $1: a human click in time, or,
// where no click is known, something that takes one.
const respondedSQL = `coalesce(j.clicked_at < j.sent_at + $1::interval,
	j.state ?| ARRAY['viewed', 'cta', 'offer_accepted', 'offer_declined'])`

// mature takes in the exposures whose response window has passed, and those of
// a while before anew: what the fold learnt late is mended. Any number of
// processes may call it; they take turns.
func (r *Registry) mature(ctx context.Context) error {
	until := r.clock.Now().Add(-r.opts.ResponseWindow)
	for again := false; ; again = true {
		done := false
		err := pg.InTx(ctx, r.pool, func(tx pgx.Tx) (err error) {
			done, err = r.matureSome(ctx, tx, until, again)
			return err
		})
		if err != nil {
			return fmt.Errorf("take matured exposures: %w", err)
		}
		if done {
			return nil
		}
	}
}

// matureSome takes in at most one stride and reports whether until is reached.
// Only the first one of a catch-up looks back.
func (r *Registry) matureSome(ctx context.Context, tx pgx.Tx, until time.Time, again bool) (done bool, err error) {
	// A day of many messages takes longer than a request may, and so does waiting for it.
	if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = '30min'; SET LOCAL lock_timeout = 0`); err != nil {
		return false, err
	}
	var known *time.Time
	if err := tx.QueryRow(ctx, `SELECT matured_until FROM timing_state FOR UPDATE`).Scan(&known); err != nil {
		return false, err
	}
	oldest := until.Add(-r.opts.History)
	from := oldest
	if known != nil {
		if !known.Before(until) {
			return true, nil
		}
		switch {
		case again:
			from = *known
		case known.Truncate(day).Equal(until.Truncate(day)):
			from = known.Add(-foldLag)
		default: // once a day
			from = known.Add(-2*r.opts.ResponseWindow - foldLag)
		}
	} else {
		var first *time.Time
		if err := tx.QueryRow(ctx, `SELECT min(explored_at) FROM journeys WHERE explored_at IS NOT NULL`).Scan(&first); err != nil {
			return false, err
		}
		if first == nil {
			return true, nil // nothing was ever explored: the mark stays unset, so that the first is not missed
		}
		from, known = *first, first
	}
	if from.Before(oldest) {
		from = oldest
	}
	to := until
	if next := known.Add(stride); next.Before(to) {
		to = next
	}
	if to.Before(oldest) { // nobody looked for longer than the history
		to = oldest
	}
	n0, r0, err := countExposures(ctx, tx, from)
	if err != nil {
		return false, err
	}
	if err := r.takeExposures(ctx, tx, from, to); err != nil {
		return false, err
	}
	n1, r1, err := countExposures(ctx, tx, from)
	if err != nil {
		return false, err
	}
	gone, unresponded, err := forgetExposures(ctx, tx, oldest)
	if err != nil {
		return false, err
	}
	_, err = tx.Exec(ctx, `UPDATE timing_state SET matured_until = $1, exposures = exposures + $2, responses = responses + $3`,
		to, n1-n0-gone, r1-r0-unresponded)
	return !to.Before(until), err
}

// exploredSQL gathers what was explored in [$2, $3).
const exploredSQL = `
	INSERT INTO timing_explored
	SELECT j.notification, j.contact, j.campaign, j.sent_at, n.slot % 24, n.eligible, n.propensity, ` + respondedSQL + `,
	       CASE WHEN j.sent_at - least(n.planned_at, j.starts_at) > interval '1 hour' THEN 'late'
	            WHEN EXISTS (SELECT FROM journeys o WHERE o.contact = j.contact AND o.notification <> j.notification
	                         AND o.sent_at > j.sent_at - $1::interval AND o.sent_at < j.sent_at + $1::interval) THEN 'overlap'
	       END
	FROM journeys j JOIN notifications n ON n.id = j.notification AND n.campaign = j.campaign
	WHERE j.explored_at >= $2 AND j.explored_at < $3 AND n.slot IS NOT NULL`

// foldSQL upserts what was gathered. A notification's mask of hours of the week
// is folded to hours of the day once for each mask, not for each notification:
// there are few.
const foldSQL = `
	WITH hours AS MATERIALIZED (
		SELECT eligible, s % 24 AS hour, count(*) AS n
		FROM (SELECT DISTINCT eligible FROM timing_explored WHERE length(eligible) = 21) e, generate_series(0, 167) s
		WHERE get_bit(eligible, s) = 1 GROUP BY 1, 2
	), folded AS MATERIALIZED (
		SELECT eligible, hour, n::float8 / sum(n) OVER (PARTITION BY eligible) AS propensity,
		       bit_or(1 << hour) OVER (PARTITION BY eligible) AS allowed
		FROM hours
	)
	INSERT INTO exposures AS x (notification, contact, campaign, sent_at, hour, allowed, propensity, responded, dropped)
	SELECT e.notification, e.contact, e.campaign, e.sent_at, e.hour, coalesce(f.allowed, 1 << e.hour),
	       coalesce(f.propensity, e.propensity), e.responded, e.dropped
	FROM timing_explored e LEFT JOIN folded f USING (eligible, hour)
	ON CONFLICT (notification) DO UPDATE
	SET sent_at = excluded.sent_at, responded = excluded.responded, dropped = excluded.dropped
	WHERE (x.sent_at, x.responded, x.dropped) IS DISTINCT FROM (excluded.sent_at, excluded.responded, excluded.dropped)`

// takeExposures upserts the exposures of what was sent in [from, to).
func (r *Registry) takeExposures(ctx context.Context, tx pgx.Tx, from, to time.Time) error {
	_, err := tx.Exec(ctx, `
		CREATE TEMP TABLE timing_explored (notification uuid, contact uuid, campaign uuid, sent_at timestamptz, hour int,
			eligible bytea, propensity float8, responded boolean, dropped text) ON COMMIT DROP`)
	if err != nil {
		return err
	}
	// Statistics may be of a time when the tables were small.
	if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
		return err
	}
	tag, err := tx.Exec(ctx, exploredSQL, r.opts.ResponseWindow, from, to)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = on; ANALYZE timing_explored`); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, foldSQL)
	return err
}

// countExposures counts those that teach something, and the responses to them.
func countExposures(ctx context.Context, tx pgx.Tx, from time.Time) (n, responses int64, err error) {
	err = tx.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE responded) FROM exposures WHERE sent_at >= $1 AND dropped IS NULL`, from).Scan(&n, &responses)
	return n, responses, err
}

// forgetExposures deletes what is older than the history.
func forgetExposures(ctx context.Context, tx pgx.Tx, oldest time.Time) (n, responses int64, err error) {
	err = tx.QueryRow(ctx, `
		WITH gone AS (DELETE FROM exposures WHERE sent_at < $1 RETURNING responded, dropped)
		SELECT count(*), count(*) FILTER (WHERE responded) FROM gone WHERE dropped IS NULL`, oldest).Scan(&n, &responses)
	return n, responses, err
}
