package api

import (
	"encoding/json"
	"time"

	"kairos"
)

// Event is one fact of the log.
type Event struct {
	ID           ID         `json:"id"`
	Kind         string     `json:"kind" example:"notification.opened"`
	Version      int16      `json:"version" doc:"Of the kind's data."`
	Key          string     `json:"key,omitempty" doc:"What makes a repeat a repeat."`
	OccurredAt   time.Time  `json:"occurred_at"`
	RecordedAt   *time.Time `json:"recorded_at,omitempty"`
	Campaign     *ID        `json:"campaign,omitempty"`
	Contact      *ID        `json:"contact,omitempty"`
	Notification *ID        `json:"notification,omitempty"`
	Ticket       *ID        `json:"ticket,omitempty" doc:"The context of the request that caused it."`
	Data         Object     `json:"data,omitempty"`
	Cursor       string     `json:"cursor,omitempty" doc:"Its place in the log: pass it as after or Last-Event-ID to go on behind it."`
}

func eventOf(e *kairos.Event) Event {
	return Event{
		ID: ID{e.ID}, Kind: e.Kind, Version: max(e.Version, 1), Key: e.Key, OccurredAt: e.OccurredAt, RecordedAt: timeOf(e.RecordedAt),
		Campaign: idOf(e.Campaign), Contact: idOf(e.Contact), Notification: idOf(e.Notification), Ticket: idOf(e.Ticket),
		Data: Object(e.Data), Cursor: e.Cursor.String(),
	}
}

// EventInput is one event a client reports.
type EventInput struct {
	Kind         string     `json:"kind" maxLength:"100" doc:"page.viewed, cta.clicked, offer.accepted, offer.declined, payment.received, or a kind of your own: small words joined by dots."`
	Token        string     `json:"token,omitempty" maxLength:"4096" doc:"The kt of a landing page; or notification, contact or external_id."`
	Notification *ID        `json:"notification,omitempty"`
	Contact      *ID        `json:"contact,omitempty"`
	ExternalID   string     `json:"external_id,omitempty" maxLength:"200"`
	Key          string     `json:"key,omitempty" maxLength:"200" doc:"Your own key of the fact (order-17): the same key is one event, for ever."`
	OccurredAt   *time.Time `json:"occurred_at,omitempty" doc:"May lie in the past. Default: now."`
	Amount       *Amount    `json:"amount,omitempty" doc:"Of payment.received."`
	Currency     string     `json:"currency,omitempty" maxLength:"3" doc:"ISO 4217, of payment.received."`
	Data         Object     `json:"data,omitempty"`
}

// hit is the event as a collector would have spooled it.
func (in *EventInput) hit(open func(string) (campaign, notification kairos.ID, err error)) (kairos.Hit, error) {
	h := kairos.Hit{ExternalID: in.ExternalID}
	e := &h.Event
	e.Kind, e.Key, e.Version = in.Kind, in.Key, 1
	if in.OccurredAt != nil {
		e.OccurredAt = *in.OccurredAt
	}
	named := 0
	for _, given := range []bool{in.Token != "", in.Notification != nil, in.Contact != nil, in.ExternalID != ""} {
		if given {
			named++
		}
	}
	if named != 1 {
		return h, kairos.Invalid("contact", "is missing or one too many: give one of token, notification, contact and external_id")
	}
	switch {
	case in.Token != "":
		if open == nil {
			return h, kairos.Invalid("token", "can't be read by this installation")
		}
		var err error
		if e.Campaign, e.Notification, err = open(in.Token); err != nil {
			return h, kairos.Invalid("token", "is not a valid token")
		}
	case in.Notification != nil:
		e.Notification = in.Notification.ID
	case in.Contact != nil:
		e.Contact = in.Contact.ID
	}
	return h, in.data(e)
}

// data puts amount and currency where the log keeps them: beside the rest.
func (in *EventInput) data(e *kairos.Event) error {
	if in.Amount == nil && in.Currency == "" {
		e.Data = json.RawMessage(in.Data)
		return nil
	}
	var m map[string]json.RawMessage
	if len(in.Data) > 0 {
		if err := json.Unmarshal(in.Data, &m); err != nil {
			return kairos.Invalid("data", "must be a JSON object")
		}
	}
	if m == nil {
		m = map[string]json.RawMessage{}
	}
	for name, v := range map[string]any{"amount": in.Amount, "currency": in.Currency} {
		if name == "amount" && in.Amount == nil || name == "currency" && in.Currency == "" {
			continue
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return kairos.Invalid(name, "can't be stored")
		}
		m[name] = raw
	}
	raw, err := json.Marshal(m)
	e.Data = raw
	if err != nil {
		return kairos.Invalid("data", "can't be stored")
	}
	return nil
}
