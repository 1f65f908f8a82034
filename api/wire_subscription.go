package api

import (
	"time"

	"kairos/analysis"
)

// SubscriptionInput is the body of POST /v1/subscriptions.
type SubscriptionInput struct {
	URL         string   `json:"url" minLength:"1" maxLength:"2000" doc:"Where the events are posted: https:// or http://, no private address." example:"https://hooks.example.com/kairos"`
	Kinds       []string `json:"kinds,omitempty" maxItems:"50" doc:"Kinds of events, or families as notification.*; none: all." example:"[\"notification.*\",\"payment.received\"]"`
	Description string   `json:"description,omitempty" maxLength:"500"`
}

// SubscriptionPatch is the body of PATCH /v1/subscriptions/{id}.
type SubscriptionPatch struct {
	URL         *string  `json:"url,omitempty" minLength:"1" maxLength:"2000"`
	Kinds       []string `json:"kinds,omitempty" maxItems:"50" doc:"Replaces all of them; empty: all kinds."`
	Description *string  `json:"description,omitempty" maxLength:"500"`
	State       *string  `json:"state,omitempty" enum:"active,paused" doc:"active also revives a disabled one."`
}

// Subscription is an outgoing web hook.
type Subscription struct {
	ID           ID         `json:"id"`
	URL          string     `json:"url"`
	Kinds        []string   `json:"kinds" doc:"None: all."`
	Description  string     `json:"description"`
	State        string     `json:"state" enum:"active,paused,disabled" doc:"disabled: the receiver answered 410, or failed for three days."`
	Reason       string     `json:"reason,omitempty" doc:"Of disabled: gone, failing."`
	Failures     int        `json:"failures" doc:"Attempts in a row that failed."`
	FailingSince *time.Time `json:"failing_since"`
	NextAt       *time.Time `json:"next_at" doc:"While it fails: when the next attempt is due."`
	CreatedAt    time.Time  `json:"created_at"`
	UpdatedAt    time.Time  `json:"updated_at"`
}

func subscriptionOf(s *analysis.Subscription) Subscription {
	out := Subscription{ID: ID{s.ID}, URL: s.URL, Kinds: s.Kinds, Description: s.Description, State: s.State, Reason: s.Reason,
		Failures: s.Failures, FailingSince: s.FailingSince, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt}
	if s.Failures > 0 && s.State == analysis.SubscriptionActive {
		out.NextAt = &s.NextAt
	}
	return out
}

// SubscriptionWithSecret is the answer that shows the secret.
type SubscriptionWithSecret struct {
	Subscription
	Secret string `json:"secret,omitempty" doc:"Signs the events (Standard Webhooks 1.0). Shown this once, also not in a replay by Idempotency-Key." example:"whsec_..."`
}

// SubscriptionDelivery is one attempt to deliver one event.
type SubscriptionDelivery struct {
	Number int64     `json:"number" doc:"Of the subscription's attempts."`
	Event  ID        `json:"event" doc:"Sent as webhook-id."`
	Kind   string    `json:"kind"`
	At     time.Time `json:"at"`
	TookMS int64     `json:"took_ms"`
	Status *int      `json:"status" doc:"HTTP status; null: no answer."`
	Error  *string   `json:"error" doc:"null: delivered."`
}

func subscriptionDeliveryOf(d *analysis.SubscriptionDelivery) SubscriptionDelivery {
	out := SubscriptionDelivery{Number: d.Number, Event: ID{d.Event}, Kind: d.Kind, At: d.At, TookMS: d.Took.Milliseconds()}
	if d.Status != 0 {
		out.Status = &d.Status
	}
	if d.Error != "" {
		out.Error = &d.Error
	}
	return out
}
