package analysis

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// hookPayload is the body of a web hook: type, timestamp and data as Standard
// Webhooks 1.0 asks for, id and source as in CloudEvents 1.0.
type hookPayload struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	ID        kairos.ID `json:"id"`
	Source    string    `json:"source"`
	Data      hookEvent `json:"data"`
}

// hookEvent is the event as GET /v1/events shows it, with its ticket's
// context, and without what its classification keeps in the house.
type hookEvent struct {
	ID             kairos.ID       `json:"id"`
	Kind           string          `json:"kind"`
	Version        int16           `json:"version"`
	Key            string          `json:"key,omitempty"`
	OccurredAt     time.Time       `json:"occurred_at"`
	Campaign       kairos.ID       `json:"campaign,omitzero"`
	Contact        kairos.ID       `json:"contact,omitzero"`
	Notification   kairos.ID       `json:"notification,omitzero"`
	Ticket         kairos.ID       `json:"ticket,omitzero"`
	Purpose        string          `json:"purpose,omitempty"`
	Classification []string        `json:"classification,omitempty"`
	LegalBasis     string          `json:"legal_basis,omitempty"`
	Data           json.RawMessage `json:"data,omitempty"`
	Redacted       bool            `json:"redacted,omitempty"` // something was left out of data or key
	Cursor         kairos.Cursor   `json:"cursor,omitzero"`
}

// background is what a request handed on to an event: its ticket and its
// campaign's classification.
type background struct {
	purpose, legalBasis, traceParent string
	classification                   []string
}

// backgrounds reads the background of events, by event.
func (a *Analysis) backgrounds(ctx context.Context, events []kairos.Event) (map[kairos.ID]background, error) {
	n := len(events)
	ids, tickets, campaigns := make([]kairos.ID, n), make([]kairos.ID, n), make([]kairos.ID, n)
	for i := range events {
		ids[i], tickets[i], campaigns[i] = events[i].ID, events[i].Ticket, events[i].Campaign
	}
	rows, err := a.pool.Query(ctx, `
		SELECT u.id, coalesce(nullif(t.purpose, ''), c.purpose, ''), coalesce(t.legal_basis, ''), coalesce(t.traceparent, ''),
		       ARRAY (SELECT unnest(coalesce(t.classification, '{}')) UNION
		              SELECT jsonb_array_elements_text(CASE jsonb_typeof(c.spec->'classification') WHEN 'array' THEN c.spec->'classification' ELSE '[]' END)
		              ORDER BY 1)
		FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS u(id, ticket, campaign)
		LEFT JOIN tickets t ON t.id = u.ticket LEFT JOIN campaigns c ON c.id = u.campaign`, ids, tickets, campaigns)
	if err != nil {
		return nil, fmt.Errorf("read backgrounds of events: %w", err)
	}
	out := make(map[kairos.ID]background, n)
	var id kairos.ID
	var b background
	_, err = pgx.ForEachRow(rows, []any{&id, &b.purpose, &b.legalBasis, &b.traceParent, &b.classification}, func() error {
		out[id] = b
		b.classification = nil
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read backgrounds of events: %w", err)
	}
	return out, nil
}

// payload renders the body of an event. The same event has the same body at
// every attempt.
func payload(e *kairos.Event, b background) ([]byte, error) {
	d := hookEvent{ID: e.ID, Kind: e.Kind, Version: max(e.Version, 1), Key: e.Key, OccurredAt: e.OccurredAt.UTC(), Campaign: e.Campaign,
		Contact: e.Contact, Notification: e.Notification, Ticket: e.Ticket, Purpose: b.purpose, Classification: b.classification,
		LegalBasis: b.legalBasis, Cursor: e.Cursor}
	if holdsAddress(e.Key) {
		d.Key, d.Redacted = "", true
	}
	data, cut := redact(e.Data, b.classification)
	d.Data, d.Redacted = data, d.Redacted || cut
	raw, err := json.Marshal(hookPayload{Type: e.Kind, Timestamp: d.OccurredAt, ID: e.ID, Source: "kairos", Data: d})
	if err != nil {
		return nil, fmt.Errorf("render event %s: %w", e.ID, err)
	}
	return raw, nil
}

// plainMembers are the members of data that Kairos itself writes and that name
// no person: all that classified events carry out of the house.
var plainMembers = map[string]bool{
	"planned_at": true, "provider": true, "choice": true, "links": true, "link": true, "machine": true, "code": true, "class": true,
	"reason": true, "arm": true, "channel": true, "attempt": true, "amount": true, "currency": true, "state": true, "scope": true,
	"rows": true, "created": true, "updated": true, "rejected": true,
}

// addressMembers are names whose values are addresses, whatever they look like.
var addressMembers = map[string]bool{
	"email": true, "e_mail": true, "mail": true, "phone": true, "mobile": true, "tel": true, "telephone": true, "address": true,
	"street": true, "ip": true, "ip_address": true, "to": true, "from": true, "recipient": true,
}

var addressForm = regexp.MustCompile(`(?i)[^\s@]+(@|%40)[^\s@]+`)

func holdsAddress(s string) bool { return addressForm.MatchString(s) }

// redact leaves out of data what must not leave: addresses always, and of
// events with a classification everything but plain members. Reports whether
// anything is missing.
func redact(data json.RawMessage, classification []string) (_ json.RawMessage, cut bool) {
	if len(data) == 0 || string(data) == "null" {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // numbers stay as they were written
	var members map[string]any
	if err := dec.Decode(&members); err != nil {
		return nil, true
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, true
	}
	if len(classification) > 0 {
		for name, v := range members {
			_, nested := v.(map[string]any)
			_, list := v.([]any)
			if !plainMembers[name] || nested || list {
				delete(members, name)
				cut = true
			}
		}
	}
	cut = withoutAddresses(members) || cut
	raw, err := json.Marshal(members)
	if err != nil {
		return nil, true
	}
	return raw, cut
}

// withoutAddresses removes addresses from a decoded value, in place.
func withoutAddresses(v any) (cut bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if s, ok := member.(string); addressMembers[strings.ToLower(name)] || holdsAddress(name) || ok && holdsAddress(s) {
				delete(v, name)
				cut = true
				continue
			}
			cut = withoutAddresses(member) || cut
		}
	case []any:
		for i, member := range v {
			if s, ok := member.(string); ok && holdsAddress(s) {
				v[i] = nil
				cut = true
				continue
			}
			cut = withoutAddresses(member) || cut
		}
	}
	return cut
}
