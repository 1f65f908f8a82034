package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"gopkg.in/yaml.v3"
)

type campaignCmd struct {
	Launch campaignLaunchCmd `cmd:"" help:"Create a campaign from a JSON or YAML file, launch it and follow it."`
	Status campaignStatusCmd `cmd:"" help:"Show a campaign's state and progress."`
	Pause  campaignPauseCmd  `cmd:"" help:"Pause a campaign."`
	Resume campaignResumeCmd `cmd:"" help:"Resume a campaign."`
	Cancel campaignCancelCmd `cmd:"" help:"Cancel a campaign; what was not sent never will be."`
}

// campaignState is the part of a campaign's answer that the commands show.
type campaignState struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	State    string `json:"state"`
	Progress struct {
		Planned  int64 `json:"planned"`
		Skipped  int64 `json:"skipped"`
		Sent     int64 `json:"sent"`
		Accepted int64 `json:"accepted"`
		Unknown  int64 `json:"unknown"`
		Failed   int64 `json:"failed"`
		HeldOut  int64 `json:"held_out"`
		Total    int64 `json:"total"`
	} `json:"progress"`
}

func (s *campaignState) words() string {
	p := s.Progress
	return fmt.Sprintf("%s  %s  %s\n  %d people: %d accepted, %d skipped, %d held out, %d failed, %d unknown, %d sent of %d planned",
		s.ID, s.Name, s.State, p.Total, p.Accepted, p.Skipped, p.HeldOut, p.Failed, p.Unknown, p.Sent, p.Planned)
}

type campaignLaunchCmd struct {
	client
	File   string `arg:"" type:"existingfile" help:"The campaign as in POST /v1/campaigns."`
	Detach bool   `help:"Do not wait for its end."`
}

// Run creates, launches and follows the campaign.
func (c *campaignLaunchCmd) Run(ctx context.Context, t *terminal) error {
	raw, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	var body map[string]any
	if err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(&body); err != nil { // YAML holds JSON
		return fmt.Errorf("read %s: %w", c.File, err)
	}
	if _, err := json.Marshal(body); err != nil {
		return fmt.Errorf("read %s: %w", c.File, err)
	}
	var s campaignState
	if err := c.post(ctx, "/v1/campaigns", body, &s); err != nil {
		return err
	}
	if err := c.post(ctx, "/v1/campaigns/"+s.ID+"/launch", nil, &s); err != nil {
		return fmt.Errorf("launch campaign %s: %w", s.ID, err)
	}
	t.say("launched %s", s.ID)
	if !c.Detach {
		if s, err = c.followCampaign(ctx, t, s.ID); err != nil {
			return err
		}
	}
	return t.print(s, s.words())
}

// followCampaign shows the progress of a campaign until it is over.
func (c *client) followCampaign(ctx context.Context, t *terminal, id string) (s campaignState, err error) {
	p := t.progress("messages sent", -1)
	for {
		if err := c.get(ctx, "/v1/campaigns/"+id, &s); err != nil {
			return s, err
		}
		settled := s.Progress.Sent + s.Progress.Skipped + s.Progress.HeldOut + s.Progress.Failed
		switch s.State {
		case "finished", "cancelled", "failed":
			p.done(s.Progress.Sent)
			return s, nil
		}
		p.set(settled, s.Progress.Total)
		if err := poll(ctx, 300*time.Millisecond); err != nil {
			return s, err
		}
	}
}

// oneCampaign names one campaign.
type oneCampaign struct {
	client
	ID string `arg:"" help:"The campaign's id."`
}

func (c *oneCampaign) act(ctx context.Context, t *terminal, action string) error {
	var s campaignState
	if action == "" {
		if err := c.get(ctx, "/v1/campaigns/"+c.ID, &s); err != nil {
			return err
		}
	} else if err := c.post(ctx, "/v1/campaigns/"+c.ID+"/"+action, nil, &s); err != nil {
		return err
	}
	return t.print(s, s.words())
}

type (
	campaignStatusCmd struct{ oneCampaign }
	campaignPauseCmd  struct{ oneCampaign }
	campaignResumeCmd struct{ oneCampaign }
	campaignCancelCmd struct{ oneCampaign }
)

// Run shows the campaign.
func (c *campaignStatusCmd) Run(ctx context.Context, t *terminal) error { return c.act(ctx, t, "") }

// Run pauses the campaign.
func (c *campaignPauseCmd) Run(ctx context.Context, t *terminal) error { return c.act(ctx, t, "pause") }

// Run resumes the campaign.
func (c *campaignResumeCmd) Run(ctx context.Context, t *terminal) error {
	return c.act(ctx, t, "resume")
}

// Run cancels the campaign.
func (c *campaignCancelCmd) Run(ctx context.Context, t *terminal) error {
	return c.act(ctx, t, "cancel")
}
