package api

import "slices"

// Scopes of an API key. A scope to write covers reading the same things back.
const (
	ScopeContacts  = "contacts:write"   // audience: contacts, imports, segments, timelines, preferences, suppressions
	ScopeCampaigns = "campaigns:launch" // templates, campaigns, transactional messages, the ledger
	ScopeReports   = "reports:read"     // campaigns and the ledger to read, reports, events and their stream
	ScopeEvents    = "events:write"     // POST /v1/events
	ScopeModels    = "dto:promote"      // timing models
	ScopeAdmin     = "admin"            // everything, and what only a person may decide
)

// Scopes lists all of them.
func Scopes() []string {
	return []string{ScopeContacts, ScopeCampaigns, ScopeReports, ScopeEvents, ScopeModels, ScopeAdmin}
}

// Identity is who calls: the bearer of an API key.
type Identity struct {
	Key            string // id of the key, safe to log
	Name           string
	Scopes         []string
	Purpose        string   // default of the caller's tickets
	Classification []string // default of the caller's tickets
}

// May reports whether the caller holds one of the scopes; admin holds all.
func (i *Identity) May(anyOf ...string) bool {
	if slices.Contains(i.Scopes, ScopeAdmin) {
		return true
	}
	for _, s := range anyOf {
		if slices.Contains(i.Scopes, s) {
			return true
		}
	}
	return false
}
