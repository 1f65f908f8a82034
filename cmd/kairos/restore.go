package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
	"kairos/delivery"
	"kairos/internal/pg"
)

// restoreCmd works on Postgres directly: it is for the time in which no
// process should run yet.
type restoreCmd struct {
	Status  restoreStatusCmd  `cmd:"" default:"withargs" help:"Tell whether delivery is frozen, and why."`
	Freeze  restoreFreezeCmd  `cmd:"" help:"Stop all sending after a restore from a backup, before the first process starts."`
	Release restoreReleaseCmd `cmd:"" help:"Decide about what was due and let delivery go on."`
}

// withRestore opens the database for a function.
func (c *database) withRestore(ctx context.Context, do func(*delivery.Restore, *pgxpool.Pool) error) error {
	pool, err := pg.Open(ctx, c.DatabaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	return do(delivery.NewRestore(pool, kairos.SystemClock{}), pool)
}

type restoreStatusCmd struct{ database }

// restoreStatus is what `kairos restore --json` prints.
type restoreStatus struct {
	Frozen bool             `json:"frozen"`
	Due    int64            `json:"due"` // notifications that a release would decide about
	Last   *delivery.Freeze `json:"last"`
}

// Run prints the newest freeze.
func (c *restoreStatusCmd) Run(ctx context.Context, t *terminal) error {
	return c.withRestore(ctx, func(r *delivery.Restore, _ *pgxpool.Pool) error {
		var s restoreStatus
		f, err := r.Last(ctx)
		if errors.Is(err, kairos.ErrNotFound) {
			return t.print(s, "delivery is not frozen, and never was")
		}
		if err != nil {
			return err
		}
		s.Last, s.Frozen = &f, f.ReleasedAt == nil
		if s.Frozen {
			if s.Due, err = r.Due(ctx, f); err != nil {
				return err
			}
		}
		return t.print(s, restoreWords(&f, s.Due))
	})
}

func restoreWords(f *delivery.Freeze, due int64) string {
	at := func(when *time.Time) string {
		if when == nil {
			return "not known"
		}
		return when.Format(time.RFC3339)
	}
	if f.ReleasedAt == nil {
		words := fmt.Sprintf("delivery is FROZEN since %s: %s\n  restored to: %s\n  due by then, to be decided about: %d notifications",
			at(&f.FrozenAt), f.Cause, at(f.Since), due)
		if f.Held > 0 {
			words += fmt.Sprintf("\n  campaigns that were being planned, decided about when they are: %d", f.Held)
		}
		return words + "\n  next: `kairos restore release`, after a look at docs/operations.md"
	}
	words := fmt.Sprintf("delivery is not frozen; the last freeze was released %s by %s (due: %s)\n  made unknown: %d, skipped: %d notifications",
		at(f.ReleasedAt), f.ReleasedBy, f.Due, f.Doubtful, f.Skipped)
	if f.Held > 0 {
		words += fmt.Sprintf("\n  campaigns still held until they are planned: %d", f.Held)
	}
	return words
}

type restoreFreezeCmd struct {
	database
	Since time.Time `help:"When the backup was made, as 2026-11-22T08:00:00Z." format:"2006-01-02T15:04:05Z07:00" placeholder:"TIME"`
	By    string    `help:"Who freezes. Default: the login name."`
}

// Run freezes.
func (c *restoreFreezeCmd) Run(ctx context.Context, t *terminal) error {
	return c.withRestore(ctx, func(r *delivery.Restore, _ *pgxpool.Pool) error {
		var since *time.Time
		if !c.Since.IsZero() {
			since = &c.Since
		}
		f, err := r.Freeze(ctx, since, "frozen by hand", login(c.By))
		if err != nil {
			return err
		}
		due, err := r.Due(ctx, f)
		if err != nil {
			return err
		}
		return t.print(restoreStatus{Frozen: true, Due: due, Last: &f}, restoreWords(&f, due))
	})
}

type restoreReleaseCmd struct {
	database
	Due    string `help:"What to do with notifications that were due before delivery froze, and so may have left before the loss: unknown (evidence or an operator settles them), send (again), skip." enum:"unknown,send,skip" default:"unknown"`
	By     string `help:"Who releases. Default: the login name."`
	Reason string `help:"Why; needed with --due send."`
}

// Run releases.
func (c *restoreReleaseCmd) Run(ctx context.Context, t *terminal) error {
	return c.withRestore(ctx, func(r *delivery.Restore, _ *pgxpool.Pool) error {
		f, err := r.Release(ctx, c.Due, login(c.By), c.Reason)
		if err != nil {
			return err
		}
		return t.print(restoreStatus{Last: &f}, restoreWords(&f, 0))
	})
}

// login is who decides where nobody is named.
func login(by string) string {
	if by != "" {
		return by
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return os.Getenv("USER")
}
