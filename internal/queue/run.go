package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"kairos"
)

// Run serves the handlers, rings for due batches and, while it leads, does the
// periodic work. It returns when ctx has ended and what was in flight is done
// or the grace is over.
func (q *Queue) Run(ctx context.Context) error {
	servers, err := q.start(ctx)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { q.dispatch(ctx) })
	wg.Go(func() { q.lead(ctx) })
	<-ctx.Done()
	for _, s := range servers { // all stop fetching before any is waited for
		s.Stop()
	}
	for _, s := range servers {
		wg.Go(s.Shutdown)
	}
	wg.Wait()
	return nil
}

// start runs one asynq server for each stage with handlers here: each has its
// own concurrency and fetch loop, so analysis can't starve delivery.
func (q *Queue) start(ctx context.Context) ([]*asynq.Server, error) {
	queues := map[string]map[string]int{}
	for kind := range q.handlers {
		stage := serverOf(kind)
		if queues[stage] == nil {
			queues[stage] = map[string]int{}
		}
		for i, name := range slices.Backward(queuesOf(kind)) {
			queues[stage][name] = 5 - 4*i // what was begun, and who has nothing yet, before others
		}
		if kind == kairos.KindUrgent {
			queues[stage][queueOf(kind, false)] = 9
		}
	}
	var servers []*asynq.Server
	for stage, names := range queues {
		s := asynq.NewServerFromRedisClient(q.redis, asynq.Config{
			Concurrency: q.concurrency(stage),
			// asynq gives a task up when its context ends, so that of the stop is
			// not its own: it reaches the handlers by another way.
			BaseContext:              func() context.Context { return context.WithoutCancel(ctx) },
			Queues:                   names,
			StrictPriority:           true,
			TaskCheckInterval:        100 * time.Millisecond,
			DelayedTaskCheckInterval: time.Second,
			ShutdownTimeout:          q.opts.Grace,
			Logger:                   quiet{q.log.With("part", "asynq", "stage", stage)},
			LogLevel:                 asynq.WarnLevel,
			IsFailure:                func(err error) bool { return !errors.Is(err, errStopping) },
			RetryDelayFunc: func(n int, err error, t *asynq.Task) time.Duration {
				if errors.Is(err, errStopping) { // somebody else has time
					return 0
				}
				return asynq.DefaultRetryDelayFunc(n, err, t)
			},
			ErrorHandler: asynq.ErrorHandlerFunc(func(_ context.Context, t *asynq.Task, err error) {
				if errors.Is(err, errStopping) {
					return
				}
				q.log.Error("task failed", "kind", t.Type(), "task", string(t.Payload()), "err", err)
			}),
		})
		if err := s.Start(q.handler(ctx)); err != nil {
			for _, s := range servers {
				s.Shutdown()
			}
			return nil, fmt.Errorf("start stage %s: %w", stage, err)
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func (q *Queue) concurrency(stage string) int {
	if n := q.opts.Concurrency[stage]; n > 0 {
		return n
	}
	switch stage {
	case "delivery":
		return 4
	case "analysis":
		return 1
	case distribution:
		return 16
	case training:
		return 1
	}
	return 2
}

// errStopping gives a task back that this process will not finish.
var errStopping = errors.New("the process is stopping")

// handler does one task. Its context ends with running; asynq waits for it to
// return all the same.
func (q *Queue) handler(running context.Context) asynq.HandlerFunc {
	return func(ctx context.Context, t *asynq.Task) error {
		work := q.handlers[t.Type()]
		if work == nil {
			return fmt.Errorf("no handler for %q: %w", t.Type(), asynq.SkipRetry)
		}
		if running.Err() != nil {
			return errStopping
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(running, cancel)()
		began := time.Now()
		follow, err := work(ctx, t.Payload())
		if errors.Is(err, context.Canceled) && running.Err() != nil {
			return errStopping
		}
		if q.opts.Observe != nil {
			q.opts.Observe(t.Type(), time.Since(began), err)
		}
		for _, f := range follow {
			q.Nudge(f.Kind())
		}
		q.Nudge(t.Type()) // there is room in the window now
		if errors.Is(err, kairos.ErrPermanent) {
			return fmt.Errorf("%w: %w", err, asynq.SkipRetry)
		}
		return err
	}
}

// quiet routes asynq's words to slog.
type quiet struct{ log *slog.Logger }

func (l quiet) Debug(args ...any) { l.log.Debug(fmt.Sprint(args...)) }
func (l quiet) Info(args ...any)  { l.log.Debug(fmt.Sprint(args...)) }
func (l quiet) Warn(args ...any)  { l.log.Warn(fmt.Sprint(args...)) }
func (l quiet) Error(args ...any) { l.log.Error(fmt.Sprint(args...)) }
func (l quiet) Fatal(args ...any) { l.log.Error(fmt.Sprint(args...)) }
