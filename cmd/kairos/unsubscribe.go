package main

import (
	"context"

	"kairos"
	"kairos/delivery"
)

// unsubscribe makes an unsubscription bind at once; the spool's copy of it
// follows and changes nothing more.
func (p *system) unsubscribe(ctx context.Context, _, notification kairos.ID) error {
	return p.stages.delivery.Suppress(ctx, delivery.Suppression{
		Channel: kairos.Email, Notification: notification, Scope: delivery.ScopeMarketing,
		Reason: delivery.Unsubscribed, At: p.clock.Now(),
	})
}
