package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"kairos"
	"kairos/creation"
	"kairos/delivery"
	"kairos/orchestration"
)

// NotificationInput is the body of POST /v1/notifications.
type NotificationInput struct {
	Template   ID     `json:"template"`
	Contact    *ID    `json:"contact,omitempty" doc:"Whom; or external_id or email."`
	ExternalID string `json:"external_id,omitempty" maxLength:"200"`
	Email      string `json:"email,omitempty" maxLength:"254" doc:"An address that nobody has yet becomes a person."`
	Purpose    string `json:"purpose,omitempty" maxLength:"50" doc:"Default transactional, which consent doesn't bind."`
	Key        string `json:"key,omitempty" maxLength:"200" doc:"The message's own key (order-17-receipt): the same key for the same person is one message."`
	Data       Object `json:"data,omitempty" doc:"Values for the template."`
}

func (a *server) notifications() {
	type sent struct {
		Status int
		Body   Notification
	}
	handle(a, call{method: http.MethodPost, path: "/v1/notifications", id: "send-notification", tag: "Notifications", status: 202, also: 200,
		summary: "Send one message", about: "Ahead of campaigns. 202 when it is new, 200 when its key is known. Who can't be written to gets a skipped notification with its reason.", scopes: launches},
		func(ctx context.Context, in *struct{ Body NotificationInput }) (*sent, error) {
			contact, err := a.recipient(ctx, &in.Body)
			if err != nil {
				return nil, err
			}
			n, created, err := a.notify(ctx, in.Body, contact)
			if err != nil {
				return nil, err
			}
			out := &sent{http.StatusAccepted, n}
			if !created {
				out.Status = http.StatusOK
			}
			return out, nil
		})
	handle(a, call{method: http.MethodGet, path: "/v1/campaigns/{id}/notifications", id: "list-notifications", tag: "Notifications",
		summary: "List a campaign's recipients", about: "Each with where the message stands and why.", scopes: overviews},
		func(ctx context.Context, in *struct {
			ByID
			Page
			State string `query:"state" enum:"planned,accepted,unknown,failed,skipped,cancelled,held_out"`
		}) (*listOutput[Notification], error) {
			if _, err := a.opts.Creation.Campaign(ctx, in.ID.ID); err != nil {
				return nil, err
			}
			ns, next, err := a.opts.Delivery.Notifications(ctx, delivery.NotificationQuery{Campaign: in.ID.ID, State: in.State, Limit: in.Limit, After: in.After})
			if err != nil {
				return nil, err
			}
			return newList(ns, next, notificationOf), nil
		})
	handle(a, call{method: http.MethodGet, path: "/v1/notifications/{id}", id: "get-notification", tag: "Notifications",
		summary: "Get a message and its attempts", scopes: overviews},
		func(ctx context.Context, in *ByID) (*body[Notification], error) {
			n, err := a.opts.Delivery.Notification(ctx, in.ID.ID)
			return answer(notificationOf(&n), err)
		})
	handle(a, call{method: http.MethodGet, path: "/v1/notifications/{id}/explain", id: "explain-notification", tag: "Notifications",
		summary: "Explain a message", about: "Why this person, this channel, this minute: the arm and its propensity, the rules in the order asked, the hours that were allowed.", scopes: overviews},
		func(ctx context.Context, in *ByID) (*body[Explanation], error) {
			e, err := a.opts.Orchestration.Explain(ctx, in.ID.ID)
			if err != nil {
				return nil, err
			}
			return &body[Explanation]{explanationOf(&e)}, nil
		})
}

// recipient finds the person a message is for.
func (a *server) recipient(ctx context.Context, in *NotificationInput) (kairos.ID, error) {
	given := 0
	for _, set := range []bool{in.Contact != nil, in.ExternalID != "", in.Email != ""} {
		if set {
			given++
		}
	}
	if given != 1 {
		return kairos.ID{}, kairos.Invalid("contact", "must be given, or one of external_id and email instead")
	}
	switch {
	case in.Contact != nil:
		c, err := a.opts.Creation.Contact(ctx, in.Contact.ID)
		return c.ID, absent(err, "contact")
	case in.ExternalID != "":
		c, err := a.opts.Creation.ContactByExternalID(ctx, in.ExternalID)
		return c.ID, absent(err, "external_id")
	}
	c, _, err := a.opts.Creation.UpsertContact(ctx, creation.ContactInput{Email: in.Email})
	return c.ID, err
}

// notify plans one message in the campaign of its purpose, template and month.
func (a *server) notify(ctx context.Context, in NotificationInput, contact kairos.ID) (Notification, bool, error) {
	data, err := in.Data.object()
	if err != nil {
		return Notification{}, false, err
	}
	t := ticket(ctx)
	c, err := a.opts.Creation.TransactionalCampaign(ctx, in.Template.ID, in.Purpose, t)
	if err != nil {
		return Notification{}, false, err
	}
	id, created, err := a.opts.Orchestration.Notify(ctx, orchestration.NotifyInput{Campaign: c.ID, Contact: contact, Key: in.Key, Data: data}, t)
	if err != nil {
		return Notification{}, false, fmt.Errorf("send notification: %w", err)
	}
	n, err := a.opts.Delivery.Notification(ctx, id)
	return notificationOf(&n), created, err
}

// Explanation is the answer of GET /v1/notifications/{id}/explain.
type Explanation struct {
	Notification ID              `json:"notification"`
	Campaign     ID              `json:"campaign"`
	Contact      ID              `json:"contact"`
	State        string          `json:"state"`
	Reason       *string         `json:"reason"`
	Arm          string          `json:"arm"`
	Propensity   float64         `json:"propensity" doc:"Of the slot within the arm."`
	Model        *int            `json:"model" doc:"Version of the timing model that chose the hour; null: none did."`
	Slot         ExplainedSlot   `json:"slot"`
	Channel      string          `json:"channel"`
	Rules        []ExplainedRule `json:"rules" doc:"In the order asked."`
	Candidates   []ExplainedHour `json:"candidates" doc:"The local hours of the week that were allowed."`
	Events       []Event         `json:"events"`
}

// ExplainedSlot is the moment in three ways.
type ExplainedSlot struct {
	Local string    `json:"local" example:"Mon 09:00"`
	Zone  string    `json:"zone"`
	UTC   time.Time `json:"utc"`
}

// ExplainedRule is one rule's answer.
type ExplainedRule struct {
	Rule    string `json:"rule"`
	Outcome string `json:"outcome"`
}

// ExplainedHour is one allowed local hour.
type ExplainedHour struct {
	Slot   string `json:"slot"`
	Chosen bool   `json:"chosen"`
}

func explanationOf(e *orchestration.Explanation) Explanation {
	out := Explanation{
		Notification: ID{e.Notification}, Campaign: ID{e.Campaign}, Contact: ID{e.Contact}, State: e.State, Reason: e.Reason,
		Arm: string(e.Arm), Propensity: e.Propensity, Model: e.Model, Slot: ExplainedSlot(e.Slot), Channel: string(e.Channel),
		Rules: []ExplainedRule{}, Candidates: []ExplainedHour{}, Events: []Event{},
	}
	for _, r := range e.Rules {
		out.Rules = append(out.Rules, ExplainedRule(r))
	}
	for _, c := range e.Candidates {
		out.Candidates = append(out.Candidates, ExplainedHour(c))
	}
	for i := range e.Events {
		out.Events = append(out.Events, eventOf(&e.Events[i]))
	}
	return out
}
