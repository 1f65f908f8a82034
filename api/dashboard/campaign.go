package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"kairos"
	"kairos/analysis"
	"kairos/creation"
	"kairos/delivery"
)

// campaignView is a campaign at one moment.
type campaignView struct {
	creation.Campaign
	standing standing
	planned  int64
	sent     int64
	reasons  []delivery.ReasonCount // of the skipped
	failures []delivery.ReasonCount // of the failed
	funnel   analysis.Funnel
	roi      analysis.ROI
	timing   *analysis.Timing // nil: no hours are chosen
	events   []kairos.Event
	until    time.Time // results come in until then; zero while it is open
	live     bool      // figures may still change
	base     string
}

func (d *dashboard) campaign(r *http.Request) (content, error) {
	id, err := idOf(r)
	if err != nil {
		return content{}, err
	}
	v, err := d.campaignView(r.Context(), id)
	if err != nil {
		return content{}, err
	}
	v.base = baseOf(r)
	return content{title: v.Name, section: "campaigns", body: campaignPage(v)}, nil
}

func (d *dashboard) campaignView(ctx context.Context, id kairos.ID) (campaignView, error) {
	c, err := d.opts.Creation.Campaign(ctx, id)
	if err != nil {
		return campaignView{}, err
	}
	v := campaignView{Campaign: c}
	v.live = open(c.State)
	if c.FinishedAt != nil && c.LaunchedAt != nil {
		v.until = c.FinishedAt.Add(c.Spec.Goal.Window())
		v.live = d.opts.Clock.Now().Before(v.until)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		p, err := d.progressOf(ctx, c)
		if err != nil {
			return err
		}
		v.standing, v.planned, v.sent = standingOf(p), p.Planned, p.Sent
		if v.reasons, err = d.reasonsOf(ctx, c, kairos.StateSkipped, p.Skipped); err != nil {
			return err
		}
		v.failures, err = d.reasonsOf(ctx, c, kairos.StateFailed, p.Failed)
		return err
	})
	group.Go(func() (err error) {
		v.funnel, err = d.funnelOf(ctx, id)
		return err
	})
	group.Go(func() (err error) {
		v.roi, err = d.returns.get(ctx, id.String(), d.opts.Pace/2, func(ctx context.Context) (analysis.ROI, error) {
			return d.opts.Analysis.ROI(ctx, id)
		})
		return err
	})
	if c.Spec.Schedule.Mode == kairos.ModeOptimised {
		group.Go(func() error {
			t, err := d.timings.get(ctx, id.String(), d.opts.Pace/2, func(ctx context.Context) (analysis.Timing, error) {
				return d.opts.Analysis.Timing(ctx, id)
			})
			v.timing = &t
			return err
		})
	}
	group.Go(func() (err error) {
		v.events, err = d.recentOf(ctx, id)
		return err
	})
	if err := group.Wait(); err != nil {
		return campaignView{}, err
	}
	return v, nil
}

// act takes a step of a campaign's state machine and shows it again.
func (d *dashboard) act(do func(ctx context.Context, id kairos.ID, ticket kairos.Ticket) (creation.Campaign, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := idOf(r)
		if err == nil && !d.acts(r) {
			err = kairos.ErrForbidden
		}
		if err == nil {
			now := d.opts.Clock.Now()
			_, err = do(r.Context(), id, kairos.Ticket{
				ID: kairos.NewIDAt(now), Origin: "dashboard", Actor: d.visitor(r), CreatedAt: now,
			})
		}
		if err != nil {
			d.fail(w, r, fmt.Errorf("change campaign: %w", err))
			return
		}
		http.Redirect(w, r, "/dashboard/campaigns/"+id.String(), http.StatusSeeOther)
	}
}

// step is an action that a campaign's state allows.
type step struct {
	name    string // in the address
	label   string
	ask     string
	explain string
	tone    string
}

func stepsOf(state string) []step {
	pause := step{"pause", "Pause", "Pause this campaign?", "Nothing more is sent until it is resumed. What is in flight at this moment ends.", "plain"}
	resume := step{"resume", "Resume", "Resume this campaign?", "It goes on where it stood. Nobody is written to twice.", "main"}
	stop := step{"cancel", "Cancel", "Cancel this campaign for good?", "What has not been sent never will be. This can't be taken back.", "bad"}
	switch state {
	case kairos.Draft:
		return []step{stop}
	case kairos.Scheduled, kairos.Running:
		return []step{pause, stop}
	case kairos.Paused:
		return []step{resume, stop}
	}
	return nil
}
