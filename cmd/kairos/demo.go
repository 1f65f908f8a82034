package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

type demoCmd struct {
	settings
	People int    `help:"How many people the sample audience has." default:"10000"`
	Seed   uint64 `help:"Seed of everything that is drawn: same seed, same people." default:"1"`
	Exit   bool   `help:"Stop after the reports instead of leaving the dashboard open."`
}

// demoReport is the last line of `kairos demo --json`.
type demoReport struct {
	People int              `json:"people"`
	URL    string           `json:"url"`
	Funnel map[string]int64 `json:"funnel"`
	ROI    roiAnswer        `json:"roi"`
	Truth  struct {
		Funnel  map[string]int64 `json:"funnel"`
		Revenue string           `json:"revenue"`
	} `json:"truth"`
	Equal bool `json:"equal"`
}

// Run plays the main job from an empty platform to the reports.
func (c *demoCmd) Run(ctx context.Context, t *terminal) error {
	if c.People < 10 || c.People > 1_000_000 {
		return fmt.Errorf("people must be between 10 and 1,000,000")
	}
	began := time.Now()
	d, err := startDev(ctx, c.settings, t)
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	g, run := errgroup.WithContext(run)
	g.Go(func() error { return d.run(run) })
	g.Go(func() error {
		if err := c.play(run, t, d, began); err != nil {
			return err
		}
		if c.Exit {
			stop()
			return nil
		}
		t.say("\nThe dashboard stays open at %s/dashboard (API key %s). Stop it with Ctrl-C.", d.info.URL, d.info.APIKey)
		<-run.Done()
		return nil
	})
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, d.close())
}

// play is the story: audience, content, campaign, people, reports.
func (c *demoCmd) play(ctx context.Context, t *terminal, d *dev, began time.Time) error {
	api := &client{Server: d.info.URL, APIKey: d.info.APIKey}
	town := newTown(c.Seed, c.People, api)
	leave := d.mail.OnMessage(town.receive)
	defer leave()

	t.say("\n1. %d people are imported from CSV", c.People)
	body, size := town.csv()
	imp, err := api.upload(ctx, t, body, size, "text/csv")
	if err != nil {
		return err
	}
	if imp, err = api.follow(ctx, t, imp); err != nil {
		return err
	}
	if imp.Created != int64(c.People) {
		return fmt.Errorf("import created %d of %d people", imp.Created, c.People)
	}

	t.say("\n2. A segment, a template and a campaign with a holdout of 10 %%")
	id, err := c.prepare(ctx, api)
	if err != nil {
		return err
	}
	var s campaignState
	if err := api.post(ctx, "/v1/campaigns/"+id+"/launch", nil, &s); err != nil {
		return err
	}

	t.say("\n3. It runs; people open, click, look, accept and pay through the public tracking API")
	acting, live := errgroup.WithContext(ctx)
	acting.Go(func() error { return town.live(live) })
	if s, err = api.followCampaign(ctx, t, id); err != nil {
		return err
	}
	town.allSent()
	if err := acting.Wait(); err != nil {
		return err
	}
	if err := town.shop(ctx); err != nil {
		return err
	}

	t.say("\n4. What the platform counted, beside what the people did")
	report, err := c.compare(ctx, t, api, town, id)
	if err != nil {
		return err
	}
	report.URL = d.info.URL
	if err := t.print(report, report.words(time.Since(began))); err != nil {
		return err
	}
	if !report.Equal {
		return errors.New("the reports differ from what the people did")
	}
	return nil
}

// prepare makes segment, template and campaign, and returns the campaign's id.
func (c *demoCmd) prepare(ctx context.Context, api *client) (string, error) {
	var segment, template, campaign struct {
		ID string `json:"id"`
	}
	err := api.post(ctx, "/v1/segments", map[string]any{
		"name": "Newsletter readers", "expression": `attributes.newsletter == "yes"`,
	}, &segment)
	if err != nil {
		return "", err
	}
	err = api.post(ctx, "/v1/templates", map[string]any{
		"name": "Autumn offer", "channel": "email",
		"subject": "{{ contact.first_name }}, your autumn offer", "html": demoHTML,
	}, &template)
	if err != nil {
		return "", err
	}
	err = api.post(ctx, "/v1/campaigns", map[string]any{
		"name": "Autumn offer", "purpose": "marketing", "channels": []string{"email"}, "template": template.ID,
		"audience":   map[string]any{"segment": segment.ID},
		"schedule":   map[string]any{"mode": "now"},
		"experiment": map[string]any{"holdout": 0.1},
		"goal":       map[string]any{"kind": "payment.received", "attribution_window": "168h"},
		"cost":       map[string]any{"fixed": "100.00", "per_message": "0.001", "currency": "EUR"},
		"utm":        map[string]any{"source": "kairos", "medium": "email", "campaign": "autumn"},
	}, &campaign)
	return campaign.ID, err
}

// compare waits until the reports have caught up with what happened, a minute
// at most, and sets them beside it.
func (c *demoCmd) compare(ctx context.Context, t *terminal, api *client, town *town, id string) (*demoReport, error) {
	r := &demoReport{People: c.People}
	r.Truth.Funnel, r.Truth.Revenue = town.truth()
	for deadline := time.Now().Add(time.Minute); ; {
		var f funnelAnswer
		if err := api.get(ctx, "/v1/reports/funnel?campaign="+id, &f); err != nil {
			return nil, err
		}
		if err := api.get(ctx, "/v1/reports/roi?campaign="+id, &r.ROI); err != nil {
			return nil, err
		}
		r.Funnel, r.Equal = map[string]int64{}, r.ROI.Attributed.Revenue == r.Truth.Revenue
		for _, s := range f.Steps {
			r.Funnel[s.Step] = s.Unique
			if want, said := r.Truth.Funnel[s.Step]; said {
				r.Equal = r.Equal && want == s.Unique
			}
		}
		if r.Equal || time.Now().After(deadline) {
			return r, nil
		}
		t.say("   waiting for the last events to be folded")
		if err := poll(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

// demoHTML is the campaign's content: a greeting, three tracked links.
const demoHTML = `<!doctype html>
<html><body style="font-family: sans-serif; color: #222">
<h1>Good day, {{ contact.first_name | default: "there" }}</h1>
<p>The season's harvest is in, and {{ contact.attributes.favourite | default: "everything" }} costs a fifth less this week.</p>
<p><a href="https://shop.example.com/offer">See the offer</a></p>
<p><a href="https://shop.example.com/catalogue">Leaf through the catalogue</a></p>
<p><a href="https://shop.example.com/stories">How it is grown</a></p>
<p style="font-size: smaller"><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
</body></html>`
