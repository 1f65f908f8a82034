package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"kairos"
	"kairos/analysis"
	"kairos/creation"
	"kairos/delivery"
)

const campaignsPerPage = 20

// campaignRow is a campaign with the figures the list shows.
type campaignRow struct {
	creation.Campaign
	progress standing
	sent     int64
	opened   *float64 // of sent
	clicked  *float64 // of sent
	paid     int64
}

// campaignsView is a page of the list.
type campaignsView struct {
	rows  []campaignRow
	state string
	next  string
	first bool   // nothing before it
	fresh bool   // there is no campaign at all
	base  string // of the API, for the first steps
	here  string // address of this page
	live  bool   // something is going on
}

func (v campaignsView) link(state, after string) string {
	q := url.Values{}
	if state != "" {
		q.Set("state", state)
	}
	if after != "" {
		q.Set("after", after)
	}
	if len(q) == 0 {
		return "/dashboard"
	}
	return "/dashboard?" + q.Encode()
}

func (d *dashboard) campaignList(r *http.Request) (content, error) {
	ctx, q := r.Context(), r.URL.Query()
	v := campaignsView{state: q.Get("state"), first: q.Get("after") == "", base: baseOf(r)}
	v.here = v.link(v.state, q.Get("after"))
	if v.state != "" && !slices.Contains(stateOrder, v.state) {
		return content{}, kairos.Invalid("state", "is none of a campaign's states")
	}
	list, next, err := d.opts.Creation.Campaigns(ctx, creation.CampaignQuery{State: v.state, Limit: campaignsPerPage, After: q.Get("after")})
	if err != nil {
		return content{}, err
	}
	v.next, v.fresh = next, len(list) == 0 && v.state == "" && v.first
	v.rows = make([]campaignRow, len(list))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i, c := range list {
		v.live = v.live || open(c.State)
		group.Go(func() (err error) {
			v.rows[i], err = d.campaignRow(ctx, c)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return content{}, err
	}
	return content{title: "Campaigns", section: "campaigns", body: campaignsPage(v)}, nil
}

func (d *dashboard) campaignRow(ctx context.Context, c creation.Campaign) (campaignRow, error) {
	row := campaignRow{Campaign: c}
	if c.State == kairos.Draft {
		return row, nil
	}
	p, err := d.progressOf(ctx, c)
	if err != nil {
		return row, err
	}
	f, err := d.funnelOf(ctx, c.ID)
	if err != nil {
		return row, err
	}
	row.progress, row.sent = standingOf(p), p.Sent
	for _, s := range f.Steps {
		switch s.Step {
		case analysis.StepOpened:
			row.opened = s.RateOfSent
		case analysis.StepClicked:
			row.clicked = s.RateOfSent
		case analysis.StepPaid:
			row.paid = s.Total
		}
	}
	return row, nil
}

// open reports whether a campaign may still send.
func open(state string) bool {
	return state == kairos.Scheduled || state == kairos.Running || state == kairos.Paused
}

// progressOf counts a campaign's recipients; those of one that has ended are
// counted once a minute.
func (d *dashboard) progressOf(ctx context.Context, c creation.Campaign) (delivery.Progress, error) {
	keep := d.opts.Pace / 2
	if !open(c.State) {
		keep = time.Minute
	}
	return d.progress.get(ctx, c.ID.String()+c.State, keep, func(ctx context.Context) (delivery.Progress, error) {
		return d.opts.Delivery.Progress(ctx, c.ID)
	})
}

func (d *dashboard) funnelOf(ctx context.Context, id kairos.ID) (analysis.Funnel, error) {
	return d.funnels.get(ctx, id.String(), d.opts.Pace/2, func(ctx context.Context) (analysis.Funnel, error) {
		return d.opts.Analysis.Funnel(ctx, id)
	})
}

// baseOf is the address the visitor reaches this process at.
func baseOf(r *http.Request) string {
	scheme := "http"
	if secure(r) {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}
