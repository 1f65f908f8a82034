package main

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
	"kairos/analysis"
	"kairos/analysis/timing"
	"kairos/creation"
	"kairos/delivery"
	"kairos/internal/batch"
	"kairos/internal/queue"
	"kairos/orchestration"
)

// stages are the rooms of the pipeline; each knows only Postgres.
type stages struct {
	creation      *creation.Creation
	orchestration *orchestration.Orchestration
	delivery      *delivery.Delivery
	analysis      *analysis.Analysis
	timing        *timing.Registry
	pool          *pgxpool.Pool
}

// pipeline connects the stages a process serves. Read top to bottom: the life
// of a campaign. Work is cut into batches in Postgres; each handler turns one
// batch into the batches of the next stage, and the queue rings for those that
// are due. The periodic work runs in one process, the leader.
func pipeline(q *queue.Queue, s *stages, roles []string) {
	queue.Every(q, 5*time.Second, "leases", func(ctx context.Context) error { // what fell silent is issued again
		return batch.Revive(ctx, s.pool, kairos.KindSend, kairos.KindUrgent)
	})
	if slices.Contains(roles, "creation") {
		queue.Handle(q, s.creation.ImportChunk) // a chunk of an import becomes contacts
		queue.Handle(q, s.creation.Expand)      // a launched campaign becomes pages of contacts
		queue.Every(q, time.Second, "campaigns", s.creation.Tick)
		queue.Every(q, time.Second, "preferences", s.creation.Learn)
	}
	if slices.Contains(roles, "orchestration") {
		queue.Handle(q, s.orchestration.Plan) // a page becomes notifications, each with an arm, a channel and a slot
		queue.Every(q, time.Second, "cancelled campaigns", s.orchestration.Sweep)
		queue.Every(q, time.Second, "erasures", s.orchestration.Forget)
	}
	if slices.Contains(roles, "delivery") {
		queue.Handle(q, s.delivery.Send)      // a batch whose slot has come is claimed, rendered, handed to a provider
		queue.Handle(q, s.delivery.SendFirst) // a transactional message, ahead of campaigns
		queue.Every(q, time.Second, "feedback", s.delivery.Feedback)
		queue.Every(q, 5*time.Second, "reconciler", s.delivery.Reconcile) // the same of sending: what its holder left open is unknown
	}
	if slices.Contains(roles, "analysis") {
		queue.Handle(q, s.analysis.Fold)       // events become funnels and returns
		queue.Handle(q, s.analysis.Distribute) // events are posted to those who subscribed
		queue.Handle(q, s.timing.Train)        // what was explored becomes a model of delivery time
		queue.Handle(q, s.timing.Score)        // everybody's hours under a model are computed anew
		queue.Every(q, time.Second, "timing", s.timing.Watch)
		queue.Every(q, 250*time.Millisecond, "fold", func(ctx context.Context) error {
			defer q.Nudge(kairos.KindFold)
			return s.analysis.Arm(ctx)
		})
	}
}
