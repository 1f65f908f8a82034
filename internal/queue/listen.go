package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"

	"kairos"
	"kairos/internal/batch"
)

// listenPeriod is the time between two looks at who heard a doorbell. Whoever
// is alive claims its batch within milliseconds.
const listenPeriod = 4 * time.Second

// listeners finds doorbells that a process heard and then died before it had
// claimed the batch. asynq itself gives such a task to others after one or two
// minutes.
type listeners struct {
	q     *Queue
	heard map[kairos.Ref]bool // at the last look
}

// look rings again for what was heard at the last look already and still is
// not claimed. Should the listener be alive after all, its claim comes too
// late and is none.
func (l *listeners) look(ctx context.Context) error {
	inspector := asynq.NewInspectorFromRedisClient(l.q.redis) // shares the connections: nothing to close
	heard := map[kairos.Ref]bool{}
	var silent []kairos.Ref
	for _, name := range queues() {
		tasks, err := inspector.ListActiveTasks(name, asynq.PageSize(1000))
		if errors.Is(err, asynq.ErrQueueNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list who heard a doorbell: %w", err)
		}
		for _, t := range tasks {
			var ref kairos.Ref
			if json.Unmarshal(t.Payload, &ref) != nil {
				continue // not ours
			}
			if heard[ref] = true; l.heard[ref] {
				silent = append(silent, ref)
			}
		}
	}
	l.heard = heard
	if len(silent) == 0 {
		return nil
	}
	if err := batch.Unqueue(ctx, l.q.pool, silent); err != nil { // leaves what is claimed alone
		return err
	}
	for _, k := range kinds {
		l.q.Nudge(k)
	}
	return nil
}
