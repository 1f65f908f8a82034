package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"kairos"
	"kairos/internal/eventlog"
)

type demoCmd struct {
	settings
	World  string  `help:"What is true about the people: clusters (they differ in their best hour), global (one best hour for all), null (the hour is irrelevant)." enum:"clusters,global,null" default:"clusters"`
	Effect float64 `help:"How much the hour matters, on the scale of log-odds: the standard deviation over the day." default:"0.8"`
	Common float64 `help:"World of clusters: how much of the hour's effect all people share besides." default:"0.2"`
	Tied   bool    `help:"People of different rhythms also differ in how often they click."`
	People int     `help:"How many people the sample audience has." default:"3000"`
	Days   int     `help:"How many days of domain time pass, a campaign each day." default:"28"`
	Seed   uint64  `help:"Seed of all that the people are and do." default:"1"`
	Exit   bool    `help:"Stop after the reports instead of leaving the dashboard open."`
}

const (
	// demoDay is a day of domain time at full speed; it stands still whenever
	// the pipeline has something to do.
	demoDay = 1500 * time.Millisecond
	// demoPast is for how many days before the first campaign people's activity is known.
	demoPast = 21
	// demoWindow is the response window: mails of two days do not overlap in it.
	demoWindow = 4 * time.Hour
	// demoTraining is the time between trainings.
	demoTraining = 10 * 24 * time.Hour
	// attributionWindow of the campaigns: as long as there is no next one.
	attributionWindow = 24 * time.Hour
)

// Validate is kong's: it names the first flag that makes no sense.
func (c *demoCmd) Validate() error {
	switch {
	case c.People < 10 || c.People > 1_000_000:
		return fmt.Errorf("--people must be between 10 and 1,000,000")
	case c.Days < 1 || c.Days > 365:
		return fmt.Errorf("--days must be between 1 and 365")
	case !(c.Effect >= 0 && c.Effect <= 3): // nor NaN
		return fmt.Errorf("--effect must be between 0 and 3")
	case !(c.Common >= 0 && c.Common <= 3):
		return fmt.Errorf("--common must be between 0 and 3")
	case c.ClockScale != 1:
		return fmt.Errorf("--clock-scale is not for the demo, which chooses its speed by itself")
	}
	return nil
}

// Run plays the whole story of learning from an empty platform to the reports.
func (c *demoCmd) Run(ctx context.Context, t *terminal) error {
	s := c.settings
	origin := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -c.Days-1) // it ends about today
	s.domain = kairos.NewScaledClock(origin, time.Now(), float64(24*time.Hour/demoDay))
	s.domain.Limit(origin)
	if s.ResponseWindow == 24*time.Hour { // the default
		s.ResponseWindow = demoWindow
	}
	if s.TrainEvery == 7*24*time.Hour {
		s.TrainEvery = demoTraining
	}
	began := time.Now()
	d, err := startDev(ctx, s, t)
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	g, run := errgroup.WithContext(run)
	g.Go(func() error { return d.run(run) })
	g.Go(func() error {
		if err := c.play(run, t, d, s.domain, origin, began); err != nil {
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

// play runs the story beside the people who act in it and the governor of its
// time; the time runs on at the machine's pace afterwards.
func (c *demoCmd) play(ctx context.Context, t *terminal, d *dev, clock *kairos.ScaledClock, origin, began time.Time) error {
	if _, err := eventlog.EnsurePartitions(ctx, d.pool, origin, 1, c.Days+partitionsAhead); err != nil {
		return err
	}
	world := newHiddenWorld(c.World, c.People, c.Effect, c.Common, c.Tied, c.Seed)
	world.unknown = mustZone(d.settings.DefaultZone) // assemble has loaded it
	api := &client{Server: d.info.URL, APIKey: d.info.APIKey}
	town := newTown(world, clock, api)
	leave := d.mail.OnMessage(town.receive)
	defer leave()
	acting, ctx := errgroup.WithContext(ctx)
	ctx, end := context.WithCancel(ctx)
	defer end()
	gov := &governor{clock: clock, pool: d.pool, queue: d.queue, spool: d.spool, arm: d.stages.analysis.Arm, play: town.play, ceiling: origin}
	acting.Go(func() error { return gov.run(ctx) })
	acting.Go(func() error { return town.play.run(ctx) })
	var told error
	acting.Go(func() error {
		s := &story{cmd: c, t: t, api: api, town: town, gov: gov, origin: origin, began: began, url: d.info.URL}
		told = s.tell(ctx)
		end()
		return told
	})
	err := acting.Wait()
	if told == nil { // the others were ended by the story's end
		err = nil
	}
	clock.Pace(1)
	clock.Limit(time.Time{})
	return err
}

// demoHTML is the campaigns' content: a greeting, three tracked links.
const demoHTML = `<!doctype html>
<html><body style="font-family: sans-serif; color: #222">
<h1>Good day, {{ contact.first_name | default: "there" }}</h1>
<p>The season's harvest is in, and {{ contact.attributes.favourite | default: "everything" }} costs a fifth less this week.</p>
<p><a href="https://shop.example.com/offer">See the offer</a></p>
<p><a href="https://shop.example.com/catalogue">Leaf through the catalogue</a></p>
<p><a href="https://shop.example.com/stories">How it is grown</a></p>
<p style="font-size: smaller"><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>
</body></html>`
