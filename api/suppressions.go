package api

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/mail"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/delivery"
)

// Suppression says whom not to write to. Addresses are kept as hashes alone.
type Suppression struct {
	Channel       string    `json:"channel"`
	AddressSHA256 string    `json:"address_sha256" doc:"Of the lower-case address; of a person without one a value of its own."`
	Scope         string    `json:"scope" enum:"all,marketing"`
	Contact       *ID       `json:"contact"`
	Reason        string    `json:"reason" doc:"bounced, complained, unsubscribed, manual"`
	Notification  *ID       `json:"notification" doc:"The message that caused it."`
	CreatedAt     time.Time `json:"created_at"`
}

// SuppressionInput is the body of POST /v1/suppressions.
type SuppressionInput struct {
	Contact *ID    `json:"contact,omitempty" doc:"The person, whatever the address; or email."`
	Email   string `json:"email,omitempty" maxLength:"254" doc:"An address, also one of nobody known."`
	Scope   string `json:"scope,omitempty" enum:"all,marketing" default:"all"`
}

func (a *server) suppressions() {
	handle(a, call{method: http.MethodGet, path: "/v1/suppressions", id: "list-suppressions", tag: "Suppressions",
		summary: "List suppressions", scopes: audience},
		func(ctx context.Context, in *struct {
			Page
			Contact ID `query:"contact"`
		}) (*listOutput[Suppression], error) {
			items, next, err := a.listSuppressions(ctx, in.Contact.ID, in.Limit, in.After)
			if err != nil {
				return nil, err
			}
			return newList(items, next, func(s *Suppression) Suppression { return *s }), nil
		})
	handle(a, call{method: http.MethodPost, path: "/v1/suppressions", id: "suppress", tag: "Suppressions", status: 204,
		summary: "Suppress a person or an address", about: "No attempt begins for them after the answer.", scopes: audience},
		func(ctx context.Context, in *struct{ Body SuppressionInput }) (*nothing, error) {
			s := delivery.Suppression{Channel: kairos.Email, Scope: in.Body.Scope, Reason: delivery.Manual, At: a.opts.Clock.Now()}
			switch {
			case (in.Body.Contact == nil) == (in.Body.Email == ""):
				return nil, kairos.Invalid("contact", "must be given, or email instead")
			case in.Body.Contact != nil:
				s.Contact = in.Body.Contact.ID
				if _, err := a.opts.Creation.Contact(ctx, s.Contact); err != nil {
					return nil, absent(err, "contact")
				}
			default:
				m, err := mail.ParseAddress(in.Body.Email)
				if err != nil || m.Address != strings.TrimSpace(in.Body.Email) {
					return nil, kairos.Invalid("email", "is not an address")
				}
				s.Address = m.Address
			}
			return nil, a.opts.Delivery.Suppress(ctx, s)
		})
	handle(a, call{method: http.MethodDelete, path: "/v1/contacts/{id}/suppressions", id: "unsuppress", tag: "Suppressions", status: 204,
		summary: "Take a person's unsubscription back", about: "For people who asked to come back. Bounces, complaints and manual suppressions stay.", scopes: audience},
		func(ctx context.Context, in *ByID) (*nothing, error) {
			if _, err := a.opts.Creation.Contact(ctx, in.ID.ID); err != nil {
				return nil, err
			}
			return nil, a.opts.Delivery.Unsuppress(ctx, in.ID.ID, kairos.Email, a.opts.Clock.Now())
		})
}

// listSuppressions reads delivery's table in the order of its key; the cursor
// is that key.
func (a *server) listSuppressions(ctx context.Context, contact kairos.ID, limit int, after string) ([]Suppression, string, error) {
	channel, address, scope := "", []byte{}, ""
	if after != "" {
		parts := strings.Split(after, ".")
		var err error
		if len(parts) == 3 {
			channel, scope = parts[0], parts[2]
			address, err = hex.DecodeString(parts[1])
		}
		if len(parts) != 3 || err != nil {
			return nil, "", kairos.Invalid("after", "is not a cursor of this list")
		}
	}
	rows, err := a.opts.Pool.Query(ctx, `
		SELECT channel, encode(address, 'hex'), scope, contact, reason, notification, created_at FROM suppressions
		WHERE (channel, address, scope) > ($1, $2, $3) AND ($4::uuid IS NULL OR contact = $4)
		ORDER BY channel, address, scope LIMIT $5`, channel, address, scope, contact, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list suppressions: %w", err)
	}
	list, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (s Suppression, err error) {
		var contact, notification kairos.ID
		err = r.Scan(&s.Channel, &s.AddressSHA256, &s.Scope, &contact, &s.Reason, &notification, &s.CreatedAt)
		s.Contact, s.Notification = idOf(contact), idOf(notification)
		return s, err
	})
	if err != nil {
		return nil, "", fmt.Errorf("list suppressions: %w", err)
	}
	if len(list) <= limit {
		return list, "", nil
	}
	list = list[:limit]
	last := list[limit-1]
	return list, strings.Join([]string{last.Channel, last.AddressSHA256, last.Scope}, "."), nil
}
