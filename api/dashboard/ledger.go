package dashboard

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"kairos"
	"kairos/creation"
	"kairos/delivery"
)

const (
	ledgerPerPage   = 50
	unknownsPerPage = 50
)

// ledgerView is a page of a campaign's messages.
type ledgerView struct {
	campaign creation.Campaign
	standing standing
	state    string
	rows     []delivery.Notification
	next     string
	first    bool
}

func (v ledgerView) link(state, after string) string {
	q := url.Values{}
	if state != "" {
		q.Set("state", state)
	}
	if after != "" {
		q.Set("after", after)
	}
	path := "/dashboard/campaigns/" + v.campaign.ID.String() + "/notifications"
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// number is how many messages a state has.
func (v ledgerView) number(state string) int64 {
	for _, g := range v.standing.segments {
		if g.state == state {
			return g.n
		}
	}
	return 0
}

func (d *dashboard) ledger(r *http.Request) (content, error) {
	id, err := idOf(r)
	if err != nil {
		return content{}, err
	}
	ctx, q := r.Context(), r.URL.Query()
	v := ledgerView{state: q.Get("state"), first: q.Get("after") == ""}
	if v.state != "" && !slices.Contains(ledgerOrder, v.state) {
		return content{}, kairos.Invalid("state", "is none of a message's states")
	}
	if v.campaign, err = d.opts.Creation.Campaign(ctx, id); err != nil {
		return content{}, err
	}
	p, err := d.progressOf(ctx, v.campaign)
	if err != nil {
		return content{}, err
	}
	v.standing = standingOf(p)
	v.rows, v.next, err = d.opts.Delivery.Notifications(ctx, delivery.NotificationQuery{
		Campaign: id, State: v.state, Limit: ledgerPerPage, After: q.Get("after"),
	})
	if err != nil {
		return content{}, err
	}
	return content{title: "Messages of " + v.campaign.Name, section: "campaigns", body: ledgerPage(v)}, nil
}

// notificationView is one message with everything known about it.
type notificationView struct {
	delivery.Notification
	campaign creation.Campaign
	contact  creation.Contact // zero: it is gone
	events   []kairos.Event   // oldest first
	base     string
}

// name is what to call the person.
func (v notificationView) name() string {
	switch c := v.contact; {
	case c.ErasedAt != nil:
		return "erased"
	case c.FirstName != "" && c.LastName != "":
		return c.FirstName + " " + c.LastName
	case c.FirstName+c.LastName != "":
		return c.FirstName + c.LastName
	case c.Email != "":
		return c.Email
	case c.ExternalID != "":
		return c.ExternalID
	}
	return short(v.Contact)
}

func (d *dashboard) notification(r *http.Request) (content, error) {
	id, err := idOf(r)
	if err != nil {
		return content{}, err
	}
	ctx := r.Context()
	v := notificationView{base: baseOf(r)}
	if v.Notification, err = d.opts.Delivery.Notification(ctx, id); err != nil {
		return content{}, err
	}
	if v.campaign, err = d.opts.Creation.Campaign(ctx, v.Campaign); err != nil {
		return content{}, err
	}
	if v.contact, err = d.opts.Creation.Contact(ctx, v.Contact); err != nil && !errors.Is(err, kairos.ErrNotFound) {
		return content{}, err
	}
	all, _, err := d.opts.Analysis.Timeline(ctx, v.Contact, kairos.Cursor{}, 1_000)
	if err != nil {
		return content{}, err
	}
	for _, e := range slices.Backward(all) {
		if e.Notification == id {
			v.events = append(v.events, e)
		}
	}
	slices.SortStableFunc(v.events, func(a, b kairos.Event) int { return a.OccurredAt.Compare(b.OccurredAt) })
	return content{title: "Message to " + v.name(), section: "campaigns", body: notificationPage(v)}, nil
}

// unknownsView is a page of attempts whose fate is open.
type unknownsView struct {
	rows     []delivery.UnknownAttempt
	next     string
	first    bool
	campaign kairos.ID // only this one's; zero: all
}

func (v unknownsView) link(after string) string {
	q := url.Values{}
	if !v.campaign.IsZero() {
		q.Set("campaign", v.campaign.String())
	}
	if after != "" {
		q.Set("after", after)
	}
	if len(q) == 0 {
		return "/dashboard/unknowns"
	}
	return "/dashboard/unknowns?" + q.Encode()
}

func (d *dashboard) unknowns(r *http.Request) (content, error) {
	q := r.URL.Query()
	v := unknownsView{first: q.Get("after") == ""}
	if err := v.campaign.UnmarshalText([]byte(q.Get("campaign"))); err != nil {
		return content{}, kairos.Invalid("campaign", "is no id")
	}
	var err error
	v.rows, v.next, err = d.opts.Delivery.Unknowns(r.Context(), delivery.UnknownQuery{
		Campaign: v.campaign, Limit: unknownsPerPage, After: q.Get("after"),
	})
	if err != nil {
		return content{}, err
	}
	return content{title: "Unknown attempts", section: "unknowns", body: unknownsPage(v)}, nil
}
