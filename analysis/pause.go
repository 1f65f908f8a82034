package analysis

import (
	"context"
	"fmt"
	"time"

	"kairos"
)

// busy is how many events a transaction brings from which on more are expected
// soon: at the end of a log that grows so fast, the fold waits for them instead
// of giving its batch back.
const busy = 500

// eager is how long the fold works at the end of a busy log, as a part of the
// time it rests there.
const eager = 10

// pause returns how long to rest after a transaction that took some time and
// left the reports behind the log. full: it took in as many events as it may, so
// more are waiting; then it rests twice as long as it worked, and the less the
// more it lags. Otherwise more are to come: it gathers them, no longer than a
// third of the bound.
func pause(bound, behind, took time.Duration, full bool) time.Duration {
	if bound <= 0 || behind >= bound {
		return 0
	}
	if !full {
		return min(eager*took, bound/3)
	}
	room := 1 - float64(behind)/float64(bound)
	return min(time.Duration(2*room*float64(took)), (bound-behind)/2)
}

// rest sleeps, unless ctx ends before.
func rest(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// age returns how long ago an event was recorded, by the clock that recorded it.
func age(ctx context.Context, q db, e *kairos.Event) (time.Duration, error) {
	var now time.Time
	if err := q.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return now.Sub(e.RecordedAt), nil
}
