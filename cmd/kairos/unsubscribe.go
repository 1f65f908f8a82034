package main

import (
	"context"
	"fmt"

	"kairos"
	"kairos/delivery"
)

// unsubscribe makes an unsubscription bind at once; the spool's copy of it
// follows and changes nothing more.
func (p *system) unsubscribe(ctx context.Context, campaign, notification kairos.ID) error {
	var contact kairos.ID
	err := p.pool.QueryRow(ctx, `SELECT contact FROM notifications WHERE id = $1 AND campaign = $2`, notification, campaign).Scan(&contact)
	if err != nil {
		return fmt.Errorf("find who unsubscribed: %w", err)
	}
	return p.stages.delivery.Suppress(ctx, delivery.Suppression{
		Channel: kairos.Email, Contact: contact, Scope: delivery.ScopeMarketing, Reason: delivery.Unsubscribed,
		Notification: notification, At: p.clock.Now(),
	})
}

// authenticate lets API keys into the dashboard. `kairos dev` serves this
// machine alone and asks for none.
func (p *system) authenticate() func(ctx context.Context, key string) (string, bool) {
	if p.local {
		return nil
	}
	return func(ctx context.Context, key string) (string, bool) {
		who, err := p.keys.Check(ctx, key)
		if err != nil || !who.May("reports:read") {
			return "", false
		}
		return who.Name, true
	}
}

// sessionKey signs the dashboard's sessions.
func (p *system) sessionKey() []byte {
	return p.keyring.DeriveKey("dashboard session")
}
