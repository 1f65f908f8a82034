package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"kairos"
	"kairos/delivery"
	"kairos/delivery/email"
	"kairos/delivery/inbox"
	"kairos/delivery/sendgrid"
	"kairos/internal/devstack"
	"kairos/internal/spool"
)

// providers makes the configured providers, in the order of failover.
func (p *system) providers(mail *devstack.Mail) ([]delivery.Provider, error) {
	if !p.has("delivery") {
		return nil, nil
	}
	s := &p.settings
	if len(s.EmailProvider) == 0 {
		return nil, fmt.Errorf("KAIROS_EMAIL_PROVIDER is not set: smtp or sendgrid")
	}
	var list []delivery.Provider
	for _, name := range s.EmailProvider {
		made, err := p.provider(name, mail)
		if err != nil {
			return nil, fmt.Errorf("configure provider %s: %w", name, err)
		}
		list = append(list, made)
	}
	return list, nil
}

func (p *system) provider(name string, mail *devstack.Mail) (delivery.Provider, error) {
	s := &p.settings
	switch name {
	case "inbox":
		if mail == nil {
			return nil, fmt.Errorf("it is for `kairos dev` only")
		}
		return inbox.New(func(from string, to []string, raw []byte) error {
			mail.Deliver(from, to, raw)
			return nil
		}), nil
	case "smtp":
		if s.SMTPURL == "" {
			return nil, fmt.Errorf("KAIROS_SMTP_URL is not set")
		}
		o := email.Options{URL: s.SMTPURL}
		if s.DKIMKeyFile != "" {
			key, err := os.ReadFile(s.DKIMKeyFile)
			if err != nil {
				return nil, fmt.Errorf("read DKIM key: %w", err)
			}
			o.DKIM = &email.DKIM{Domain: s.DKIMDomain, Selector: s.DKIMSelector, PrivateKey: string(key)}
		}
		return email.New(o)
	case "sendgrid":
		if s.SendGridAPIKey == "" {
			return nil, fmt.Errorf("KAIROS_SENDGRID_API_KEY is not set")
		}
		return sendgrid.New(sendgrid.Options{APIKey: s.SendGridAPIKey, URL: s.SendGridURL})
	}
	return nil, fmt.Errorf("there is none of this name: inbox, smtp, sendgrid")
}

// webhooks are the providers' doors: what they report goes to the spool first,
// like every hit, so that Postgres may be away.
func (p *system) webhooks() (map[string]http.Handler, error) {
	if p.settings.SendGridWebhookKey == "" {
		return nil, nil
	}
	h, err := sendgrid.WebhookHandler(sendgrid.WebhookOptions{PublicKey: p.settings.SendGridWebhookKey}, p.record)
	if err != nil {
		return nil, fmt.Errorf("configure SendGrid's web hook: %w", err)
	}
	return map[string]http.Handler{"sendgrid": h}, nil
}

// record spools events of a provider; it returns when they are durable.
func (p *system) record(ctx context.Context, events []kairos.Event) error {
	records := make([]spool.Record, len(events))
	for i, e := range events {
		payload, err := json.Marshal(kairos.Hit{Event: e})
		if err != nil {
			return fmt.Errorf("spool event: %w", err)
		}
		records[i] = spool.Record{ID: e.ID, Payload: payload}
	}
	return p.spool.AppendMany(ctx, records)
}
