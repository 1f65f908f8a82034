package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"kairos"
	"kairos/internal/token"
)

type sendgridResult struct {
	sendResult
	Calls       int     `json:"calls"`
	BodyBytes   int64   `json:"body_bytes"` // of a call, on average
	Bare        float64 `json:"bare_per_second"`
	BareClients int     `json:"bare_clients"`
	Ratio       float64 `json:"ratio"`
	Peak        int64   `json:"peak_rss_bytes"` // of the largest process of Kairos
	metered
}

func (s *sendgridResult) tell(t *told) {
	t.row(fmt.Sprintf("campaign of %s in SendGrid's format, fake server", thousands(s.Messages)),
		fmt.Sprintf("%s recipients/s", round(s.PerSecond)),
		fmt.Sprintf("bare client, same bodies, %d connections: %s/s", s.BareClients, round(s.Bare)), percent(s.Ratio))
	t.note("sendgrid: %s; %s calls, the first ones of %s; largest process of Kairos %s; everybody got exactly one, ledger and log say so.",
		s.words(), thousands(s.Calls), size(s.BodyBytes), size(s.Peak))
	t.use("sendgrid with fold", s.Messages, &s.metered, false)
}

// measureSendGrid sends one campaign to everybody in SendGrid's wire format to
// the fake server; a strict one has judged the same content before. Afterwards
// a bare client posts what the server was sent.
func (b *bench) measureSendGrid(ctx context.Context, w *world) error {
	n := b.sizes.Recipients
	if err := w.front(ctx); err != nil {
		return err
	}
	if err := w.people(ctx, n); err != nil {
		return err
	}
	if err := w.warmGrid(ctx); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	s, err := w.sinkOf(ctx, "sendgrid", "grid", "fast")
	if err != nil {
		return err
	}
	if _, err := w.serve(ctx, "delivery", "delivery", gridTo(s)...); err != nil {
		return err
	}
	r := &sendgridResult{BareClients: 4}
	if _, err := b.send(ctx, w, s, "sendgrid", n, &r.sendResult, &r.metered); err != nil {
		return err
	}
	r.Peak = r.peak()
	if err := s.ask(ctx, "/calls", &r.Calls); err != nil {
		return err
	}
	if err := b.bareGrid(ctx, s, n, r); err != nil {
		return fmt.Errorf("bare client: %w", err)
	}
	r.Ratio = r.PerSecond / r.Bare
	b.report.add("sendgrid", r)
	return nil
}

const gridKey = "SG.bench"

func gridTo(s *sink) []string {
	return []string{"KAIROS_EMAIL_PROVIDER=sendgrid", "KAIROS_SENDGRID_API_KEY=" + gridKey, "KAIROS_SENDGRID_URL=" + s.at.SMTP}
}

// warmGrid sends a small campaign to a server that refuses what SendGrid
// refuses, and reads the messages as their receivers would.
func (w *world) warmGrid(ctx context.Context) error {
	s, err := w.sinkOf(ctx, "warm-sendgrid", "grid", "strict")
	if err != nil {
		return err
	}
	var kept []letterTaken
	if err := w.warmOver(ctx, s, &kept, gridTo(s)...); err != nil {
		return err
	}
	ring, err := token.ParseKeyring(secret)
	if err != nil {
		return fmt.Errorf("read secret: %w", err)
	}
	for _, m := range kept {
		id, err := kairos.ParseID(m.Notification)
		if err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		if err := w.holdsLinks(ctx, ring, id, m.Text+m.HTML); err != nil {
			return err
		}
	}
	return nil
}

// bareGrid measures how many recipients a second, by its own watch, the server
// takes from a client that posts the same bodies and has nothing else to do.
func (b *bench) bareGrid(ctx context.Context, s *sink, n int, r *sendgridResult) error {
	var bodies [][]byte
	if err := s.ask(ctx, "/bodies", &bodies); err != nil {
		return err
	}
	if err := s.again(ctx); err != nil {
		return err
	}
	people := make([]int, len(bodies))
	var all, total int
	for i, body := range bodies {
		people[i] = bytes.Count(body, []byte(`{"to":[{"email":"`))
		all += people[i]
		r.BodyBytes += int64(len(body)) / int64(len(bodies))
	}
	if all == 0 {
		return fmt.Errorf("%d bodies were kept, with nobody in them", len(bodies))
	}
	b.say("a bare client posts the same bodies over %d connections", r.BareClients)
	work := make(chan []byte)
	g, posting := errgroup.WithContext(ctx)
	for range r.BareClients {
		conn, err := dialRaw(ctx, strings.TrimPrefix(s.at.SMTP, "http://"))
		if err != nil {
			return err
		}
		defer conn.close()
		g.Go(func() error {
			for body := range work {
				if err := conn.post("/v3/mail/send", gridKey, body, 202); err != nil {
					return err
				}
			}
			return nil
		})
	}
	began := time.Now()
	for i := 0; total < n && posting.Err() == nil; i = (i + 1) % len(bodies) {
		select {
		case work <- bodies[i]:
			total += people[i]
		case <-posting.Done():
		}
	}
	close(work)
	if err := g.Wait(); err != nil {
		return err
	}
	took := time.Since(began)
	var c clock
	if err := s.ask(ctx, "/clock", &c); err != nil {
		return err
	}
	if c.Total != total {
		return fmt.Errorf("the server took %d recipients, not %d", c.Total, total)
	}
	r.Bare = float64(total) / took.Seconds()
	return nil
}
