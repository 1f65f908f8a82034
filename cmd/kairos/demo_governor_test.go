package main

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
	"kairos/internal/queue"
	"kairos/internal/spool"
)

// governed is a governor at work on parts of the test's own, and its clock.
func governed(t *testing.T) *governor {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Postgres and Redis")
	}
	pool := devstack.NewDB(t)
	clock := kairos.NewScaledClock(demoMonday, time.Now(), 1e6)
	clock.Limit(demoMonday)
	q, err := queue.Open(t.Context(), devstack.NewRedis(t), pool, clock, queue.Options{})
	require.NoError(t, err)
	sp, err := spool.Open(spool.Options{Dir: t.TempDir()})
	require.NoError(t, err)
	g := &governor{clock: clock, pool: pool, queue: q, spool: sp, arm: func(context.Context) error { return nil },
		play: &player{clock: clock, width: 2}, ceiling: demoMonday}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = g.run(ctx) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
		require.NoError(t, sp.Close())
		require.NoError(t, q.Close())
	})
	return g
}

func (g *governor) stands(t *testing.T, at time.Time) {
	t.Helper()
	require.Eventually(t, func() bool { return g.clock.Now().Equal(at) }, 20*time.Second, time.Millisecond)
	time.Sleep(30 * time.Millisecond) // eight hours of a clock that runs
	require.Equal(t, at, g.clock.Now())
}

// Time runs to the moment of a batch and waits there until it is done.
func TestGovernorWaitsForBatches(t *testing.T) {
	g := governed(t)
	slot := demoMonday.Add(time.Hour)
	batch := kairos.NewID()
	_, err := g.pool.Exec(t.Context(), `INSERT INTO batches (id, kind, slot) VALUES ($1, $2, $3)`, batch, kairos.KindSend, slot)
	require.NoError(t, err)
	reached := make(chan error, 1)
	go func() { reached <- g.until(t.Context(), demoMonday.Add(3*time.Hour), func(time.Time) {}) }()
	for _, state := range []string{"planned", "queued", "running"} {
		_, err := g.pool.Exec(t.Context(), `UPDATE batches SET state = $2 WHERE id = $1`, batch, state)
		require.NoError(t, err)
		g.stands(t, slot)
	}
	require.Empty(t, reached)
	_, err = g.pool.Exec(t.Context(), `UPDATE batches SET state = 'done' WHERE id = $1`, batch)
	require.NoError(t, err)
	require.NoError(t, <-reached)
	g.stands(t, demoMonday.Add(3*time.Hour))
}

// People may be a little late, not more; and so may the reports.
func TestGovernorWaitsForPeople(t *testing.T) {
	g := governed(t)
	due := demoMonday.Add(10 * time.Minute)
	did := make(chan time.Time, 1)
	g.play.at(due, func(context.Context) error {
		did <- g.clock.Now()
		return nil
	})
	reached := make(chan error, 1)
	go func() { reached <- g.until(t.Context(), demoMonday.Add(time.Hour), func(time.Time) {}) }()
	g.stands(t, due.Add(lateReactions))
	require.Empty(t, reached)
	go func() { _ = g.play.run(t.Context()) }()
	require.NoError(t, <-reached)
	require.Equal(t, due.Add(lateReactions), <-did)
}

func TestGovernorWaitsForTheFold(t *testing.T) {
	g := governed(t)
	_, err := g.pool.Exec(t.Context(), `INSERT INTO events (id, kind, subject, occurred_at, day) VALUES ($1, 'page.viewed', $1, $2::timestamptz, ($2::timestamptz)::date)`, kairos.NewID(), demoMonday)
	require.NoError(t, err)
	reached := make(chan error, 1)
	go func() { reached <- g.until(t.Context(), demoMonday.AddDate(0, 0, 9), func(time.Time) {}) }()
	require.Eventually(t, func() bool { return g.clock.Now().After(demoMonday.Add(time.Hour)) }, 20*time.Second, time.Millisecond)
	time.Sleep(100 * time.Millisecond) // a day of a clock that runs
	require.Less(t, g.clock.Now().Sub(demoMonday), 24*time.Hour)
	require.Empty(t, reached)
	_, err = g.pool.Exec(t.Context(), `INSERT INTO event_cursors (reader, xid, position) SELECT 'analysis.fold', xid, position FROM events`)
	require.NoError(t, err)
	require.NoError(t, <-reached)
}

// What is due first is done first, and the oldest thing not done is known.
func TestPlayer(t *testing.T) {
	clock := kairos.NewManualClock(demoMonday)
	p := &player{clock: clock, width: 1}
	var order []int
	for _, m := range []int{30, 10, 20, 40} {
		p.at(demoMonday.Add(time.Duration(m)*time.Minute), func(context.Context) error {
			order = append(order, m)
			return nil
		})
	}
	require.Equal(t, demoMonday.Add(10*time.Minute), p.oldest())
	require.Empty(t, p.next())
	clock.Advance(30 * time.Minute)
	due := p.next()
	require.Len(t, due, 3)
	require.Equal(t, demoMonday.Add(10*time.Minute), p.oldest(), "still being done")
	for _, r := range due {
		require.NoError(t, r.do(t.Context()))
	}
	require.Equal(t, []int{10, 20, 30}, order)
	require.Empty(t, p.next())
	require.Equal(t, demoMonday.Add(40*time.Minute), p.oldest())
}
