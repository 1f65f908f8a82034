package api

import (
	"context"
	"encoding/json"
	"net/http"

	"kairos"
	"kairos/creation"
)

var audience = []string{ScopeContacts}

func (a *server) contacts() {
	type upserted struct {
		Status int
		Body   Contact
	}
	handle(a, call{method: http.MethodPost, path: "/v1/contacts", id: "upsert-contact", tag: "Contacts", status: 200, also: 201,
		summary: "Create or update a person", about: "Found by external_id, else by email: 201 when new, 200 when known.", scopes: audience},
		func(ctx context.Context, in *struct{ Body ContactInput }) (*upserted, error) {
			c, created, err := a.opts.Creation.UpsertContact(ctx, in.Body.input())
			if err != nil {
				return nil, err
			}
			out := &upserted{http.StatusOK, contactOf(&c)}
			if created {
				out.Status = http.StatusCreated
			}
			return out, nil
		})
	a.contactBatch()
	handle(a, call{method: http.MethodGet, path: "/v1/contacts", id: "list-contacts", tag: "Contacts",
		summary: "List people", scopes: audience},
		func(ctx context.Context, in *struct {
			Page
			ExternalID string `query:"external_id" maxLength:"200"`
			Email      string `query:"email" maxLength:"254"`
		}) (*listOutput[Contact], error) {
			cs, next, err := a.opts.Creation.Contacts(ctx, creation.ContactQuery{ExternalID: in.ExternalID, Email: in.Email, Limit: in.Limit, After: in.After})
			if err != nil {
				return nil, err
			}
			return newList(cs, next, contactOf), nil
		})
	handle(a, call{method: http.MethodGet, path: "/v1/contacts/{id}", id: "get-contact", tag: "Contacts",
		summary: "Get a person", scopes: audience},
		func(ctx context.Context, in *ByID) (*body[Contact], error) {
			c, err := a.opts.Creation.Contact(ctx, in.ID.ID)
			return answer(contactOf(&c), err)
		})
	handle(a, call{method: http.MethodPatch, path: "/v1/contacts/{id}", id: "patch-contact", tag: "Contacts",
		summary: "Change a person", about: "A JSON merge patch: what is absent stays, null removes.", scopes: audience, errors: []int{409}},
		func(ctx context.Context, in *struct {
			ByID
			Body ContactPatch
		}) (*body[Contact], error) {
			var patch creation.ContactPatch // the checked body once more, for its nulls
			if err := json.Unmarshal(visitOf(ctx).body, &patch); err != nil {
				return nil, kairos.Invalid("", "is not a JSON object")
			}
			c, err := a.opts.Creation.PatchContact(ctx, in.ID.ID, patch)
			return answer(contactOf(&c), err)
		})
	handle(a, call{method: http.MethodDelete, path: "/v1/contacts/{id}", id: "erase-contact", tag: "Contacts", status: 204,
		summary: "Erase a person", about: "Removes the personal data; the counts stay. A repetition is 204 too.", scopes: audience},
		func(ctx context.Context, in *ByID) (*nothing, error) {
			return nil, a.opts.Creation.EraseContact(ctx, in.ID.ID)
		})
	handle(a, call{method: http.MethodPut, path: "/v1/contacts/{id}/preferences", id: "set-preferences", tag: "Contacts",
		summary: "Set a person's preferences", about: "Replaces all of them.", scopes: audience, errors: []int{409}},
		func(ctx context.Context, in *struct {
			ByID
			Body Preferences
		}) (*body[Preferences], error) {
			c, err := a.opts.Creation.SetPreferences(ctx, in.ID.ID, in.Body.preferences())
			return answer(preferencesOf(&c.Preferences), err)
		})
	a.timeline()
}

// ContactBatch is the body of a batch of upserts.
type ContactBatch struct {
	Contacts []ContactInput `json:"contacts" minItems:"1" maxItems:"10000"`
}

// BatchResult counts what a batch did; created + updated + rejected is its size.
type BatchResult struct {
	Created  int64            `json:"created"`
	Updated  int64            `json:"updated"`
	Rejected []BatchRejection `json:"rejected"`
}

// BatchRejection names one item that was refused.
type BatchRejection struct {
	Index int    `json:"index"`
	Error string `json:"error"`
}

func (a *server) contactBatch() {
	handle(a, call{method: http.MethodPost, path: "/v1/contacts/batch", id: "upsert-contacts", tag: "Contacts",
		summary: "Create or update up to 10,000 people", about: "In one transaction; a refused one doesn't stop the others.",
		scopes: audience, limit: a.opts.MaxBatch},
		func(ctx context.Context, in *struct{ Body ContactBatch }) (*body[BatchResult], error) {
			inputs := make([]creation.ContactInput, len(in.Body.Contacts))
			for i := range in.Body.Contacts {
				inputs[i] = in.Body.Contacts[i].input()
			}
			r, err := a.opts.Creation.UpsertContacts(ctx, inputs)
			if err != nil {
				return nil, err
			}
			out := BatchResult{Created: r.Created, Updated: r.Updated, Rejected: []BatchRejection{}}
			for _, x := range r.Rejected {
				out.Rejected = append(out.Rejected, BatchRejection{x.Index, x.Error})
			}
			return &body[BatchResult]{out}, nil
		})
}
