package api

import (
	"context"
	"net/http"

	"kairos"
	"kairos/creation"
)

var (
	launches  = []string{ScopeCampaigns}
	overviews = []string{ScopeCampaigns, ScopeReports}
)

func (a *server) campaigns() {
	handle(a, call{method: http.MethodPost, path: "/v1/campaigns", id: "create-campaign", tag: "Campaigns", status: 201,
		summary: "Create a campaign", about: "It is a draft until it is launched.", scopes: launches},
		func(ctx context.Context, in *struct{ Body CampaignSpec }) (*body[Campaign], error) {
			c, err := a.opts.Creation.CreateCampaign(ctx, in.Body.spec(), ticket(ctx))
			return a.campaignAnswer(ctx, c, err)
		})
	handle(a, call{method: http.MethodGet, path: "/v1/campaigns", id: "list-campaigns", tag: "Campaigns",
		summary: "List campaigns", about: "The newest first.", scopes: overviews},
		func(ctx context.Context, in *struct {
			Page
			State string `query:"state" enum:"draft,scheduled,running,paused,cancelled,finished,failed"`
		}) (*listOutput[Campaign], error) {
			cs, next, err := a.opts.Creation.Campaigns(ctx, creation.CampaignQuery{State: in.State, Limit: in.Limit, After: in.After})
			if err != nil {
				return nil, err
			}
			return newList(cs, next, campaignOf), nil
		})
	handle(a, call{method: http.MethodGet, path: "/v1/campaigns/{id}", id: "get-campaign", tag: "Campaigns",
		summary: "Get a campaign and its progress", scopes: overviews},
		func(ctx context.Context, in *ByID) (*body[Campaign], error) {
			c, err := a.opts.Creation.Campaign(ctx, in.ID.ID)
			return a.campaignAnswer(ctx, c, err)
		})
	handle(a, call{method: http.MethodPatch, path: "/v1/campaigns/{id}", id: "update-campaign", tag: "Campaigns",
		summary: "Change a draft", about: "A field that is given replaces the whole of it. A launched campaign is 409.", scopes: launches, errors: []int{409}},
		func(ctx context.Context, in *struct {
			ByID
			Body CampaignPatch
		}) (*body[Campaign], error) {
			c, err := a.opts.Creation.Campaign(ctx, in.ID.ID)
			if err != nil {
				return nil, err
			}
			spec := specOf(&c.Spec)
			in.Body.apply(&spec)
			c, err = a.opts.Creation.UpdateCampaign(ctx, in.ID.ID, spec.spec())
			return a.campaignAnswer(ctx, c, err)
		})
	a.action("launch", "Launch a campaign", "Pins the template's version, counts the audience and starts; before its first moment it is scheduled.", a.opts.Creation.Launch)
	a.action("pause", "Pause a campaign", "Nothing more is claimed; what is in flight ends.", a.opts.Creation.Pause)
	a.action("resume", "Resume a paused campaign", "Goes on where it stood; nobody is written to twice.", a.opts.Creation.Resume)
	a.action("cancel", "Cancel a campaign", "What has not been sent never will be.", a.opts.Creation.Cancel)
	a.estimateCampaign()
	a.testCampaign()
}

// action registers a state change: no body, the campaign as the answer.
func (a *server) action(name, summary, about string, do func(context.Context, kairos.ID, kairos.Ticket) (creation.Campaign, error)) {
	handle(a, call{method: http.MethodPost, path: "/v1/campaigns/{id}/" + name, id: name + "-campaign", tag: "Campaigns",
		summary: summary, about: about + " A state that doesn't allow it is 409.", scopes: launches, nobody: true},
		func(ctx context.Context, in *ByID) (*body[Campaign], error) {
			c, err := do(ctx, in.ID.ID, ticket(ctx))
			return a.campaignAnswer(ctx, c, err)
		})
}

// campaignAnswer adds the progress.
func (a *server) campaignAnswer(ctx context.Context, c creation.Campaign, err error) (*body[Campaign], error) {
	if err != nil {
		return nil, err
	}
	out := campaignOf(&c)
	p, err := a.opts.Delivery.Progress(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	out.Progress = progressOf(p)
	return &body[Campaign]{out}, nil
}
