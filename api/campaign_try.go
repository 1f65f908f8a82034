package api

import (
	"context"
	"net/http"

	"kairos"
	"kairos/creation"
)

// Estimate says what a campaign would do if it were launched now.
type Estimate struct {
	Audience     int64  `json:"audience"`
	NoAddress    int64  `json:"no_address"`
	Suppressed   int64  `json:"suppressed"`
	Unsubscribed int64  `json:"unsubscribed"`
	NoConsent    int64  `json:"no_consent"`
	Reachable    int64  `json:"reachable" doc:"audience less the four before it."`
	HeldOut      int64  `json:"held_out" doc:"Expected, of the reachable."`
	Messages     int64  `json:"messages"`
	Cost         Amount `json:"cost"`
	Currency     string `json:"currency"`
}

func (a *server) estimateCampaign() {
	handle(a, call{method: http.MethodPost, path: "/v1/campaigns/{id}/estimate", id: "estimate-campaign", tag: "Campaigns",
		summary: "Estimate a campaign", about: "Counts the audience and who of it can be written to. Changes nothing.", scopes: launches, nobody: true},
		func(ctx context.Context, in *ByID) (*body[Estimate], error) {
			e, err := a.opts.Creation.Estimate(ctx, in.ID.ID)
			return answer(Estimate{e.Audience, e.NoAddress, e.Suppressed, e.Unsubscribed, e.NoConsent, e.Reachable, e.HeldOut, e.Messages, Amount{Amount: e.Cost}, e.Currency}, err)
		})
}

// CampaignTest is the body of POST /v1/campaigns/{id}/test.
type CampaignTest struct {
	To   []string `json:"to" minItems:"1" maxItems:"20" maxLength:"254" doc:"Addresses. One that nobody has yet becomes a person."`
	Data Object   `json:"data,omitempty" doc:"Values for the template."`
}

// CampaignTested tells what was sent for a test.
type CampaignTested struct {
	Notifications []Notification `json:"notifications"`
}

func (a *server) testCampaign() {
	handle(a, call{method: http.MethodPost, path: "/v1/campaigns/{id}/test", id: "test-campaign", tag: "Campaigns", status: 202,
		summary: "Send a campaign's message to a few addresses", scopes: launches,
		about: "Rendered for the persons who have the addresses, with the template's newest version, outside the campaign: " +
			"it counts in none of its figures. Consent binds it as it does the campaign."},
		func(ctx context.Context, in *struct {
			ByID
			Body CampaignTest
		}) (*body[CampaignTested], error) {
			c, err := a.opts.Creation.Campaign(ctx, in.ID.ID)
			if err != nil {
				return nil, err
			}
			contacts := make([]kairos.ID, len(in.Body.To))
			for i, address := range in.Body.To { // all of them first: a bad address sends nothing
				p, _, err := a.opts.Creation.UpsertContact(ctx, creation.ContactInput{Email: address})
				if err != nil {
					return nil, relocate(err, "to")
				}
				contacts[i] = p.ID
			}
			purpose, run := "test", ticket(ctx).ID.String()
			if !c.Spec.Marketing() {
				purpose = c.Spec.Purpose
			}
			out := CampaignTested{Notifications: []Notification{}}
			for _, p := range contacts {
				n, _, err := a.notify(ctx, NotificationInput{Template: ID{c.Spec.Template}, Purpose: purpose, Key: "test-" + run, Data: in.Body.Data}, p)
				if err != nil {
					return nil, err
				}
				out.Notifications = append(out.Notifications, n)
			}
			return &body[CampaignTested]{out}, nil
		})
}
