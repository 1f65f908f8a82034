package sendgrid

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"kairos"
)

// kinds maps SendGrid's events. Its own opens and clicks are evidence that the
// message left and nothing more: our own links and pixel record engagement.
// data.attempt names the attempt.
var kinds = map[string]string{
	"processed":         kairos.ProviderProcessed,
	"delivered":         kairos.NotificationDelivered,
	"deferred":          kairos.NotificationDeferred,
	"bounce":            kairos.NotificationBounced,
	"dropped":           kairos.NotificationDropped,
	"spamreport":        kairos.NotificationComplained,
	"unsubscribe":       kairos.ContactUnsubscribed,
	"group_unsubscribe": kairos.ContactUnsubscribed,
	"open":              kairos.ProviderOpened,
	"click":             kairos.ProviderClicked,
}

// posted is one event as SendGrid posts it, custom args among its own fields.
type posted struct {
	Event          string   `json:"event"`
	Email          flexible `json:"email"` // read to be left out
	Timestamp      flexible `json:"timestamp"`
	EventID        string   `json:"sg_event_id"`
	MessageID      string   `json:"sg_message_id"`
	Type           string   `json:"type"`
	Status         string   `json:"status"`
	Reason         string   `json:"reason"`
	Response       string   `json:"response"`
	Classification string   `json:"bounce_classification"`
	URL            string   `json:"url"`
	MachineOpen    bool     `json:"sg_machine_open"`

	Notification flexible `json:"notification"`
	Attempt      flexible `json:"attempt"`
	AttemptToo   flexible `json:"kairos_attempt"`
	Campaign     flexible `json:"campaign"`
	Ticket       flexible `json:"ticket"`
}

// flexible is text that may come as a number, or as anything at all.
type flexible string

// UnmarshalJSON implements json.Unmarshaler; what is neither text nor number is
// "".
func (f *flexible) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*f = flexible(s)
		return nil
	}
	var n json.Number
	if json.Unmarshal(b, &n) == nil {
		*f = flexible(n)
	}
	return nil
}

// data is what the log keeps: no address, no URL, no address of a machine.
type data struct {
	Source         string `json:"source"`
	Attempt        string `json:"attempt,omitempty"`
	EventID        string `json:"sg_event_id,omitempty"` // changes between repeats
	MessageID      string `json:"sg_message_id,omitempty"`
	Class          string `json:"class,omitempty"` // hard, soft, complaint, unsubscribed
	Type           string `json:"type,omitempty"`
	Code           string `json:"code,omitempty"`
	Reason         string `json:"reason,omitempty"`
	Classification string `json:"classification,omitempty"`
	Machine        string `json:"machine,omitempty"`
}

// parseEvents reads a request's body, an array. Elements that aren't about a
// message of ours, or can't be read, are ignored and counted.
func parseEvents(body []byte, now time.Time) (events []kairos.Event, ignored int, err error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, 0, errors.New("parse events: not an array")
	}
	for _, r := range raw {
		var p posted
		if err := json.Unmarshal(r, &p); err != nil {
			ignored++
			continue
		}
		e, ok := p.event(now)
		if !ok {
			ignored++
			continue
		}
		events = append(events, e)
	}
	return events, ignored, nil
}

// event translates one; false when it isn't ours.
func (p *posted) event(now time.Time) (kairos.Event, bool) {
	kind, known := kinds[p.Event]
	id, err := kairos.ParseID(string(p.Notification))
	if !known || err != nil || id.IsZero() {
		return kairos.Event{}, false
	}
	sec, err := strconv.ParseFloat(string(p.Timestamp), 64)
	if err != nil || math.IsNaN(sec) || sec < 1e9 || sec > float64(now.Add(24*time.Hour).Unix()) {
		return kairos.Event{}, false
	}
	at := time.Unix(int64(sec), 0).UTC()
	e := kairos.Event{
		ID: kairos.NewIDAt(at), Kind: kind, Version: 1, OccurredAt: at, Notification: id,
		Campaign: idOrNone(p.Campaign), Ticket: idOrNone(p.Ticket),
	}
	d := data{
		Source: "sendgrid", Attempt: p.attempt(id),
		EventID: token(p.EventID), MessageID: token(p.MessageID), Type: token(p.Type),
		Classification: redact(p.Classification, ""),
	}
	d.Class = p.class()
	d.Code, d.Reason = p.why()
	if p.MachineOpen {
		d.Machine = "provider"
	}
	e.Key = p.key(d.Attempt, at)
	if e.Data, err = json.Marshal(d); err != nil {
		return kairos.Event{}, false
	}
	return e, true
}

// attempt returns the reference of the attempt, or "".
func (p *posted) attempt(id kairos.ID) string {
	for _, s := range [...]flexible{p.AttemptToo, p.Attempt} {
		if ref, err := kairos.ParseAttemptRef(string(s)); err == nil && ref.Notification == id {
			return ref.String()
		}
	}
	return ""
}

// class says what a failure means for the address. Type "bounce" is permanent,
// "blocked" is not (Event Webhook Reference).
func (p *posted) class() string {
	switch p.Event {
	case "bounce":
		if p.Type == "bounce" || p.Type == "" && strings.HasPrefix(p.Status, "5.1.") {
			return "hard"
		}
		return "soft"
	case "dropped":
		switch reason := strings.ToLower(p.Reason); {
		case strings.Contains(reason, "bounced"), reason == "invalid":
			return "hard"
		case strings.Contains(reason, "spam reporting"):
			return "complaint"
		case strings.Contains(reason, "unsubscribed"):
			return "unsubscribed"
		}
		return "soft"
	}
	return ""
}

// why returns the status code and the server's words, without addresses.
func (p *posted) why() (code, reason string) {
	text := p.Reason
	if text == "" {
		text = p.Response
	}
	local, _, _ := strings.Cut(string(p.Email), "@")
	return token(p.Status), redact(text, local)
}

// key is the same for every repeat of an event: sg_event_id isn't.
func (p *posted) key(attempt string, at time.Time) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "sendgrid\n%s\n%s\n%d\n%s", attempt, p.Event, at.Unix(), p.URL))
	return hex.EncodeToString(sum[:16])
}

func idOrNone(s flexible) kairos.ID {
	id, err := kairos.ParseID(string(s))
	if err != nil {
		return kairos.ID{}
	}
	return id
}

// token returns s when it is a short printable word, else "".
func token(s string) string {
	if len(s) > 200 || bytes.ContainsFunc([]byte(s), func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '@' }) {
		return ""
	}
	return s
}
