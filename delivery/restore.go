package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/pg"
)

// What a release does with notifications that were due when delivery froze:
// they may have left before the database was lost.
const (
	DueUnknown = "unknown" // they become unknown attempts: evidence settles them, an operator may send them again
	DueSend    = "send"    // they are sent; whoever got one before the loss gets it twice
	DueSkip    = "skip"    // they are skipped as "restored"
)

// reasonRestored is that of a notification skipped by a release.
const reasonRestored kairos.Reason = "restored"

// Freeze is a time in which nothing is sent, because the database has lost
// what it once held: it was restored from a backup, or a standby took over
// that lacked commits. While one is open no process of the installation opens
// an attempt.
type Freeze struct {
	ID         kairos.ID  `json:"id"`
	Since      *time.Time `json:"since"`     // domain time that the restored database knows of last; null: not known
	FrozenAt   time.Time  `json:"frozen_at"` // domain time: what was due by then is doubtful
	Cause      string     `json:"cause"`
	Actor      string     `json:"actor"`         // who froze by hand; "": a process that noticed
	Held       int        `json:"held"`          // campaigns whose people were being planned: frozen until they are
	Due        string     `json:"due,omitempty"` // the release's choice
	ReleasedAt *time.Time `json:"released_at"`
	ReleasedBy string     `json:"released_by,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	Doubtful   int64      `json:"doubtful"` // notifications that the release made unknown
	Skipped    int64      `json:"skipped"`
}

// Restore freezes and releases delivery by hand. It needs no provider and no
// process that serves, so that it can be used before the first one starts.
type Restore struct{ d *Delivery }

// NewRestore returns it on a pool.
func NewRestore(pool *pgxpool.Pool, clock kairos.Clock) *Restore {
	return &Restore{&Delivery{pool: pool, clock: clock}}
}

// Freeze stops delivery everywhere. since is the moment the backup was made,
// if that is known. Where delivery is frozen already the present freeze stays
// as it is and is returned.
func (r *Restore) Freeze(ctx context.Context, since *time.Time, cause, actor string) (Freeze, error) {
	if actor == "" {
		return Freeze{}, kairos.Invalid("by", "must name who freezes")
	}
	if since != nil && since.After(r.d.clock.Now()) {
		return Freeze{}, kairos.Invalid("since", "must lie in the past")
	}
	err := pg.InTx(ctx, byIndex{r.d}, func(tx pgx.Tx) error {
		return r.d.freeze(ctx, tx, since, short(cause), short(actor))
	})
	if err != nil {
		return Freeze{}, fmt.Errorf("freeze delivery: %w", err)
	}
	return r.Last(ctx)
}

// freeze makes a freeze unless one is open. The lock lets the markings under
// way end; those that begin afterwards see it.
func (d *Delivery) freeze(ctx context.Context, tx pgx.Tx, since *time.Time, cause, actor string) error {
	if err := lockSuppressions(ctx, tx); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO freezes (id, since, frozen_at, cause, actor, held)
		SELECT $1, $2, $3, $4, $5, coalesce(array_agg(c.id), '{}') FROM campaigns c
		WHERE c.kind = 'campaign'
		  AND (c.state IN ('running', 'paused') OR c.state = 'scheduled' AND coalesce((c.spec -> 'schedule' ->> 'at')::timestamptz, c.launched_at) <= $3)
		  AND `+beingPlanned+`
		HAVING NOT EXISTS (SELECT FROM freezes WHERE released_at IS NULL)
		ON CONFLICT DO NOTHING`, kairos.NewID(), since, d.clock.Now(), cause, actor)
	if err != nil {
		return fmt.Errorf("write freeze: %w", err)
	}
	return nil
}

// beingPlanned is true of a campaign c of which pages are still to be cut or
// to become notifications.
const beingPlanned = `(c.expanded_at IS NULL OR EXISTS (SELECT FROM batches b WHERE b.campaign = c.id
	AND b.kind IN ('` + kairos.KindExpand + `', '` + kairos.KindPlan + `') AND b.state IN ('planned', 'queued', 'running')))`

const freezeColumns = `id, since, frozen_at, cause, actor, cardinality(held), coalesce(due, ''), released_at, released_by, reason, doubtful, skipped`

func scanFreeze(r pgx.CollectableRow) (f Freeze, err error) {
	err = r.Scan(&f.ID, &f.Since, &f.FrozenAt, &f.Cause, &f.Actor, &f.Held, &f.Due, &f.ReleasedAt, &f.ReleasedBy, &f.Reason, &f.Doubtful, &f.Skipped)
	return f, err
}

// Last returns the newest freeze, open or released, or kairos.ErrNotFound.
func (r *Restore) Last(ctx context.Context) (Freeze, error) {
	rows, err := r.d.pool.Query(ctx, `SELECT `+freezeColumns+` FROM freezes ORDER BY noticed_at DESC, id DESC LIMIT 1`)
	if err != nil {
		return Freeze{}, fmt.Errorf("read freeze: %w", err)
	}
	f, err := pgx.CollectOneRow(rows, scanFreeze)
	if errors.Is(err, pgx.ErrNoRows) {
		return f, fmt.Errorf("freeze: %w", kairos.ErrNotFound)
	}
	if err != nil {
		return f, fmt.Errorf("read freeze: %w", err)
	}
	return f, nil
}

// Due counts the notifications that a release of the freeze would decide
// about now; those of held campaigns are counted as far as they are planned.
func (r *Restore) Due(ctx context.Context, f Freeze) (n int64, err error) {
	err = r.d.pool.QueryRow(ctx, `
		SELECT count(*) FROM notifications n JOIN campaigns c ON c.id = n.campaign
		WHERE c.state IN ('running', 'scheduled', 'paused') AND n.state = 'planned'
		  AND NOT EXISTS (SELECT FROM attempts a WHERE a.notification = n.id AND a.campaign = n.campaign AND a.live)
		  AND (n.planned_at <= $2 OR n.campaign = ANY (SELECT unnest(held) FROM freezes WHERE id = $1))`, f.ID, f.FrozenAt).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count due notifications: %w", err)
	}
	return n, nil
}

// Frozen returns the open freeze, or nil.
func (d *Delivery) Frozen(ctx context.Context) (*Freeze, error) {
	rows, err := d.pool.Query(ctx, `SELECT `+freezeColumns+` FROM freezes WHERE released_at IS NULL`)
	if err != nil {
		return nil, fmt.Errorf("read freeze: %w", err)
	}
	f, err := pgx.CollectOneRow(rows, scanFreeze)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read freeze: %w", err)
	}
	return &f, nil
}

// frozen reports whether nothing may be claimed.
func (d *Delivery) frozen(ctx context.Context) (yes bool, err error) {
	if err = d.pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM freezes WHERE released_at IS NULL)`).Scan(&yes); err != nil {
		return false, fmt.Errorf("read freeze: %w", err)
	}
	return yes, nil
}

// Release decides about what was due and lets delivery go on. It may be
// repeated after a crash: it goes on where it stopped, with the same choice.
// kairos.ErrConflict: nothing is frozen, or another choice is being carried out.
func (r *Restore) Release(ctx context.Context, due, actor, reason string) (Freeze, error) {
	switch {
	case due != DueUnknown && due != DueSend && due != DueSkip:
		return Freeze{}, kairos.Invalid("due", "must be unknown, send or skip")
	case actor == "":
		return Freeze{}, kairos.Invalid("by", "must name who releases")
	case due == DueSend && reason == "":
		return Freeze{}, kairos.Invalid("reason", "must say why messages may be sent twice")
	}
	d := r.d
	var id kairos.ID
	var at time.Time
	var chosen string
	err := d.pool.QueryRow(ctx, `
		UPDATE freezes SET due = coalesce(due, $1) WHERE released_at IS NULL RETURNING id, frozen_at, due`, due).Scan(&id, &at, &chosen)
	if errors.Is(err, pgx.ErrNoRows) {
		return Freeze{}, fmt.Errorf("release delivery: it is not frozen: %w", kairos.ErrConflict)
	}
	if err != nil {
		return Freeze{}, fmt.Errorf("release delivery: %w", err)
	}
	if chosen != due {
		return Freeze{}, fmt.Errorf("release delivery: a release with --due %s has begun, end it first: %w", chosen, kairos.ErrConflict)
	}
	if due != DueSend {
		if err := r.decide(ctx, id, at, due); err != nil {
			return Freeze{}, fmt.Errorf("release delivery: %w", err)
		}
	}
	_, err = d.pool.Exec(ctx, `
		UPDATE freezes SET released_at = $2, released_by = $3, reason = $4, held = CASE WHEN due = 'send' THEN '{}' ELSE held END
		WHERE id = $1 AND released_at IS NULL`, id, d.clock.Now(), short(actor), short(reason))
	if err != nil {
		return Freeze{}, fmt.Errorf("release delivery: %w", err)
	}
	if _, err := batch.Requeue(ctx, d.pool, 0); err != nil { // what nobody claimed meanwhile is rung for at once
		return Freeze{}, err
	}
	return r.Last(ctx)
}

// decide carries out a choice for every campaign that may have sent.
func (r *Restore) decide(ctx context.Context, freeze kairos.ID, at time.Time, due string) error {
	rows, err := r.d.pool.Query(ctx, `
		SELECT c.id FROM campaigns c WHERE c.state IN ('running', 'scheduled', 'paused')
		  AND c.id <> ALL (SELECT unnest(held) FROM freezes WHERE id = $1) ORDER BY c.id`, freeze)
	if err != nil {
		return fmt.Errorf("list campaigns: %w", err)
	}
	campaigns, err := pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
	if err != nil {
		return fmt.Errorf("list campaigns: %w", err)
	}
	for _, c := range campaigns {
		if err := r.d.decideDue(ctx, freeze, c, &at, due); err != nil {
			return fmt.Errorf("campaign %s: %w", c, err)
		}
	}
	return r.d.unhold(ctx)
}
