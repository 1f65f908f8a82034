package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"kairos/analysis/timing"
)

type dtoCmd struct {
	Train    dtoTrainCmd    `cmd:"" help:"Train a model of delivery times on what has been explored so far."`
	Models   dtoModelsCmd   `cmd:"" help:"List the models, the newest first."`
	Show     dtoShowCmd     `cmd:"" help:"Show a model: verdict, tests, kinds of people, trial, lift, drift, decisions."`
	Promote  dtoPromoteCmd  `cmd:"" help:"Make a model that passed its trial the active one."`
	Reject   dtoRejectCmd   `cmd:"" help:"End a candidate or a trial for good."`
	Rollback dtoRollbackCmd `cmd:"" help:"Take the active model out of service."`
	Evaluate dtoEvaluateCmd `cmd:"" help:"Measure error rates, power and lift in worlds whose truth is known, and replay real rhythms."`
}

// modelAnswer is a model as the API answers it, kept whole for --json.
type modelAnswer struct {
	timing.Model
	raw json.RawMessage
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *modelAnswer) UnmarshalJSON(b []byte) error {
	m.raw = append(m.raw[:0], b...)
	return json.Unmarshal(b, &m.Model)
}

type dtoTrainCmd struct {
	client
	By     string `help:"Who asks for it. Default: the name of the API key." placeholder:"NAME"`
	Reason string `help:"Why." placeholder:"TEXT"`
	Follow bool   `help:"Wait until it is trained and print what came of it."`
}

// Run asks for a training.
func (c *dtoTrainCmd) Run(ctx context.Context, t *terminal) error {
	body := map[string]string{}
	if c.By != "" {
		body["by"] = c.By
	}
	if c.Reason != "" {
		body["reason"] = c.Reason
	}
	var m modelAnswer
	if err := c.post(ctx, "/v1/dto/models", body, &m); err != nil {
		return err
	}
	if !c.Follow {
		return t.print(m.raw, fmt.Sprintf("model %d is being trained; kairos dto show %d tells what came of it", m.Version, m.Version))
	}
	t.say("model %d is being trained", m.Version)
	m, err := c.followTraining(ctx, m.Version)
	if err != nil {
		return err
	}
	if err := t.print(m.raw, trainedWords(&m.Model)); err != nil {
		return err
	}
	if m.State == timing.Failed {
		return fmt.Errorf("model %d was not trained", m.Version)
	}
	return nil
}

// followTraining waits until a run has ended. A server that is away for a
// moment is asked again.
func (c *client) followTraining(ctx context.Context, version int) (m modelAnswer, err error) {
	path := fmt.Sprintf("/v1/dto/models/%d", version)
	for misses := 0; ; {
		m = modelAnswer{}
		err := c.get(ctx, path, &m)
		var p *problem
		switch {
		case err == nil && m.State != timing.Training:
			return m, nil
		case err == nil:
			misses = 0
		case errors.As(err, &p) && p.Status < 500, misses == 10, ctx.Err() != nil:
			return m, err
		default:
			misses++
		}
		if err := poll(ctx, 500*time.Millisecond); err != nil {
			return m, err
		}
	}
}

type dtoModelsCmd struct{ client }

// Run lists the registry.
func (c *dtoModelsCmd) Run(ctx context.Context, t *terminal) error {
	after, any := "", false
	for {
		var page struct {
			Items []modelAnswer `json:"items"`
			Next  *string       `json:"next"`
		}
		if err := c.get(ctx, "/v1/dto/models?limit=100&after="+url.QueryEscape(after), &page); err != nil {
			return err
		}
		for i := range page.Items {
			any = true
			if err := t.print(page.Items[i].raw, modelLine(&page.Items[i].Model)); err != nil {
				return err
			}
		}
		if page.Next == nil || *page.Next == "" {
			break
		}
		after = *page.Next
	}
	if !any {
		t.say("There is no model yet. kairos dto train makes one once deliveries have been explored.")
	}
	return nil
}

// oneModel names a model.
type oneModel struct {
	client
	Version int `arg:"" name:"version" help:"The model's version."`
}

type dtoShowCmd struct {
	oneModel
	tableForm
}

// Run shows the model: words, JSON, or a table of a line for each kind of people
// and hour.
func (c *dtoShowCmd) Run(ctx context.Context, t *terminal) error {
	path := fmt.Sprintf("/v1/dto/models/%d", c.Version)
	if form := c.form(); form != "" {
		return c.printTable(ctx, t, path+"?format="+form, form)
	}
	var m modelAnswer
	if err := c.get(ctx, path, &m); err != nil {
		return err
	}
	return t.print(m.raw, modelWords(&m.Model))
}

// decided is what a person decides about a model.
type decided struct {
	oneModel
	By     string `help:"Your name; it is kept with the model." required:"" placeholder:"NAME"`
	Reason string `help:"Why; it is kept with the model." required:"" placeholder:"TEXT"`
}

func (c *decided) decide(ctx context.Context, t *terminal, action string) error {
	var m modelAnswer
	body := timing.By{Name: c.By, Reason: c.Reason}
	if err := c.post(ctx, fmt.Sprintf("/v1/dto/models/%d/%s", c.Version, action), body, &m); err != nil {
		return err
	}
	words := fmt.Sprintf("model %d is %s", m.Version, stateWords(m.State))
	if m.Next != "" {
		words += "\n" + m.Next
	}
	return t.print(m.raw, words)
}

type (
	dtoPromoteCmd  struct{ decided }
	dtoRejectCmd   struct{ decided }
	dtoRollbackCmd struct{ decided }
)

// Run promotes the model.
func (c *dtoPromoteCmd) Run(ctx context.Context, t *terminal) error {
	return c.decide(ctx, t, "promote")
}

// Run rejects the model.
func (c *dtoRejectCmd) Run(ctx context.Context, t *terminal) error { return c.decide(ctx, t, "reject") }

// Run takes the model out of service.
func (c *dtoRollbackCmd) Run(ctx context.Context, t *terminal) error {
	return c.decide(ctx, t, "rollback")
}
