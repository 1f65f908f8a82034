package kairos

// Ref names one batch of work and the epoch it was queued under. The epoch is
// the fence: when a batch is issued again its epoch grows, and whoever holds
// an older Ref finds that it may no longer act.
type Ref struct {
	Batch ID    `json:"b"`
	Epoch int32 `json:"e"`
}

// Reference returns the Ref itself, so that a task that embeds Ref is a Task.
func (r Ref) Reference() Ref { return r }

// Task is the doorbell of one batch: under 200 bytes on the wire, all truth is
// in Postgres. Implementations embed Ref and add Kind.
type Task interface {
	Kind() string // "<stage>.<verb>"; the stage names the queue
	Reference() Ref
}

// The kinds of batches. The part before the dot is the stage and its queue.
const (
	KindImport = "creation.import"     // a chunk of an import becomes contacts
	KindExpand = "creation.expand"     // a launched campaign becomes pages of contacts
	KindPlan   = "orchestration.plan"  // a page becomes notifications
	KindSend   = "delivery.send"       // a batch of notifications is handed to a provider
	KindFold   = "analysis.fold"       // events become rollups
	KindUrgent = "delivery.send_first" // transactional messages, ahead of campaigns

	KindDistribute = "analysis.distribute" // events are posted to a subscriber
	KindTrain      = "analysis.train"      // a snapshot becomes a timing model
	KindScore      = "analysis.score"      // people's hours are computed anew under a model
)
