package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// leaderLock is the class of the leaders' advisory locks ("klea" in ASCII), which
// no other lock of the database uses; the second number is made of the work's name.
const leaderLock = 0x6b6c6561

// lead does the periodic work of this process that no other process does. The
// locks belong to a session of its own that Postgres ends when it hears
// nothing for ten seconds: a stopped process does not lead on.
func (q *Queue) lead(ctx context.Context) {
	for ctx.Err() == nil {
		if err := q.term(ctx); err != nil && ctx.Err() == nil {
			q.log.Debug("leadership ended", "err", err)
		}
		pause(ctx, time.Second)
	}
}

// term asks for the lock of each periodic work again and again, does what it
// has the lock of, and returns when the session with the locks is lost. Each
// work has a lock of its own: processes have different roles, and the leader of
// one role's work may not know another's.
func (q *Queue) term(ctx context.Context) error {
	cfg := q.pool.Config().ConnConfig.Copy()
	cfg.RuntimeParams["application_name"] = "kairos leader"
	cfg.RuntimeParams["idle_session_timeout"] = "10000"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect as leader: %w", err)
	}
	defer func() {
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = conn.Close(c)
	}()
	open := map[string]periodic{
		"watch redis":    {"watch redis", time.Second, (&watch{q: q}).look},
		"dead listeners": {"dead listeners", listenPeriod, (&listeners{q: q}).look},
	}
	for _, p := range q.every {
		open[p.name] = p
	}
	led, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for {
		won, err := compete(ctx, conn, slices.Collect(maps.Keys(open)))
		if err != nil {
			return err
		}
		for _, name := range won {
			p := open[name]
			delete(open, name)
			wg.Go(func() { q.repeat(led, p) })
		}
		if pause(ctx, time.Second); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// compete takes those of the locks that are free. It also tells whether the
// session, and so every lock taken before, is still there.
func compete(ctx context.Context, conn *pgx.Conn, names []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	rows, err := conn.Query(ctx, `SELECT name FROM unnest($2::text[]) AS name WHERE pg_try_advisory_lock($1::int, hashtext(name))`, leaderLock, names)
	if err != nil {
		return nil, fmt.Errorf("ask for the lead: %w", err)
	}
	won, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("ask for the lead: %w", err)
	}
	return won, nil
}

func (q *Queue) repeat(ctx context.Context, p periodic) {
	tick := time.NewTicker(p.period)
	defer tick.Stop()
	failing := false
	for {
		err := p.do(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			q.log.Warn("periodic work", "name", p.name, "err", err)
		} else if failing {
			q.log.Info("periodic work is well again", "name", p.name)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
