package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
	"kairos/internal/queue"
	"kairos/internal/spool"
)

// Bounds of what the pipeline may be behind in domain time.
const (
	lateReactions = 20 * time.Minute // of people to their mail
	lateFold      = 2 * time.Hour    // of the reports to the log, and of the log to the collector
)

// stuckAfter is how long, in the machine's time, due work may stand still.
const stuckAfter = 5 * time.Minute

// waited are the kinds of batches that domain time waits for.
var waited = []string{kairos.KindImport, kairos.KindExpand, kairos.KindPlan, kairos.KindSend, kairos.KindUrgent, kairos.KindTrain, kairos.KindScore}

// governor lets domain time run from one due piece of work to the next and
// stand still until each is done: a message goes out at its planned minute
// however slow the machine is, and a fast machine is not kept waiting.
type governor struct {
	clock *kairos.ScaledClock
	pool  *pgxpool.Pool
	queue *queue.Queue
	spool *spool.Spool
	arm   func(context.Context) error // the fold, without waiting for its next turn
	play  *player

	mu      sync.Mutex
	ceiling time.Time // the story's: domain time goes no further
	asked   int       // how often the story asked to go on
	idle    int       // the newest of these for which a whole look found nothing due that was unfinished

	machine, domain []time.Time // samples of both times, oldest first
	progress        time.Time   // machine time of the last change
	open            string      // the work then
	nudged, folded  time.Time   // machine time of the last nudge and of the last look at the log
	unfolded        time.Time   // machine time of the oldest event that is not folded; zero: none
}

// run governs until ctx ends.
func (g *governor) run(ctx context.Context) error {
	for {
		wait, err := g.step(ctx)
		if err != nil {
			return fmt.Errorf("govern the clock: %w", err)
		}
		if err := poll(ctx, wait); err != nil {
			return err
		}
	}
}

// step looks at what is due and says how far time may run.
func (g *governor) step(ctx context.Context) (time.Duration, error) {
	g.mu.Lock()
	asked, limit := g.asked, g.ceiling
	g.mu.Unlock()
	now := g.clock.Now()
	machine := time.Now()
	g.sample(machine, now)
	due, next, planned, err := g.work(ctx, now)
	if err != nil {
		return 0, err
	}
	oldest := g.play.oldest()
	idle := due == 0 && (oldest.IsZero() || oldest.After(now))
	if !oldest.IsZero() {
		limit = earlier(limit, oldest.Add(lateReactions))
	}
	if !next.IsZero() {
		limit = earlier(limit, next)
	}
	if due > 0 {
		limit = now
		if len(planned) > 0 && machine.Sub(g.nudged) > 20*time.Millisecond {
			g.nudged = machine
			for _, kind := range planned {
				g.queue.Nudge(kind)
			}
		}
		if err := g.stuck(machine, now, due, planned); err != nil {
			return 0, err
		}
	} else {
		g.open = ""
	}
	behind, err := g.behind(ctx, machine)
	if err != nil {
		return 0, err
	}
	limit = earlier(limit, behind.Add(lateFold))
	g.clock.Limit(limit)
	if idle && !g.clock.Now().After(now) { // nor has time run on since the look
		g.mu.Lock()
		g.idle = asked
		g.mu.Unlock()
	}
	return 4 * time.Millisecond, nil
}

// work counts the batches that are due and not done, and finds the next one.
func (g *governor) work(ctx context.Context, now time.Time) (due int, next time.Time, planned []string, err error) {
	var at *time.Time
	err = g.pool.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE slot <= $1), min(slot) FILTER (WHERE slot > $1),
		       coalesce(array_agg(DISTINCT kind) FILTER (WHERE slot <= $1 AND state = 'planned'), '{}')
		FROM batches WHERE state IN ('planned', 'queued', 'running') AND kind = ANY ($2)`, now, waited).Scan(&due, &at, &planned)
	if at != nil {
		next = *at
	}
	return due, next, planned, err
}

// behind returns the moment of domain time up to which all that happened is in
// the reports.
func (g *governor) behind(ctx context.Context, machine time.Time) (time.Time, error) {
	age := g.spool.Stats().OldestSegmentAge
	if age > 50*time.Millisecond {
		g.spool.Seal() // domain time waits for it
	}
	if machine.Sub(g.folded) > 50*time.Millisecond {
		g.folded = machine
		var lag time.Duration
		err := g.pool.QueryRow(ctx, `
			SELECT clock_timestamp() - e.recorded_at FROM events e
			WHERE (e.xid, e.position) > (coalesce((SELECT xid FROM event_cursors WHERE reader = 'analysis.fold'), '0'::xid8),
			                             coalesce((SELECT position FROM event_cursors WHERE reader = 'analysis.fold'), 0))
			ORDER BY e.xid, e.position LIMIT 1`).Scan(&lag)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			g.unfolded = time.Time{}
		case err != nil:
			return time.Time{}, err
		default:
			g.unfolded = machine.Add(-lag)
			if err := g.arm(ctx); err != nil {
				return time.Time{}, err
			}
			g.queue.Nudge(kairos.KindFold)
		}
	}
	since := machine.Add(-age)
	if !g.unfolded.IsZero() && g.unfolded.Before(since) {
		since = g.unfolded
	}
	return g.domainAt(since), nil
}

// sample keeps which machine time was which domain time.
func (g *governor) sample(machine, domain time.Time) {
	if len(g.machine) > 20_000 {
		g.machine, g.domain = append(g.machine[:0], g.machine[10_000:]...), append(g.domain[:0], g.domain[10_000:]...)
	}
	g.machine, g.domain = append(g.machine, machine), append(g.domain, domain)
}

// domainAt returns the domain time of a moment of the machine's, or a little before.
func (g *governor) domainAt(machine time.Time) time.Time {
	i := sort.Search(len(g.machine), func(i int) bool { return g.machine[i].After(machine) })
	return g.domain[max(i-1, 0)]
}

// stuck gives up on work that stands still.
func (g *governor) stuck(machine, now time.Time, due int, planned []string) error {
	open := fmt.Sprint(now, due, planned)
	if open != g.open {
		g.open, g.progress = open, machine
	}
	if machine.Sub(g.progress) > stuckAfter {
		return fmt.Errorf("%d pieces of work (%v) have been due since %s and are not done", due, planned, now.Format(time.DateTime))
	}
	return nil
}

// until lets time run to a moment and returns when it is reached and all that
// was due is done.
func (g *governor) until(ctx context.Context, at time.Time, look func(now time.Time)) error {
	g.mu.Lock()
	g.asked++
	asked := g.asked
	g.ceiling = at
	g.mu.Unlock()
	for {
		now := g.clock.Now()
		look(now)
		g.mu.Lock()
		done := g.idle == asked && !now.Before(at)
		g.mu.Unlock()
		if done {
			return nil
		}
		if err := poll(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// settled waits until all that is due is done: after a launch, an import.
func (g *governor) settled(ctx context.Context) error {
	return g.until(ctx, g.clock.Now(), func(time.Time) {})
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
