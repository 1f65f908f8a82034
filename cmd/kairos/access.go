package main

import (
	"context"

	"kairos/api"
	"kairos/api/dashboard"
)

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
		return dashboard.Visitor{Name: who.Name, Acts: who.May(api.ScopeCampaigns), Decides: who.May(api.ScopeModels)}, true
	}
}

// sessionKey signs the dashboard's sessions.
func (p *system) sessionKey() []byte {
	return p.keyring.DeriveKey("dashboard session")
}
