package deliverytest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"
)

// GridEvent is one event as it is posted ("Event Webhook Reference").
type GridEvent map[string]any

// Event returns an event of a kind (processed, delivered, deferred, bounce,
// blocked, dropped, open, click, spamreport, unsubscribe) about a message, at a
// time; blocked is a bounce of that type.
func (s *SendGrid) Event(kind string, m GridMail, at time.Time) GridEvent {
	e := GridEvent{
		"email": m.To, "timestamp": at.Unix(), "event": kind, "category": []string{},
		"sg_event_id": eventID(), "sg_message_id": m.MessageID + ".recvd-1",
		"smtp-id": m.Headers["Message-ID"],
	}
	for k, v := range m.Args {
		e[k] = v
	}
	switch kind {
	case "delivered":
		e["response"], e["ip"], e["tls"] = "250 2.0.0 OK", "192.0.2.1", 1
	case "deferred":
		// SendGrid's own field of that name hides the custom arg.
		e["response"], e["attempt"] = "400 try again later", "5"
	case "bounce":
		e["type"], e["status"] = "bounce", "5.1.1"
		e["reason"] = "550 5.1.1 <" + m.To + ">: user unknown"
		e["bounce_classification"] = "Invalid Address"
	case "blocked":
		e["event"], e["type"], e["status"] = "bounce", "blocked", "4.7.0"
		e["reason"] = "421 4.7.0 come back later"
		e["bounce_classification"] = "Reputation"
	case "dropped":
		e["reason"] = "Bounced Address"
	case "open":
		e["useragent"], e["ip"], e["sg_machine_open"] = "Mozilla/5.0", "192.0.2.9", false
	case "click":
		e["useragent"], e["ip"], e["url"] = "Mozilla/5.0", "192.0.2.9", "https://example.com/"
	}
	return e
}

// eventID returns a new id: SendGrid's changes between repeats.
func eventID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails on a supported platform
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Events returns events of the kinds about every message taken, in order.
func (s *SendGrid) Events(at time.Time, kinds ...string) []GridEvent {
	var out []GridEvent
	for _, m := range s.Messages() {
		for i, k := range kinds {
			out = append(out, s.Event(k, m, at.Add(time.Duration(i)*time.Second)))
		}
	}
	return out
}

// PostOptions of Post.
type PostOptions struct {
	Times   int       // each event so often, with a new sg_event_id; default 1
	Shuffle bool      // in an order drawn from the server's seed
	Batch   int       // events a request; default 1,000
	At      time.Time // of the signature; default now
	Spoil   bool      // change a byte after signing
}

// Post posts events to a web hook, signed. The error names the first status
// that isn't 2xx.
func (s *SendGrid) Post(ctx context.Context, url string, events []GridEvent, o PostOptions) error {
	var all []GridEvent
	for n := range max(o.Times, 1) {
		for _, e := range events {
			if n > 0 {
				c := GridEvent{}
				for k, v := range e {
					c[k] = v
				}
				c["sg_event_id"] = eventID()
				e = c
			}
			all = append(all, e)
		}
	}
	if o.Shuffle {
		rnd := mathrand.New(mathrand.NewPCG(s.opts.Seed, 13))
		rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	if o.Batch <= 0 {
		o.Batch = 1000
	}
	for len(all) > 0 {
		n := min(o.Batch, len(all))
		if err := s.post(ctx, url, all[:n], o); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

func (s *SendGrid) post(ctx context.Context, url string, events []GridEvent, o PostOptions) error {
	body, err := json.Marshal(events)
	if err != nil {
		return fmt.Errorf("encode events: %w", err)
	}
	body = append(body, "\r\n"...) // as SendGrid ends it
	if o.At.IsZero() {
		o.At = time.Now()
	}
	stamp := strconv.FormatInt(o.At.Unix(), 10)
	signature, err := s.Sign(stamp, body)
	if err != nil {
		return err
	}
	if o.Spoil {
		body[len(body)/2] ^= 1
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post events: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(eventwebhook.VerificationHTTPHeader, signature)
	req.Header.Set(eventwebhook.TimestampHTTPHeader, stamp)
	res, err := s.opts.Client.Do(req)
	if err != nil {
		return fmt.Errorf("post events: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("post events: answered %d", res.StatusCode)
	}
	return nil
}

// Sign returns the signature of a request: ECDSA over SHA-256 of the time and
// the raw body, ASN.1, base64.
func (s *SendGrid) Sign(stamp string, body []byte) (string, error) {
	sum := sha256.Sum256(append([]byte(stamp), body...))
	b, err := ecdsa.SignASN1(rand.Reader, s.key, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign events: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

// SendGridBackend returns the server as a Backend; b needs New alone. It can't
// drop kept connections: over HTTP nobody can tell such a request from a lost
// answer, and Unknown is right.
func SendGridBackend(s *SendGrid, b Backend) Backend {
	b.Accepted, b.Attempts = s.Accepted, s.Calls
	b.Behave = func(as Behaviour) bool {
		faults, ok := gridFaults[as]
		if !ok {
			return false
		}
		s.SetFaults(faults...)
		return s.Refuse(as == Unreachable) == nil
	}
	return b
}

var gridFaults = map[Behaviour][]CallFault{
	Accept:        nil,
	Unreachable:   nil,
	RefuseForGood: {{Status: http.StatusBadRequest, Field: "content.0.value"}},
	RefuseAddress: {{To: Recipient(0), Status: http.StatusBadRequest, Field: "personalizations.%d.to.0.email"}},
	RefuseOne:     {{To: Recipient(1), Status: http.StatusBadRequest, Field: "personalizations.%d.to.0.email"}},
	Throttle:      {{Status: http.StatusTooManyRequests, Header: map[string]string{"X-RateLimit-Reset": "1"}}},
	TakeAndHangUp: {{Take: true, Close: true}},
	LoseAndHangUp: {{Close: true}},
	TakeAndStall:  {{Take: true, Hang: true}},
}
