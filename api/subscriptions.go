package api

import (
	"context"
	"net/http"

	"kairos/analysis"
)

// subscriptions registers outgoing web hooks. Their addresses may be secrets
// themselves, so seeing them is the administrator's too.
func (a *server) subscriptions() {
	admin := []string{ScopeAdmin}
	handle(a, call{method: http.MethodPost, path: "/v1/subscriptions", id: "subscribe", tag: "Subscriptions", status: 201, once: "secret",
		summary: "Subscribe to events", scopes: admin, errors: []int{503},
		about: "From now on each event of these kinds is posted to the address, in the log's order, one at a time, signed as Standard Webhooks 1.0 says: " +
			"`webhook-id` (the event's id; the same at each repetition), `webhook-timestamp`, `webhook-signature`. " +
			"Answer with 2xx within ten seconds; anything else is repeated after 5 s, doubling to an hour. 410, or three days of failures, disable the subscription. " +
			"The answer holds the secret, this once."},
		func(ctx context.Context, in *struct{ Body SubscriptionInput }) (*body[SubscriptionWithSecret], error) {
			s, secret, err := a.opts.Analysis.Subscribe(ctx, analysis.SubscriptionInput{URL: in.Body.URL, Kinds: in.Body.Kinds, Description: in.Body.Description})
			return answer(SubscriptionWithSecret{subscriptionOf(&s), secret}, err)
		})
	handle(a, call{method: http.MethodGet, path: "/v1/subscriptions", id: "list-subscriptions", tag: "Subscriptions",
		summary: "List subscriptions", scopes: admin},
		func(ctx context.Context, in *Page) (*listOutput[Subscription], error) {
			list, next, err := a.opts.Analysis.Subscriptions(ctx, in.Limit, in.After)
			if err != nil {
				return nil, err
			}
			return newList(list, next, subscriptionOf), nil
		})
	handle(a, call{method: http.MethodGet, path: "/v1/subscriptions/{id}", id: "get-subscription", tag: "Subscriptions",
		summary: "Get a subscription", scopes: admin},
		func(ctx context.Context, in *ByID) (*body[Subscription], error) {
			s, err := a.opts.Analysis.Subscription(ctx, in.ID.ID)
			return answer(subscriptionOf(&s), err)
		})
	handle(a, call{method: http.MethodPatch, path: "/v1/subscriptions/{id}", id: "update-subscription", tag: "Subscriptions",
		summary: "Change, pause or revive a subscription", scopes: admin,
		about: "What is not given stays. While it is paused or disabled events wait in the log; active goes on with the first of them. " +
			"Another address, or active, forgets the failures."},
		func(ctx context.Context, in *struct {
			ByID
			Body SubscriptionPatch
		}) (*body[Subscription], error) {
			s, err := a.opts.Analysis.ChangeSubscription(ctx, in.ID.ID, analysis.SubscriptionPatch{
				URL: in.Body.URL, Kinds: in.Body.Kinds, Description: in.Body.Description, State: in.Body.State})
			return answer(subscriptionOf(&s), err)
		})
	handle(a, call{method: http.MethodDelete, path: "/v1/subscriptions/{id}", id: "unsubscribe", tag: "Subscriptions", status: 204,
		summary: "Remove a subscription", scopes: admin},
		func(ctx context.Context, in *ByID) (*nothing, error) {
			return nil, a.opts.Analysis.Unsubscribe(ctx, in.ID.ID)
		})
	handle(a, call{method: http.MethodPost, path: "/v1/subscriptions/{id}/rotate", id: "rotate-subscription-secret", tag: "Subscriptions",
		status: 200, nobody: true, once: "secret",
		summary: "Give a subscription a new secret", about: "The old one signs beside it for 24 hours. The answer holds the new one, this once.",
		scopes: admin, errors: []int{503}},
		func(ctx context.Context, in *ByID) (*body[SubscriptionWithSecret], error) {
			s, secret, err := a.opts.Analysis.RotateSecret(ctx, in.ID.ID)
			return answer(SubscriptionWithSecret{subscriptionOf(&s), secret}, err)
		})
	handle(a, call{method: http.MethodPost, path: "/v1/subscriptions/{id}/test", id: "test-subscription", tag: "Subscriptions",
		status: 200, nobody: true,
		summary: "Send a test event", about: "Posts one event of the kind `subscription.test` at once, in whatever state the subscription is, and tells what came of it.",
		scopes: admin},
		func(ctx context.Context, in *ByID) (*body[SubscriptionDelivery], error) {
			d, err := a.opts.Analysis.TestSubscription(ctx, in.ID.ID, ticket(ctx))
			return answer(subscriptionDeliveryOf(&d), err)
		})
	handle(a, call{method: http.MethodGet, path: "/v1/subscriptions/{id}/deliveries", id: "list-subscription-deliveries", tag: "Subscriptions",
		summary: "List a subscription's last attempts", about: "The newest first; the last 100 are kept.", scopes: []string{ScopeReports}},
		func(ctx context.Context, in *struct {
			ByID
			Page
		}) (*listOutput[SubscriptionDelivery], error) {
			list, next, err := a.opts.Analysis.SubscriptionDeliveries(ctx, in.ID.ID, in.Limit, in.After)
			if err != nil {
				return nil, err
			}
			return newList(list, next, subscriptionDeliveryOf), nil
		})
}
