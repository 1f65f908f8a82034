// Package queue is the doorbell: it wakes workers when a batch in Postgres is
// due. It is the only importer of asynq.
//
// Takes: handlers of the stages (Handle), periodic work (Every), a Redis URL.
// Gives: each due batch's reference to one handler somewhere, soon; the
// periodic work to one process at a time, its leader.
// Owns: the keys in Redis, none of which holds a truth.
// Promises: a lost, doubled or reordered doorbell does no harm: the claim in
// Postgres decides. Redis may be flushed, restored from an old dump or down;
// work goes on when it is back. It may be one server, a master that sentinels
// watch over, or a cluster: then work goes on when a replica has taken the
// place of a dead master.
// Fails: Open fails when a Redis server would evict keys; Run returns when its context
// ends and everything in flight has.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"kairos"
)

// Options of a queue. The zero value is usable.
type Options struct {
	// Concurrency is how many batches of a stage this process works on at
	// once, by stage name. Default 2; delivery 4; analysis 1; web hooks, as
	// "distribution", 16; timing models, as "training", 1.
	Concurrency map[string]int
	// Window is how many batches of a kind may be queued or running at once in
	// the whole installation. Default 64.
	Window map[string]int
	// Grace is how long a handler may go on after the context ended. Default 40 s.
	Grace time.Duration
	// Observe is told about each handled task; nil: nobody.
	Observe func(kind string, took time.Duration, err error)
	Logger  *slog.Logger
}

// Queue connects handlers and periodic work with Redis and Postgres.
type Queue struct {
	pool     *pgxpool.Pool
	clock    kairos.Clock
	redis    redis.UniversalClient
	client   *asynq.Client
	opts     Options
	handlers map[string]handler // by kind
	every    []periodic
	nudges   chan string // kinds that may have become due
	log      *slog.Logger
}

type handler func(ctx context.Context, payload []byte) ([]kairos.Task, error)

type periodic struct {
	name   string
	period time.Duration
	do     func(context.Context) error
}

// kinds lists every kind a process may have to ring for, whatever its roles.
var kinds = [...]string{
	kairos.KindImport, kairos.KindExpand, kairos.KindPlan, kairos.KindSend, kairos.KindUrgent, kairos.KindFold,
	kairos.KindDistribute, kairos.KindTrain, kairos.KindScore,
}

// Open connects to Redis: redis://, redis-sentinel://, redis-cluster://, or
// the same with rediss (see connect). An unreachable Redis is not an error:
// ringing begins when it answers.
func Open(ctx context.Context, redisURL string, pool *pgxpool.Pool, clock kairos.Clock, opts Options) (*Queue, error) {
	client, err := connect(redisURL)
	if err != nil {
		return nil, fmt.Errorf("open queue: %w", err)
	}
	if err := refuseEviction(ctx, client); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Grace <= 0 {
		opts.Grace = 40 * time.Second
	}
	return &Queue{
		pool: pool, clock: clock, redis: client, client: asynq.NewClientFromRedisClient(client),
		opts: opts, handlers: map[string]handler{}, nudges: make(chan string, 64), log: opts.Logger,
	}, nil
}

// Close ends the connections to Redis.
func (q *Queue) Close() error { return q.redis.Close() }

// Handle gives tasks of T's kind to work. T's zero value tells the kind.
func Handle[T kairos.Task](q *Queue, work func(context.Context, T) ([]kairos.Task, error)) {
	var zero T
	kind := zero.Kind()
	if _, twice := q.handlers[kind]; twice {
		panic("queue: two handlers for " + kind)
	}
	if stageOf(kind) == "" {
		panic("queue: kind " + kind + " has no stage")
	}
	q.handlers[kind] = func(ctx context.Context, payload []byte) ([]kairos.Task, error) {
		var task T
		if err := json.Unmarshal(payload, &task); err != nil {
			return nil, fmt.Errorf("read task: %w: %w", kairos.ErrPermanent, err)
		}
		return work(ctx, task)
	}
}

// Every runs do once a period in one of the processes that have this work, the
// one that holds the lock of its name in Postgres. Errors are logged; the next
// period tries again. Names are unique within a process.
func Every(q *Queue, period time.Duration, name string, do func(context.Context) error) {
	q.every = append(q.every, periodic{name, period, do})
}

// Handles reports whether this process has a handler for the kind.
func (q *Queue) Handles(kind string) bool { return q.handlers[kind] != nil }

// Nudge tells that batches of a kind may have become due, to spare them the
// wait for the next tick. It never blocks.
func (q *Queue) Nudge(kind string) {
	select {
	case q.nudges <- kind:
	default: // the dispatcher is behind; its tick will see them
	}
}

func stageOf(kind string) string {
	stage, _, ok := strings.Cut(kind, ".")
	if !ok {
		return ""
	}
	return stage
}

// queuesOf names the asynq queues of a kind, the first served first:
// transactional messages have one of their own, and what was begun, and the
// first batch of a campaign, go ahead of what is new: neither a dead worker's
// batch nor the next campaign waits behind a window of others.
func queuesOf(kind string) []string {
	if kind == kairos.KindUrgent {
		return []string{"delivery_first"}
	}
	return []string{serverOf(kind) + "_again", serverOf(kind)}
}

// queues names every queue there may be.
func queues() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, queuesOf(k)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// queueOf names the queue that a batch of a kind is rung for in.
func queueOf(kind string, ahead bool) string {
	names := queuesOf(kind)
	if ahead {
		return names[0]
	}
	return names[len(names)-1]
}

// distribution serves web hooks, and training the timing models: whoever waits
// for strangers or computes for minutes must not keep the rest of the stage
// waiting.
const (
	distribution = "distribution"
	training     = "training"
)

// serverOf names the server that works on a kind: its stage's, but for the
// kinds that have one of their own.
func serverOf(kind string) string {
	switch kind {
	case kairos.KindDistribute:
		return distribution
	case kairos.KindTrain, kairos.KindScore:
		return training
	}
	return stageOf(kind)
}
