package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// Notification is one person's place in a campaign, as the ledger has it.
type Notification struct {
	ID        kairos.ID      `json:"id"`
	Campaign  kairos.ID      `json:"campaign"`
	Contact   kairos.ID      `json:"contact"`
	Step      string         `json:"step,omitempty"`
	Channel   kairos.Channel `json:"channel"`
	State     string         `json:"state"`
	Reason    kairos.Reason  `json:"reason,omitempty"`
	Arm       kairos.Arm     `json:"arm"`
	Zone      string         `json:"zone,omitempty"`
	PlannedAt time.Time      `json:"planned_at"`
	DecidedAt time.Time      `json:"decided_at"`
	DoneAt    *time.Time     `json:"done_at,omitempty"`
	NotBefore *time.Time     `json:"not_before,omitempty"` // of its open batch: a retry's moment
	Attempts  []Attempt      `json:"attempts,omitempty"`   // of Notification only
}

// Attempt is one try to hand a message over.
type Attempt struct {
	Number     int32      `json:"number"`
	Provider   string     `json:"provider"`
	State      string     `json:"state"`
	StartedAt  time.Time  `json:"started_at"`
	EndedAt    *time.Time `json:"ended_at,omitempty"`
	ProviderID string     `json:"provider_id,omitempty"`
	Code       string     `json:"code,omitempty"`
	Detail     string     `json:"detail,omitempty"`
	Evidence   string     `json:"evidence,omitempty"`
}

// NotificationQuery narrows Notifications; zero fields don't.
type NotificationQuery struct {
	Campaign kairos.ID // needed
	State    string
	Limit    int    // default 100, at most 1000
	After    string // next of the page before
}

const notificationColumns = `n.id, n.campaign, n.contact, n.step, n.channel, n.state, coalesce(n.reason, ''), n.arm, coalesce(n.zone, ''),
	n.planned_at, n.decided_at, n.done_at, (SELECT b.slot FROM batches b WHERE b.id = n.batch AND n.state = 'planned')`

func scanNotification(r pgx.CollectableRow) (n Notification, err error) {
	err = r.Scan(&n.ID, &n.Campaign, &n.Contact, &n.Step, &n.Channel, &n.State, &n.Reason, &n.Arm, &n.Zone,
		&n.PlannedAt, &n.DecidedAt, &n.DoneAt, &n.NotBefore)
	return n, err
}

// Notifications lists a campaign's notifications by id; next is "" at the end.
func (d *Delivery) Notifications(ctx context.Context, q NotificationQuery) (list []Notification, next string, err error) {
	if q.Campaign.IsZero() {
		return nil, "", kairos.Invalid("campaign", "is missing")
	}
	after, err := cursor(q.After)
	if err != nil {
		return nil, "", err
	}
	limit := pageSize(q.Limit)
	rows, err := d.pool.Query(ctx, `
		SELECT `+notificationColumns+` FROM notifications n
		WHERE n.campaign = $1 AND ($2 = '' OR n.state = $2) AND n.id > $3 ORDER BY n.id LIMIT $4`,
		q.Campaign, q.State, zeroID(after), limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list notifications of %s: %w", q.Campaign, err)
	}
	if list, err = pgx.CollectRows(rows, scanNotification); err != nil {
		return nil, "", fmt.Errorf("list notifications of %s: %w", q.Campaign, err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID.String()
	}
	return list, next, nil
}

// Notification returns one with its attempts, or kairos.ErrNotFound.
func (d *Delivery) Notification(ctx context.Context, id kairos.ID) (Notification, error) {
	rows, err := d.pool.Query(ctx, `SELECT `+notificationColumns+` FROM notifications n WHERE n.id = $1`, id)
	if err != nil {
		return Notification{}, fmt.Errorf("read notification %s: %w", id, err)
	}
	n, err := pgx.CollectOneRow(rows, scanNotification)
	if errors.Is(err, pgx.ErrNoRows) {
		return n, fmt.Errorf("notification %s: %w", id, kairos.ErrNotFound)
	}
	if err != nil {
		return n, fmt.Errorf("read notification %s: %w", id, err)
	}
	rows, err = d.pool.Query(ctx, `
		SELECT number, provider, state, started_at, ended_at, coalesce(provider_id, ''), coalesce(code, ''), coalesce(detail, ''), coalesce(evidence, '')
		FROM attempts WHERE notification = $1 AND campaign = $2 ORDER BY number`, id, n.Campaign)
	if err != nil {
		return n, fmt.Errorf("read attempts of %s: %w", id, err)
	}
	n.Attempts, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (a Attempt, err error) {
		err = r.Scan(&a.Number, &a.Provider, &a.State, &a.StartedAt, &a.EndedAt, &a.ProviderID, &a.Code, &a.Detail, &a.Evidence)
		return a, err
	})
	if err != nil {
		return n, fmt.Errorf("read attempts of %s: %w", id, err)
	}
	return n, nil
}

// Progress counts where a campaign's recipients stand.
type Progress struct {
	Planned   int64 `json:"planned"` // decided to be sent, whatever came of it
	Skipped   int64 `json:"skipped"`
	Sent      int64 `json:"sent"` // accepted and unknown
	Accepted  int64 `json:"accepted"`
	Unknown   int64 `json:"unknown"`
	Failed    int64 `json:"failed"`
	HeldOut   int64 `json:"held_out"`
	Cancelled int64 `json:"cancelled"`
	Pending   int64 `json:"pending"` // still to be sent
	Total     int64 `json:"total"`   // everybody concerned; the audience's size while it is being planned
}

// Progress reads the counts of a campaign in one statement.
func (d *Delivery) Progress(ctx context.Context, campaign kairos.ID) (Progress, error) {
	var p Progress
	err := d.pool.QueryRow(ctx, `
		WITH counts AS (
			SELECT state, count(*) AS n, count(*) FILTER (WHERE batch IS NOT NULL) AS batched
			FROM notifications WHERE campaign = $1 GROUP BY state
		), t AS (
			SELECT coalesce(sum(batched), 0) AS planned, coalesce(sum(n), 0) AS total,
			       coalesce(sum(n) FILTER (WHERE state = 'skipped'), 0) AS skipped,
			       coalesce(sum(n) FILTER (WHERE state = 'accepted'), 0) AS accepted,
			       coalesce(sum(n) FILTER (WHERE state = 'unknown'), 0) AS unknown,
			       coalesce(sum(n) FILTER (WHERE state = 'failed'), 0) AS failed,
			       coalesce(sum(n) FILTER (WHERE state = 'held_out'), 0) AS held_out,
			       coalesce(sum(n) FILTER (WHERE state = 'cancelled'), 0) AS cancelled,
			       coalesce(sum(n) FILTER (WHERE state = 'planned'), 0) AS pending
			FROM counts)
		SELECT t.planned, t.skipped, t.accepted + t.unknown, t.accepted, t.unknown, t.failed, t.held_out, t.cancelled, t.pending,
		       CASE WHEN c.kind = 'campaign' AND c.launched_at IS NOT NULL AND c.state <> 'finished'
		                 AND (c.expanded_at IS NULL OR EXISTS (
		                      SELECT FROM batches b WHERE b.campaign = c.id AND b.kind = $2 AND b.state IN ('planned', 'queued', 'running')))
		            THEN greatest(t.total, coalesce(c.audience_size, 0)) ELSE t.total END
		FROM t, campaigns c WHERE c.id = $1`, campaign, kairos.KindPlan).
		Scan(&p.Planned, &p.Skipped, &p.Sent, &p.Accepted, &p.Unknown, &p.Failed, &p.HeldOut, &p.Cancelled, &p.Pending, &p.Total)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, fmt.Errorf("campaign %s: %w", campaign, kairos.ErrNotFound)
	}
	if err != nil {
		return p, fmt.Errorf("read progress of %s: %w", campaign, err)
	}
	return p, nil
}

// ReasonCount is how many of a campaign's people a reason was given for.
type ReasonCount struct {
	Reason kairos.Reason `json:"reason"`
	N      int64         `json:"n"`
}

// Reasons counts the reasons of a campaign's notifications in a state, the
// most frequent first.
func (d *Delivery) Reasons(ctx context.Context, campaign kairos.ID, state string) ([]ReasonCount, error) {
	rows, err := d.pool.Query(ctx, `
		SELECT coalesce(reason, ''), count(*) FROM notifications WHERE campaign = $1 AND state = $2
		GROUP BY 1 ORDER BY 2 DESC, 1`, campaign, state)
	if err != nil {
		return nil, fmt.Errorf("count reasons of %s: %w", campaign, err)
	}
	counts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ReasonCount])
	if err != nil {
		return nil, fmt.Errorf("count reasons of %s: %w", campaign, err)
	}
	return counts, nil
}

func cursor(after string) (kairos.ID, error) {
	if after == "" {
		return kairos.ID{}, nil
	}
	id, err := kairos.ParseID(after)
	if err != nil {
		return id, kairos.Invalid("after", "is not a cursor of this list")
	}
	return id, nil
}

func pageSize(n int) int {
	if n <= 0 {
		return 100
	}
	return min(n, 1000)
}
