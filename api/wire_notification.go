package api

import (
	"time"

	"kairos/delivery"
)

// Notification is one recipient's message and where it stands.
type Notification struct {
	ID        ID         `json:"id"`
	Campaign  ID         `json:"campaign"`
	Contact   ID         `json:"contact"`
	Key       string     `json:"key,omitempty" doc:"Of a single message."`
	Channel   string     `json:"channel"`
	State     string     `json:"state" enum:"planned,accepted,unknown,failed,skipped,cancelled,held_out"`
	Reason    string     `json:"reason,omitempty" doc:"Why it was skipped, failed or fell back: a stable name."`
	Arm       string     `json:"arm"`
	PlannedAt time.Time  `json:"planned_at"`
	DecidedAt time.Time  `json:"decided_at"`
	DoneAt    *time.Time `json:"done_at"`
	Attempts  []Attempt  `json:"attempts,omitempty"`
}

// Attempt is one try to hand the message to a provider.
type Attempt struct {
	Number     int        `json:"number"`
	Provider   string     `json:"provider"`
	State      string     `json:"state"`
	StartedAt  time.Time  `json:"started_at"`
	EndedAt    *time.Time `json:"ended_at"`
	ProviderID string     `json:"provider_id,omitempty" doc:"The provider's name for the message."`
	Code       string     `json:"code,omitempty"`
	Detail     string     `json:"detail,omitempty"`
	Evidence   string     `json:"evidence,omitempty" doc:"What resolved an unknown."`
}

func notificationOf(n *delivery.Notification) Notification {
	out := Notification{
		ID: ID{n.ID}, Campaign: ID{n.Campaign}, Contact: ID{n.Contact}, Key: n.Step, Channel: string(n.Channel), State: n.State,
		Reason: string(n.Reason), Arm: string(n.Arm), PlannedAt: n.PlannedAt, DecidedAt: n.DecidedAt, DoneAt: n.DoneAt,
	}
	for _, t := range n.Attempts {
		out.Attempts = append(out.Attempts, attemptOf(&t))
	}
	return out
}

func attemptOf(t *delivery.Attempt) Attempt {
	return Attempt{
		Number: int(t.Number), Provider: t.Provider, State: t.State, StartedAt: t.StartedAt, EndedAt: t.EndedAt,
		ProviderID: t.ProviderID, Code: t.Code, Detail: t.Detail, Evidence: t.Evidence,
	}
}
