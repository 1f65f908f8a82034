package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"kairos/internal/batch"
)

// watch keeps a growing number in Redis for each queue, in the slot of the
// queue's keys: those of a cluster lie on several servers. When one is gone, or
// not the one that was written last, a server has been flushed, put back to an
// older state or replaced by one that lagged behind it: doorbells are lost. So
// they may be where it could not be asked for a while. Then every queued batch
// is planned again at once.
type watch struct {
	q      *Queue
	last   map[string]int64 // by queue
	silent bool             // the last look failed
}

func beatKey(queue string) string { return "kairos:{" + queue + "}:beat" }

func (w *watch) look(ctx context.Context) error {
	err := w.compare(ctx)
	if err != nil {
		w.silent = true
	}
	return err
}

func (w *watch) compare(ctx context.Context) error {
	names := queues()
	var got []*redis.StringCmd
	_, err := w.q.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, name := range names {
			got = append(got, p.Get(ctx, beatKey(name)))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read the beats: %w", err)
	}
	seen := make(map[string]int64, len(names))
	lost := w.silent
	for i, name := range names {
		text, err := got[i].Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read the beats: %w", err)
		}
		seen[name], _ = strconv.ParseInt(text, 10, 64)
		lost = lost || seen[name] == 0 || w.last[name] != 0 && seen[name] != w.last[name]
	}
	if lost {
		if err := w.ringAgain(ctx, names); err != nil {
			return err
		}
	}
	next := make(map[string]int64, len(names))
	_, err = w.q.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, name := range names {
			next[name] = max(time.Now().UnixMilli(), seen[name]+1)
			p.Set(ctx, beatKey(name), next[name], 0)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the beats: %w", err)
	}
	w.last, w.silent = next, false
	return nil
}

func (w *watch) ringAgain(ctx context.Context, names []string) error {
	// asynq writes the names of its queues down once in a process's life, and
	// its inspector knows those only.
	known := make([]any, len(names))
	for i, name := range names {
		known[i] = name
	}
	if err := w.q.redis.SAdd(ctx, "asynq:queues", known...).Err(); err != nil {
		return fmt.Errorf("write the queues' names: %w", err)
	}
	n, err := batch.Requeue(ctx, w.q.pool, 0)
	if err != nil || n == 0 {
		return err
	}
	if w.last != nil { // at a first look an empty Redis is no loss
		w.q.log.Warn("redis lost its doorbells or was away; ringing again", "batches", n)
	}
	for _, k := range kinds {
		w.q.Nudge(k)
	}
	return nil
}
