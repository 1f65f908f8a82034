package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"time"

	"kairos"
	"kairos/analysis/timing"
	"kairos/dto"
)

// demoReport is the last line of `kairos demo --json`.
type demoReport struct {
	World       string           `json:"world"`
	People      int              `json:"people"`
	Days        int              `json:"days"`
	Verdict     string           `json:"verdict"` // of the promoted model, else of the newest
	Promoted    bool             `json:"promoted"`
	Model       *int             `json:"model"`        // version the verdict is of
	Lift        *demoLift        `json:"lift"`         // null: nothing was promoted, or nothing can be said
	OracleShare *float64         `json:"oracle_share"` // of the gain of a perfect choice, that Kairos's reached; null: it chose none, or there is nothing to gain
	Funnel      map[string]int64 `json:"funnel"`
	ROI         demoReturn       `json:"roi"`
	Truth       struct {
		Lift    *float64         `json:"lift"`   // of the hours that Kairos chose and that people asked for, over the usual time, by the true rates; null: no model was at work
		Oracle  *float64         `json:"oracle"` // of the best hour of each person
		Funnel  map[string]int64 `json:"funnel"`
		Revenue string           `json:"revenue"`
	} `json:"truth"`
	Equal   bool    `json:"equal"`
	URL     string  `json:"url"`
	Seconds float64 `json:"seconds"`

	model *timing.Model
}

// demoLift is the measured lift of the promoted model over the usual time.
type demoLift struct {
	Estimate float64    `json:"estimate"`
	Interval [2]float64 `json:"interval"`
}

// demoReturn sums the campaigns' returns.
type demoReturn struct {
	Payments    int64            `json:"payments"`
	Revenue     kairos.Amount    `json:"revenue"`
	Cost        kairos.Amount    `json:"cost"`
	Return      *float64         `json:"return"`      // (revenue - cost) / cost
	Incremental *kairos.Amount   `json:"incremental"` // null: no holdout
	Interval    [2]kairos.Amount `json:"interval"`    // of incremental, campaigns taken as independent
}

// end waits until everything has been counted, reads the reports and sets them
// beside what the people did.
func (s *story) end(ctx context.Context) error {
	end := s.origin.AddDate(0, 0, s.cmd.Days)
	if err := s.gov.until(ctx, end.Add(12*time.Hour), func(time.Time) {}); err != nil {
		return err
	}
	s.t.say("\n3. What the platform counted and learnt, beside what the people did")
	r := &demoReport{World: s.cmd.World, People: s.cmd.People, Days: s.cmd.Days, URL: s.url}
	var revenue kairos.Amount
	var err error
	if r.Truth.Funnel, revenue, err = s.town.truth(); err != nil {
		return err
	}
	r.Truth.Revenue = revenue.String()
	if err := s.compare(ctx, r, revenue); err != nil {
		return err
	}
	if err := s.verdict(ctx, r); err != nil {
		return err
	}
	r.Truth.Oracle = s.oracle
	if s.chosen.n > 0 {
		r.Truth.Lift, r.Truth.Oracle, r.OracleShare = s.treated.lift(), s.chosen.oracle(), s.chosen.share()
	}
	r.Seconds = math.Round(10*time.Since(s.began).Seconds()) / 10
	if err := s.t.print(r, r.words()); err != nil {
		return err
	}
	if !r.Equal {
		return errors.New("the reports differ from what the people did")
	}
	return nil
}

// compare waits until the reports have caught up with what happened, a minute
// at most.
func (s *story) compare(ctx context.Context, r *demoReport, revenue kairos.Amount) error {
	for deadline := time.Now().Add(time.Minute); ; {
		if err := s.sum(ctx, r); err != nil {
			return err
		}
		r.Equal = r.ROI.Revenue == revenue
		for step, n := range r.Truth.Funnel {
			r.Equal = r.Equal && r.Funnel[step] == n
		}
		if r.Equal || time.Now().After(deadline) {
			return nil
		}
		s.t.say("   waiting for the last events to be folded")
		if err := poll(ctx, time.Second); err != nil {
			return err
		}
	}
}

// sum adds up the reports of all campaigns.
func (s *story) sum(ctx context.Context, r *demoReport) error {
	r.Funnel, r.ROI = map[string]int64{}, demoReturn{}
	incremental, square, known := 0.0, 0.0, true
	for _, id := range s.campaigns {
		var f struct {
			funnelAnswer
			Apart []struct {
				Step   string `json:"step"`
				Unique int64  `json:"unique"`
			} `json:"apart"`
		}
		if err := s.api.get(ctx, "/v1/reports/funnel?campaign="+id, &f); err != nil {
			return err
		}
		for _, step := range f.Steps {
			r.Funnel[step.Step] += step.Unique
		}
		for _, step := range f.Apart {
			r.Funnel[step.Step] += step.Unique
		}
		var a struct {
			Attributed struct {
				Conversions int64         `json:"conversions"`
				Revenue     kairos.Amount `json:"revenue"`
			} `json:"attributed"`
			Incremental struct {
				Revenue  *kairos.Amount    `json:"revenue"`
				Interval *[2]kairos.Amount `json:"interval"`
			} `json:"incremental"`
			Cost struct {
				Total kairos.Amount `json:"total"`
			} `json:"cost"`
		}
		if err := s.api.get(ctx, "/v1/reports/roi?campaign="+id, &a); err != nil {
			return err
		}
		r.ROI.Payments += a.Attributed.Conversions
		r.ROI.Revenue += a.Attributed.Revenue
		r.ROI.Cost += a.Cost.Total
		if in := a.Incremental; in.Revenue != nil && in.Interval != nil {
			incremental += float64(*in.Revenue)
			half := float64(in.Interval[1]-in.Interval[0]) / 2
			square += half * half
		} else {
			known = false
		}
	}
	if r.ROI.Cost > 0 {
		x := float64(r.ROI.Revenue-r.ROI.Cost) / float64(r.ROI.Cost)
		r.ROI.Return = &x
	}
	if known {
		in, half := cents(incremental), cents(math.Sqrt(square))
		r.ROI.Incremental, r.ROI.Interval = &in, [2]kairos.Amount{in - half, in + half}
	}
	return nil
}

func cents(x float64) kairos.Amount { return kairos.Amount(math.Round(x/10_000)) * 10_000 }

// verdict reads the promoted model, else the newest that was trained. It waits
// until the newest deliveries have matured into its figures.
func (s *story) verdict(ctx context.Context, r *demoReport) error {
	r.Verdict = string(dto.NotEnoughData)
	version := s.promoted
	if version == 0 {
		var list struct {
			Items []timing.Model `json:"items"`
		}
		if err := s.api.get(ctx, "/v1/dto/models", &list); err != nil {
			return err
		}
		for _, m := range list.Items {
			if m.TrainedAt != nil && m.Verdict != "" {
				version = m.Version
				break
			}
		}
	}
	if version == 0 {
		return nil
	}
	last := int64(-1)
	for range 5 {
		m, err := s.model(ctx, version)
		if err != nil {
			return err
		}
		r.model = m
		n := int64(0)
		for _, a := range m.Arms {
			n += a.N + a.Responses
		}
		if n == last {
			break
		}
		last = n
		if err := poll(ctx, 1500*time.Millisecond); err != nil {
			return err
		}
	}
	m := r.model
	r.Verdict, r.Model, r.Promoted = string(m.Verdict), &m.Version, s.promoted > 0
	if l := m.Lift; r.Promoted && l != nil && l.Estimate != nil && l.Interval != nil {
		r.Lift = &demoLift{*l.Estimate, *l.Interval}
	}
	return nil
}

// value adds the true rates of what Kairos chose in one campaign: the messages
// at the hours at which they arrived.
func (s *story) value(ctx context.Context, campaign string) error {
	arms, err := s.arms(ctx, campaign)
	if err != nil {
		return err
	}
	s.town.mu.Lock()
	defer s.town.mu.Unlock()
	for _, m := range s.town.letters[campaign] {
		switch arms[m.notification] {
		case string(kairos.ArmOptimised):
			s.chosen.add(s.town.world, m.person, m.at)
			s.treated.add(s.town.world, m.person, m.at)
		case string(kairos.ArmPreferred):
			s.treated.add(s.town.world, m.person, m.at)
		}
	}
	return nil
}

// arms returns the arm of each message of a campaign.
func (s *story) arms(ctx context.Context, campaign string) (map[string]string, error) {
	arms := map[string]string{}
	for after := ""; ; {
		var page struct {
			Items []struct {
				ID  string `json:"id"`
				Arm string `json:"arm"`
			} `json:"items"`
			Next *string `json:"next"`
		}
		path := fmt.Sprintf("/v1/campaigns/%s/notifications?limit=1000&after=%s", campaign, url.QueryEscape(after))
		if err := s.api.get(ctx, path, &page); err != nil {
			return nil, err
		}
		for _, n := range page.Items {
			arms[n.ID] = n.Arm
		}
		if page.Next == nil || *page.Next == "" {
			return arms, nil
		}
		after = *page.Next
	}
}
