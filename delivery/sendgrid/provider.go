package sendgrid

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"kairos"
	"kairos/delivery"
	"kairos/delivery/email"
	"kairos/internal/content"
)

// Documented limits of one request.
const (
	// MaxRecipients: "There is a limit of 1000 total recipients per request" (Errors).
	MaxRecipients = 1000
	// MaxSubstitutionBytes: "may not exceed 10,000 bytes per personalization
	// object" (Mail Send; the page on substitution tags says 50,000).
	MaxSubstitutionBytes = 10_000
	// MaxSubstitutions: "not more than 100 substitutions per personalization
	// object" (earlier editions of Mail Send).
	MaxSubstitutions = 100
	// MaxBody: "the total size of your email must be less than 30MB" (Overview);
	// a third is left as a margin.
	MaxBody = 20 << 20
)

// Options of the provider. Only APIKey has no usable zero value.
type Options struct {
	APIKey string
	// URL is the host: https://api.sendgrid.com (default),
	// https://api.eu.sendgrid.com, or a test server.
	URL         string
	Timeout     time.Duration     // of one request; default 30 s
	Concurrency int               // calls of Send at once; default 4
	Batch       int               // messages a request; default and at most 1,000
	MaxBody     int               // bytes of a request; default 20 MB
	Rate        float64           // messages a second; 0: unlimited
	Sandbox     bool              // SendGrid checks and sends nothing
	Transport   http.RoundTripper // default: one of its own
}

// Provider sends through SendGrid. Safe for concurrent use.
type Provider struct {
	opts      Options
	transport http.RoundTripper
	idle      func()
}

// New checks the options; it doesn't connect.
func New(opts Options) (*Provider, error) {
	if opts.APIKey == "" || strings.IndexFunc(opts.APIKey, func(r rune) bool { return r <= ' ' || r >= 0x7f }) >= 0 {
		return nil, kairos.Invalid("api_key", "is empty or no API key")
	}
	if opts.URL == "" {
		opts.URL = "https://api.sendgrid.com"
	}
	u, err := url.Parse(opts.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, kairos.Invalid("url", "must be an https URL without a query")
	}
	opts.URL = strings.TrimRight(opts.URL, "/")
	if opts.Timeout <= 0 {
		opts.Timeout = 30 * time.Second
	}
	if opts.Concurrency <= 0 {
		opts.Concurrency = 4
	}
	if opts.Batch <= 0 || opts.Batch > MaxRecipients {
		opts.Batch = MaxRecipients
	}
	if opts.MaxBody <= 0 {
		opts.MaxBody = MaxBody
	}
	p := &Provider{opts: opts, transport: opts.Transport, idle: func() {}}
	if p.transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = opts.Concurrency
		t.IdleConnTimeout = 20 * time.Second // less than the server's, so that we close first
		t.TLSHandshakeTimeout = 10 * time.Second
		p.transport, p.idle = t, t.CloseIdleConnections
	}
	return p, nil
}

// Name returns "sendgrid".
func (p *Provider) Name() string { return "sendgrid" }

// Channel returns kairos.Email.
func (p *Provider) Channel() kairos.Channel { return kairos.Email }

// Limits follow from the options. Timeout covers the requests that a call may
// be split into.
func (p *Provider) Limits() delivery.Limits {
	return delivery.Limits{
		Batch: p.opts.Batch, Concurrency: p.opts.Concurrency,
		Timeout: 2 * p.opts.Timeout, Rate: p.opts.Rate,
	}
}

// Close ends idle connections.
func (p *Provider) Close() error {
	p.idle()
	return nil
}

// item is one message of a call.
type item struct {
	m      *delivery.Message
	to     string // in ASCII
	alone  bool   // its substitutions exceed the limits
	result *delivery.Result
}

// kin is what the messages of one request have in common.
type kin struct {
	content       *content.Content
	from, replyTo delivery.Address
	nth           int // of the messages for one address, which must not share a request
	alone         int // 0, or a number of its own
}

// Send implements delivery.Provider. Messages are put into as few requests as
// the limits allow; those go out one after the other.
func (p *Provider) Send(ctx context.Context, msgs []*delivery.Message) []delivery.Result {
	results := make([]delivery.Result, len(msgs))
	ctx, cancel := context.WithTimeout(ctx, p.Limits().Timeout)
	defer cancel()
	order := []kin(nil)
	families := map[kin][]item{}
	times := map[string]int{}
	for i, m := range msgs {
		it := item{m: m, result: &results[i]}
		err := email.Check(m)
		if err == nil {
			it.to, err = email.CleanAddress("to", m.To.Email)
		}
		if err != nil {
			results[i] = email.Unwritable(err)
			continue
		}
		k := kin{content: m.Content, from: m.From, replyTo: m.ReplyTo}
		k.nth = times[strings.ToLower(it.to)]
		times[strings.ToLower(it.to)]++
		if it.alone = !substitutable(m); it.alone {
			k.alone = i + 1
		}
		if families[k] == nil {
			order = append(order, k)
		}
		families[k] = append(families[k], it)
	}
	var queue [][]item
	for _, k := range order {
		for items := families[k]; len(items) > 0; {
			n := min(len(items), p.opts.Batch)
			queue = append(queue, items[:n:n])
			items = items[n:]
		}
	}
	p.work(ctx, queue)
	return results
}

// maxSplits bounds the requests that refusals may add to a call of Send.
const maxSplits = 100

// work makes the requests. What one leaves open comes back as smaller ones.
func (p *Provider) work(ctx context.Context, queue [][]item) {
	for splits := 0; len(queue) > 0; {
		items := queue[0]
		queue = queue[1:]
		if ctx.Err() != nil {
			settle(items, delivery.Result{Outcome: delivery.NotSent, Detail: "cancelled"})
			continue
		}
		body := p.appendBody(nil, items)
		if len(body) > p.opts.MaxBody && len(items) > 1 {
			queue = append([][]item{items[:len(items)/2], items[len(items)/2:]}, queue...)
			continue
		}
		rest := p.call(ctx, items, body)
		if len(rest) == 0 {
			continue
		}
		if splits += len(rest); splits > maxSplits {
			for _, r := range rest {
				settle(r, delivery.Result{Outcome: delivery.NotSent, Code: "400", Detail: "too many refusals in one call"})
			}
			continue
		}
		queue = append(rest, queue...)
	}
}

func settle(items []item, r delivery.Result) {
	for _, it := range items {
		*it.result = r
	}
}
