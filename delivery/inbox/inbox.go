// Package inbox delivers mail into this process, for development: a catcher
// shows what a server would have got.
//
// Takes: composed messages and a function that keeps them.
// Gives: the provider named "inbox".
// Owns: nothing.
// Promises: the catcher gets the same bytes that SMTP would carry; a message that
// can't be written is refused as it would be there.
// Fails: with NotSent when the catcher doesn't keep a message.
package inbox

import (
	"context"
	"time"

	"kairos"
	"kairos/delivery"
	"kairos/delivery/email"
)

// Deliver keeps one message; raw belongs to the callee.
type Deliver func(from string, to []string, raw []byte) error

// Provider implements delivery.Provider.
type Provider struct {
	deliver  Deliver
	composer email.Composer
}

// New returns a provider that hands messages to deliver.
func New(deliver Deliver) *Provider { return &Provider{deliver: deliver} }

// Name returns "inbox".
func (p *Provider) Name() string { return "inbox" }

// Channel returns kairos.Email.
func (p *Provider) Channel() kairos.Channel { return kairos.Email }

// Limits are those of memory.
func (p *Provider) Limits() delivery.Limits {
	return delivery.Limits{Batch: 100, Concurrency: 4, Timeout: 10 * time.Second}
}

// Close does nothing.
func (p *Provider) Close() error { return nil }

// Send implements delivery.Provider.
func (p *Provider) Send(ctx context.Context, msgs []*delivery.Message) []delivery.Result {
	results := make([]delivery.Result, len(msgs))
	for i, m := range msgs {
		results[i] = p.send(ctx, m)
	}
	return results
}

func (p *Provider) send(ctx context.Context, m *delivery.Message) delivery.Result {
	if ctx.Err() != nil {
		return delivery.Result{Outcome: delivery.NotSent, Detail: "cancelled"}
	}
	raw, err := p.composer.AppendMessage(nil, m)
	if err != nil {
		return email.Unwritable(err)
	}
	from := m.ReturnPath
	if from == "" {
		from = m.From.Email
	}
	if err := p.deliver(from, []string{m.To.Email}, raw); err != nil {
		return delivery.Result{Outcome: delivery.NotSent, Detail: "the inbox didn't keep it"}
	}
	return delivery.Result{Outcome: delivery.Accepted, Code: "250", ProviderID: m.MessageID}
}
