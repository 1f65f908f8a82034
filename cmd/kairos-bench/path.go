package main

import (
	"context"
	"fmt"
	"slices"
)

// paths that can be measured, in their order.
var paths = []struct{ name, about string }{
	{"import", "contacts from a CSV through POST /v1/contacts/import, beside a bare COPY"},
	{"plan", "a launch until everybody is planned with a timing model, beside a bare COPY"},
	{"smtp", "a campaign over SMTP, beside bare clients at the same sink"},
	{"clicks", "clicks and opens, durable, as fast as they go, beside a handler that only redirects (measures smtp before it)"},
	{"sustained", "clicks at a fixed rate for a minute, shipped and folded meanwhile: how far log and reports lag (measures smtp before it)"},
	{"sendgrid", "a campaign in SendGrid's format to a fake server, beside a bare client"},
	{"slow", "a campaign over an SMTP sink that takes 5 ms a message, beside connections / 5 ms"},
	{"reports", "funnel, ROI and timing over HTTP on a full log, beside a recount from the log"},
	{"many", "many campaigns launched at once, beside one of as many recipients"},
	{"growth", "import, plan and send for audiences of growing size: CPU and time for each person"},
	{"schedule", "how late slots are under a full sending load, beside the same without load; minutes of real time"},
	{"share", "two senders and two collectors, beside one of each"},
}

// usual paths are measured where none is named: those of a few minutes.
var usual = []string{"import", "plan", "smtp", "clicks", "slow"}

func names() (all []string) {
	for _, p := range paths {
		all = append(all, p.name)
	}
	return all
}

// sizes of the paths.
type sizes struct {
	Contacts   int   // import, plan
	Messages   int   // smtp
	Seconds    int   // clicks: each drive
	Rate       int   // sustained: clicks a second
	Sustained  int   // seconds
	Recipients int   // sendgrid
	Slow       int   // messages
	Clients    []int // clicks: connections
	Events     int   // reports
	Campaigns  int   // many
	Each       int   // many: recipients of a campaign
	Growth     []int // contacts
	Slots      int   // schedule
	SlotEach   int   // schedule: messages of a slot
}

var sizesOf = map[string]sizes{"full": full, "huge": huge(), "small": {
	Contacts: 20_000, Messages: 5_000, Seconds: 3, Rate: 2_000, Sustained: 10, Recipients: 20_000, Slow: 10_000,
	Clients: []int{64, 256}, Events: 200_000, Campaigns: 50, Each: 200,
	Growth: []int{1_000, 5_000, 20_000}, Slots: 20, SlotEach: 50,
}}

var full = sizes{
	Contacts: 1_000_000, Messages: 100_000, Seconds: 10, Rate: 15_000, Sustained: 60, Recipients: 1_000_000, Slow: 20_000,
	Clients: []int{64, 256}, Events: 10_000_000, Campaigns: 1_000, Each: 1_000,
	Growth: []int{10_000, 100_000, 1_000_000}, Slots: 300, SlotEach: 100,
}

func huge() sizes {
	s := full
	s.Growth = append(slices.Clone(s.Growth), 10_000_000)
	return s
}

// times is s with its counts multiplied; what lasts, lasts as long.
func (s sizes) times(by float64) sizes {
	s.Growth = slices.Clone(s.Growth)
	counts := []*int{&s.Contacts, &s.Messages, &s.Recipients, &s.Slow, &s.Events, &s.Campaigns}
	for i := range s.Growth {
		counts = append(counts, &s.Growth[i])
	}
	for _, n := range counts {
		*n = max(1, int(float64(*n)*by))
	}
	return s
}

// measure measures the chosen paths. The import's people are the plan's; the
// campaign that was sent is the one whose links are clicked; the others have an
// installation of their own.
func (b *bench) measure(ctx context.Context) error {
	if b.has("import") || b.has("plan") {
		if err := b.on(ctx, b.measureStages(ctx)); err != nil {
			return err
		}
	}
	if b.has("smtp") || b.has("clicks") || b.has("sustained") {
		if err := b.on(ctx, b.measureJourney(ctx)); err != nil {
			return err
		}
	}
	for _, p := range []struct {
		name    string
		measure func(context.Context, *world) error
	}{{"sendgrid", b.measureSendGrid}, {"slow", b.measureSlow}, {"reports", b.measureReports}, {"schedule", b.measureSchedule}} {
		if b.has(p.name) {
			if err := b.on(ctx, func(w *world) error { return wrap(p.name, p.measure(ctx, w)) }); err != nil {
				return err
			}
		}
	}
	for _, p := range []struct {
		name    string
		measure func(context.Context) error
	}{{"many", b.measureMany}, {"growth", b.measureGrowth}, {"share", b.measureShare}} {
		if b.has(p.name) {
			if err := wrap(p.name, p.measure(ctx)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) measureStages(ctx context.Context) func(*world) error {
	return func(w *world) error {
		if b.has("import") {
			if err := b.measureImport(ctx, w); err != nil {
				return fmt.Errorf("import: %w", err)
			}
		} else if err := w.people(ctx, b.Contacts); err != nil {
			return err
		}
		if !b.has("plan") {
			return nil
		}
		return wrap("plan", b.measurePlan(ctx, w))
	}
}

func (b *bench) measureJourney(ctx context.Context) func(*world) error {
	return func(w *world) error {
		sent, err := b.measureSMTP(ctx, w)
		if err != nil {
			return fmt.Errorf("smtp: %w", err)
		}
		if b.has("clicks") {
			if err := b.measureClicks(ctx, w, sent); err != nil {
				return fmt.Errorf("clicks: %w", err)
			}
		}
		if b.has("sustained") {
			return wrap("sustained", b.measureSustained(ctx, w, sent))
		}
		return nil
	}
}
