package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kairos/analysis/timing"
	"kairos/dto"
)

// story is one run of the demo: day by day a campaign, the people's lives, the
// models that come of it, and the marketer who decides about them.
type story struct {
	cmd    *demoCmd
	t      *terminal
	api    *client
	town   *town
	gov    *governor
	origin time.Time
	began  time.Time // machine time
	url    string

	segment, template string
	campaigns         []string // ids, a day each
	promoted          int      // version that the marketer put to work last; 0: none
	sent              int64    // until the day before
	oracle            *float64 // what a perfect choice of hours gains over the usual time
	chosen            policy   // the optimised arm since a model is at work, by the true rates
	treated           policy   // the preferred arm with it: what the measured lift is of
	bar               *demoBar
}

const (
	marketer = "Ada Demo"
	patience = 8 // days that a newly promoted model must have left to show what it does
)

// tell plays it from the import to the reports.
func (s *story) tell(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	everybody := s.town.world.everybody(s.origin)
	s.oracle = everybody.oracle()
	s.t.say("   A perfect choice of hours would gain %s clicks over the usual time; Kairos does not know that", share(s.oracle))
	s.bar = newDemoBar(s.t, s.cmd.Days)
	for day := range s.cmd.Days {
		if err := s.day(ctx, day); err != nil {
			return fmt.Errorf("day %d: %w", day+1, err)
		}
	}
	s.bar.done()
	return s.end(ctx)
}

// begin brings people, their past and their wishes into the platform.
func (s *story) begin(ctx context.Context) error {
	s.t.say("\n1. %d people are imported from CSV, with the hours at which they were active in the last %d days", s.cmd.People, demoPast)
	body, size := s.town.csv()
	imp, err := s.api.upload(ctx, s.t, body, size, "text/csv")
	if err != nil {
		return err
	}
	if imp, err = s.api.follow(ctx, s.t, imp); err != nil {
		return err
	}
	if imp.Created != int64(s.cmd.People) {
		return fmt.Errorf("import created %d of %d people", imp.Created, s.cmd.People)
	}
	sessions, err := s.town.history(ctx, s.origin, demoPast)
	if err != nil {
		return err
	}
	prefer, quiet, err := s.town.wishes(ctx)
	if err != nil {
		return err
	}
	s.t.say("   %d sessions reported; %d people stated preferred hours, %d quiet hours", sessions, prefer, quiet)
	var made struct {
		ID string `json:"id"`
	}
	if err := s.api.post(ctx, "/v1/segments", map[string]any{
		"name": "Newsletter readers", "expression": `attributes.newsletter == "yes"`,
	}, &made); err != nil {
		return err
	}
	s.segment = made.ID
	if err := s.api.post(ctx, "/v1/templates", map[string]any{
		"name": "Daily offer", "channel": "email",
		"subject": "{{ contact.first_name }}, today's offer", "html": demoHTML,
	}, &made); err != nil {
		return err
	}
	s.template = made.ID
	s.t.say("\n2. Every day a campaign, each message at a moment of its own. People open, click, look, accept, pay and leave through the public API")
	return nil
}

// day launches a campaign, lets people live for a day, and reads what Kairos
// has learnt.
func (s *story) day(ctx context.Context, day int) error {
	begin := s.origin.AddDate(0, 0, day)
	if err := s.launch(ctx, day); err != nil {
		return err
	}
	for quarter := range 4 {
		from := begin.Add(time.Duration(quarter) * 6 * time.Hour)
		until := from.Add(6 * time.Hour)
		if err := s.gov.until(ctx, until, func(now time.Time) { s.bar.at(day, now.Sub(begin)) }); err != nil {
			return err
		}
		if err := s.town.report(ctx, s.town.active(begin, from, until)); err != nil {
			return err
		}
	}
	if err := s.town.shop(ctx, day); err != nil {
		return err
	}
	if _, _, err := s.town.truth(); err != nil {
		return err
	}
	if s.promoted > 0 { // since a day before at the least
		if err := s.value(ctx, s.campaigns[day]); err != nil {
			return err
		}
	}
	return s.learn(ctx, day)
}

// launch sets the day's campaign going and waits until it is planned.
func (s *story) launch(ctx context.Context, day int) error {
	experiment := map[string]any{"holdout": 0.05, "control": 0.2, "explore": 0.4}
	if s.promoted > 0 {
		experiment = map[string]any{"holdout": 0.05, "control": 0.3, "explore": 0.1}
	}
	var made campaignState
	name := fmt.Sprintf("day-%02d", day+1)
	err := s.api.post(ctx, "/v1/campaigns", map[string]any{
		"name": fmt.Sprintf("Offer of day %d", day+1), "purpose": "marketing", "channels": []string{"email"}, "template": s.template,
		"audience":   map[string]any{"segment": s.segment},
		"schedule":   map[string]any{"mode": "optimised", "window": "24h", "baseline": "10:00"},
		"experiment": experiment,
		"goal":       map[string]any{"kind": "payment.received", "attribution_window": attributionWindow.String()},
		"cost":       map[string]any{"fixed": "5.00", "per_message": "0.001", "currency": "EUR"},
		"utm":        map[string]any{"source": "kairos", "medium": "email", "campaign": name},
	}, &made)
	if err != nil {
		return err
	}
	if err := s.api.post(ctx, "/v1/campaigns/"+made.ID+"/launch", nil, &made); err != nil {
		return err
	}
	s.campaigns = append(s.campaigns, made.ID)
	return s.gov.settled(ctx)
}

// learn is the marketer's evening: what does Kairos know, and is there
// something to decide?
func (s *story) learn(ctx context.Context, day int) error {
	var at timing.Standing
	if err := s.api.get(ctx, "/v1/dto/standing", &at); err != nil {
		return err
	}
	var shown *timing.Model
	for _, v := range []*int{at.Active, at.Canary} {
		if v == nil {
			continue
		}
		m, err := s.model(ctx, *v)
		if err != nil {
			return err
		}
		if shown == nil {
			shown = m
		}
		if m.Version == s.promoted || m.Canary == nil || !m.Canary.Pass || s.promoted > 0 && s.cmd.Days-day <= patience {
			continue
		}
		if err := s.promote(ctx, m); err != nil {
			return err
		}
	}
	s.line(day, &at, shown)
	return s.train(ctx, day, &at)
}

// promote puts a model that passed its trial to work.
func (s *story) promote(ctx context.Context, m *timing.Model) error {
	reason := "The trial passed: " + m.Canary.Reason
	if l := m.Canary.Lift; l != nil && l.Estimate != nil {
		reason = fmt.Sprintf("In its trial it brought %+.0f %% responses against the present hours.", 100**l.Estimate)
	}
	if err := s.api.post(ctx, fmt.Sprintf("/v1/dto/models/%d/promote", m.Version), timing.By{Name: marketer, Reason: reason}, m); err != nil {
		return fmt.Errorf("promote model %d: %w", m.Version, err)
	}
	s.promoted = m.Version
	s.bar.clear()
	s.t.say("        %s promotes model %d. %s", marketer, m.Version, reason)
	return nil
}

// train asks for a last training on the last evening where there is no verdict
// yet: by then there may be data enough for one.
func (s *story) train(ctx context.Context, day int, at *timing.Standing) error {
	if day < s.cmd.Days-1 || at.Verdict != dto.NotEnoughData || at.Active != nil || at.Canary != nil || at.Training != nil {
		return nil
	}
	err := s.api.post(ctx, "/v1/dto/models", timing.By{Name: marketer, Reason: "there may be enough data for a verdict by now"}, nil)
	if p := (*problem)(nil); errors.As(err, &p) && p.Status == 409 {
		return nil // one has just begun
	}
	if err != nil {
		return fmt.Errorf("ask for a training: %w", err)
	}
	return s.gov.settled(ctx)
}

func (s *story) model(ctx context.Context, version int) (*timing.Model, error) {
	m := &timing.Model{}
	if err := s.api.get(ctx, fmt.Sprintf("/v1/dto/models/%d", version), m); err != nil {
		return nil, fmt.Errorf("read model %d: %w", version, err)
	}
	return m, nil
}
