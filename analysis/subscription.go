package analysis

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/eventlog"
)

// States of a subscription.
const (
	SubscriptionActive   = "active"
	SubscriptionPaused   = "paused"
	SubscriptionDisabled = "disabled" // by the receiver, or because it failed for too long
)

// Why a subscription was disabled.
const (
	receiverGone    = "gone"    // it answered 410
	receiverFailing = "failing" // for longer than Options.Patience
)

const (
	// subscriptionDisabled: a receiver is called no more; data.reason is gone or failing.
	subscriptionDisabled = "subscription.disabled"
	// subscriptionTest: a person asked for it; it is not in the log.
	subscriptionTest = "subscription.test"
)

// overlap is how long a secret that was replaced signs beside the new one.
const overlap = 24 * time.Hour

// Subscription is a receiver of events: an outgoing web hook.
type Subscription struct {
	ID           kairos.ID
	URL          string
	Kinds        []string // kinds, or families as notification.*; none: all
	Description  string
	State        string
	Reason       string     // of SubscriptionDisabled: gone, failing
	Failures     int        // attempts that failed since the last that did not
	FailingSince *time.Time // nil: the last attempt succeeded
	NextAt       time.Time  // no attempt before
	CreatedAt    time.Time
	UpdatedAt    time.Time

	secret, former []byte // sealed
	formerUntil    *time.Time
	cursor         kairos.Cursor
	version        int
}

// SubscriptionInput is what a person says about a new subscription.
type SubscriptionInput struct {
	URL         string
	Kinds       []string
	Description string
}

// SubscriptionPatch changes what is not nil.
type SubscriptionPatch struct {
	URL         *string
	Kinds       []string // empty but not nil: all
	Description *string
	State       *string // active or paused
}

// SubscriptionDelivery is one attempt to deliver one event.
type SubscriptionDelivery struct {
	Number int64 // of the subscription's attempts
	Event  kairos.ID
	Kind   string
	At     time.Time
	Took   time.Duration
	Status int    // HTTP status; 0: no answer
	Error  string // empty: delivered
}

var kindPattern = regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*(\.\*)?$`)

func checkKinds(kinds []string) error {
	if len(kinds) > 50 {
		return kairos.Invalid("kinds", "must be at most 50")
	}
	for i, k := range kinds {
		if len(k) > 100 || !kindPattern.MatchString(k) {
			return kairos.Invalid(fmt.Sprintf("kinds[%d]", i), "must be a kind of event, or a family such as notification.*")
		}
	}
	return nil
}

// wants reports whether the receiver asked for events of a kind.
func (s *Subscription) wants(kind string) bool {
	return len(s.Kinds) == 0 || slices.ContainsFunc(s.Kinds, func(k string) bool {
		family, ok := strings.CutSuffix(k, "*")
		return k == kind || ok && strings.HasPrefix(kind, family)
	})
}

// Subscribe makes a subscription to the events from now on. The secret is
// returned this once; later it is only known sealed.
func (a *Analysis) Subscribe(ctx context.Context, in SubscriptionInput) (s Subscription, secret string, err error) {
	if err := a.hooks.CheckURL(in.URL); err != nil {
		return s, "", fmt.Errorf("subscribe: %w", err)
	}
	if err := checkKinds(in.Kinds); err != nil {
		return s, "", fmt.Errorf("subscribe: %w", err)
	}
	now := a.clock.Now()
	s = Subscription{ID: kairos.NewIDAt(now), URL: in.URL, Kinds: in.Kinds, Description: in.Description, State: SubscriptionActive,
		NextAt: now, CreatedAt: now, UpdatedAt: now, version: 1}
	if s.Kinds == nil {
		s.Kinds = []string{}
	}
	secret, s.secret, err = a.newSecret(s.ID)
	if err != nil {
		return s, "", fmt.Errorf("subscribe: %w", err)
	}
	if s.cursor, err = eventlog.Head(ctx, a.pool); err != nil {
		return s, "", fmt.Errorf("subscribe: %w", err)
	}
	_, err = a.pool.Exec(ctx, `
		INSERT INTO subscriptions (id, url, kinds, description, state, secret, xid, position, next_at, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7::text::xid8, $8, $9, $9, $9)`,
		s.ID, s.URL, s.Kinds, s.Description, s.State, s.secret, fmt.Sprint(s.cursor.XID), s.cursor.Position, now)
	if err != nil {
		return s, "", fmt.Errorf("subscribe: %w", err)
	}
	return s, secret, nil
}

// Subscription returns one; kairos.ErrNotFound.
func (a *Analysis) Subscription(ctx context.Context, id kairos.ID) (Subscription, error) {
	rows, err := a.pool.Query(ctx, `SELECT `+subscriptionColumns+` FROM subscriptions WHERE id = $1`, id)
	return oneSubscription(id, rows, err)
}

// Subscriptions lists them, the oldest first; next is empty at the end.
func (a *Analysis) Subscriptions(ctx context.Context, limit int, after string) (list []Subscription, next string, err error) {
	var from kairos.ID
	if after != "" {
		if from, err = kairos.ParseID(after); err != nil {
			return nil, "", fmt.Errorf("list subscriptions: %w", kairos.Invalid("after", "is not a cursor of this list"))
		}
	}
	rows, err := a.pool.Query(ctx, `
		SELECT `+subscriptionColumns+` FROM subscriptions WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2`, from, limit+1)
	if err == nil {
		list, err = pgx.CollectRows(rows, scanSubscription)
	}
	if err != nil {
		return nil, "", fmt.Errorf("list subscriptions: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID.String()
	}
	return list, next, nil
}

// ChangeSubscription changes one. Making it active, or giving it another
// address, forgets its failures: what waited is tried at once.
func (a *Analysis) ChangeSubscription(ctx context.Context, id kairos.ID, p SubscriptionPatch) (Subscription, error) {
	if p.URL != nil {
		if err := a.hooks.CheckURL(*p.URL); err != nil {
			return Subscription{}, fmt.Errorf("change subscription: %w", err)
		}
	}
	if err := checkKinds(p.Kinds); err != nil {
		return Subscription{}, fmt.Errorf("change subscription: %w", err)
	}
	if p.State != nil && *p.State != SubscriptionActive && *p.State != SubscriptionPaused {
		return Subscription{}, fmt.Errorf("change subscription: %w", kairos.Invalid("state", "must be active or paused"))
	}
	fresh := p.URL != nil || p.State != nil && *p.State == SubscriptionActive
	rows, err := a.pool.Query(ctx, `
		UPDATE subscriptions SET url = coalesce($2, url), kinds = coalesce($3, kinds), description = coalesce($4, description),
		       state = coalesce($5, state), reason = CASE WHEN $5 IS NULL THEN reason ELSE '' END,
		       failures = CASE WHEN $6 THEN 0 ELSE failures END, failing_since = CASE WHEN $6 THEN NULL ELSE failing_since END,
		       next_at = CASE WHEN $6 THEN $7 ELSE next_at END, version = version + 1, updated_at = $7
		WHERE id = $1 RETURNING `+subscriptionColumns, id, p.URL, p.Kinds, p.Description, p.State, fresh, a.clock.Now())
	return oneSubscription(id, rows, err)
}

// RotateSecret gives a subscription a new secret and returns it this once. The
// old one signs beside it for 24 hours.
func (a *Analysis) RotateSecret(ctx context.Context, id kairos.ID) (s Subscription, secret string, err error) {
	secret, sealed, err := a.newSecret(id)
	if err != nil {
		return s, "", fmt.Errorf("rotate secret: %w", err)
	}
	now := a.clock.Now()
	rows, err := a.pool.Query(ctx, `
		UPDATE subscriptions SET former = secret, former_until = $3, secret = $2, version = version + 1, updated_at = $4
		WHERE id = $1 RETURNING `+subscriptionColumns, id, sealed, now.Add(overlap), now)
	s, err = oneSubscription(id, rows, err)
	if err != nil {
		return s, "", err
	}
	return s, secret, nil
}

// Unsubscribe removes a subscription and what is known of its deliveries.
func (a *Analysis) Unsubscribe(ctx context.Context, id kairos.ID) error {
	tag, err := a.pool.Exec(ctx, `DELETE FROM subscriptions WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("remove subscription %s: %w", id, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("remove subscription %s: %w", id, kairos.ErrNotFound)
	}
	return nil
}

const subscriptionColumns = `id, url, kinds, description, state, reason, failures, failing_since, next_at, created_at, updated_at,
	secret, former, former_until, xid::text::bigint, position, version`

func scanSubscription(r pgx.CollectableRow) (s Subscription, err error) {
	var xid int64
	err = r.Scan(&s.ID, &s.URL, &s.Kinds, &s.Description, &s.State, &s.Reason, &s.Failures, &s.FailingSince, &s.NextAt, &s.CreatedAt, &s.UpdatedAt,
		&s.secret, &s.former, &s.formerUntil, &xid, &s.cursor.Position, &s.version)
	s.cursor.XID = uint64(xid)
	return s, err
}

func oneSubscription(id kairos.ID, rows pgx.Rows, err error) (s Subscription, _ error) {
	if err == nil {
		s, err = pgx.CollectExactlyOneRow(rows, scanSubscription)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		err = kairos.ErrNotFound
	}
	if err != nil {
		return s, fmt.Errorf("subscription %s: %w", id, err)
	}
	return s, nil
}
