package api

import (
	"context"
	"net/http"
	"time"

	"kairos"
	"kairos/delivery"
)

// UnknownAttempt is an attempt whose bytes left and that got no answer.
type UnknownAttempt struct {
	Attempt      string    `json:"attempt" doc:"<notification>.<number>: its name in resolve."`
	Notification ID        `json:"notification"`
	Campaign     ID        `json:"campaign"`
	Contact      ID        `json:"contact"`
	Purpose      string    `json:"purpose"`
	Provider     string    `json:"provider"`
	StartedAt    time.Time `json:"started_at"`
	Code         string    `json:"code,omitempty"`
	Detail       string    `json:"detail,omitempty"`
}

func unknownOf(u *delivery.UnknownAttempt) UnknownAttempt {
	return UnknownAttempt{u.Attempt, ID{u.Ref.Notification}, ID{u.Campaign}, ID{u.Contact}, u.Purpose, u.Provider, u.StartedAt, u.Code, u.Detail}
}

// Resolution is a person's decision about an unknown attempt.
type Resolution struct {
	Choice string `json:"choice" enum:"accepted,abandoned,resend_forced" doc:"accepted: it did leave. abandoned: count it as failed. resend_forced: send again; the person may get it twice."`
	Actor  string `json:"actor,omitempty" maxLength:"200" doc:"Who decided; default: the key's name."`
	Reason string `json:"reason,omitempty" maxLength:"500" doc:"Needed to send a marketing message again."`
}

func (a *server) unknowns() {
	handle(a, call{method: http.MethodGet, path: "/v1/unknowns", id: "list-unknowns", tag: "Notifications",
		summary: "List attempts whose fate is open", scopes: overviews},
		func(ctx context.Context, in *struct {
			Page
			Campaign ID `query:"campaign"`
		}) (*listOutput[UnknownAttempt], error) {
			us, next, err := a.opts.Delivery.Unknowns(ctx, delivery.UnknownQuery{Campaign: in.Campaign.ID, Limit: in.Limit, After: in.After})
			if err != nil {
				return nil, err
			}
			return newList(us, next, unknownOf), nil
		})
	handle(a, call{method: http.MethodPost, path: "/v1/unknowns/{attempt}/resolve", id: "resolve-unknown", tag: "Notifications", status: 200,
		summary: "Decide about an open attempt", about: "Logged with who decided. An attempt that is not unknown is 409.", scopes: []string{ScopeAdmin}},
		func(ctx context.Context, in *struct {
			Attempt string `path:"attempt" maxLength:"60" doc:"<notification>.<number>"`
			Body    Resolution
		}) (*body[Notification], error) {
			ref, err := kairos.ParseAttemptRef(in.Attempt)
			if err != nil {
				return nil, kairos.Invalid("attempt", "is not an attempt: <notification>.<number>")
			}
			actor := in.Body.Actor
			if actor == "" {
				actor = visitOf(ctx).caller.Name
			}
			if err := a.opts.Delivery.Resolve(ctx, ref, in.Body.Choice, actor, in.Body.Reason); err != nil {
				return nil, err
			}
			n, err := a.opts.Delivery.Notification(ctx, ref.Notification)
			return answer(notificationOf(&n), err)
		})
}
