package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"kairos/internal/batch"
)

// Bounds of the pause between two rounds for all kinds, machine time.
const (
	maxPause = time.Second
	minPause = 20 * time.Millisecond
)

// dispatch rings for due batches: at once for kinds that were nudged, and for
// all kinds when the next slot comes, or after a second.
func (q *Queue) dispatch(ctx context.Context) {
	tick := time.NewTimer(maxPause)
	defer tick.Stop()
	failing := map[string]bool{} // kinds, so that an outage is told once and not each second
	for {
		due := map[string]bool{}
		select {
		case <-ctx.Done():
			return
		case k := <-q.nudges:
			due[k] = true
		case <-tick.C:
			for _, k := range kinds {
				due[k] = true
			}
			tick.Reset(q.pause(ctx))
		}
		for len(q.nudges) > 0 { // what came meanwhile goes along
			due[<-q.nudges] = true
		}
		for _, k := range kinds {
			if !due[k] {
				continue
			}
			_, err := q.Ring(ctx, k)
			if ctx.Err() != nil {
				return
			}
			switch {
			case err != nil && !failing[k]:
				q.log.Warn("ring due batches", "kind", k, "err", err)
			case err == nil && failing[k]:
				q.log.Info("due batches are rung for again", "kind", k)
			}
			failing[k] = err != nil
		}
	}
}

// pause is how long to wait for the next slot, at most maxPause. A batch that
// falls due while its kind is being rung for is seen by that or by the next
// round. A clock that is faster than the machine's is up to a pause late.
func (q *Queue) pause(ctx context.Context) time.Duration {
	now := q.clock.Now()
	slot, ok, err := batch.Next(ctx, q.pool, kinds[:], now, now.Add(maxPause))
	if err != nil || !ok {
		return maxPause // an error is told by the round that follows
	}
	return max(minPause, slot.Sub(now))
}

// Ring queues the due batches of one kind and returns how many it rang for.
func (q *Queue) Ring(ctx context.Context, kind string) (int, error) {
	window := q.opts.Window[kind]
	if window <= 0 {
		window = 64
	}
	bells, err := batch.Due(ctx, q.pool, kind, q.clock.Now(), window)
	if err != nil {
		return 0, err
	}
	for i, b := range bells {
		if err := q.enqueue(ctx, kind, b); err != nil {
			back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return i, errors.Join(err, batch.Unqueue(back, q.pool, batch.Refs(bells[i:])))
		}
	}
	return len(bells), nil
}

func (q *Queue) enqueue(ctx context.Context, kind string, b batch.Doorbell) error {
	payload, err := json.Marshal(b.Ref)
	if err != nil {
		return err
	}
	_, err = q.client.EnqueueContext(ctx, asynq.NewTask(kind, payload),
		asynq.Queue(queueOf(kind, b.Ahead)),
		asynq.TaskID(fmt.Sprintf("%s:%s:%d", kind, b.Batch, b.Epoch)),
		asynq.MaxRetry(3), // 0 would archive, that is lose, the task of a killed worker
		asynq.Timeout(time.Hour),
	)
	if errors.Is(err, asynq.ErrTaskIDConflict) {
		return nil // rung already
	}
	if err != nil {
		return fmt.Errorf("ring for batch %s: %w", b.Batch, err)
	}
	return nil
}
