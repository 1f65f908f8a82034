package main

import (
	"context"

	"kairos"
	"kairos/api"
	"kairos/api/dashboard"
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

// authenticate lets API keys into the dashboard. `kairos dev` serves this
// machine alone and asks for none.
func (p *system) authenticate() func(ctx context.Context, key string) (dashboard.Visitor, bool) {
	if p.local {
		return nil
	}
	return func(ctx context.Context, key string) (dashboard.Visitor, bool) {
		who, err := p.keys.Check(ctx, key)
		if err != nil || !who.May(api.ScopeReports) {
			return dashboard.Visitor{}, false
		}
		return dashboard.Visitor{Name: who.Name, Acts: who.May(api.ScopeCampaigns)}, true
	}
}

// sessionKey signs the dashboard's sessions.
func (p *system) sessionKey() []byte {
	return p.keyring.DeriveKey("dashboard session")
}
