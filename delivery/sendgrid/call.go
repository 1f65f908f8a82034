package sendgrid

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sendgrid/rest"
	api "github.com/sendgrid/sendgrid-go"

	"kairos/delivery"
)

const maxAnswer = 1 << 20

// wire carries one request and knows how much of it was handed to the
// connection. It is a round tripper because that is where the body passes.
type wire struct {
	base http.RoundTripper
	size int64
	read atomic.Int64 // bytes of the body that were taken
}

// left reports whether the whole request may have left: its last byte was
// taken. This is safe in every order of events, unlike httptrace, whose
// WroteRequest can come later than the answer's failure.
func (w *wire) left() bool { return w.read.Load() >= w.size }

// RoundTrip implements http.RoundTripper.
func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.Body = &counted{ReadCloser: req.Body, n: &w.read}
	if req.GetBody != nil {
		// Asked for only when nothing of the first was written.
		r.GetBody = func() (io.ReadCloser, error) {
			b, err := req.GetBody()
			return &counted{ReadCloser: b, n: &w.read}, err
		}
	}
	res, err := w.base.RoundTrip(r)
	if err == nil {
		res.Body = limited{io.LimitReader(res.Body, maxAnswer), res.Body}
	}
	return res, err
}

// counted counts the bytes that are read.
type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

type limited struct {
	io.Reader
	io.Closer
}

// call makes one request and settles its items. What it returns are smaller
// requests for items that were certainly not accepted.
func (p *Provider) call(ctx context.Context, items []item, body []byte) [][]item {
	req := api.GetRequest(p.opts.APIKey, "/v3/mail/send", p.opts.URL)
	req.Method = rest.Post
	req.Body = body
	w := &wire{base: p.transport, size: int64(len(body))}
	client := rest.Client{HTTPClient: &http.Client{
		Transport: w,
		// A redirect is an answer: following it would post again.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	ctx, cancel := context.WithTimeout(ctx, p.opts.Timeout)
	defer cancel()
	res, err := client.SendWithContext(ctx, req)
	if res == nil || res.StatusCode == 0 {
		r := delivery.Result{Outcome: delivery.NotSent, Detail: describe(ctx, err)}
		if w.left() {
			r.Outcome = delivery.Unknown
		}
		settle(items, r)
		return nil
	}
	return answer(items, res)
}

// answer settles items by a response, whose status line alone decides even
// when its body was cut off.
func answer(items []item, res *rest.Response) [][]item {
	header := http.Header(res.Headers)
	r := delivery.Result{Code: strconv.Itoa(res.StatusCode), Outcome: delivery.NotSent}
	switch code := res.StatusCode; {
	case code/100 == 2:
		r.Outcome = delivery.Accepted
		r.ProviderID = header.Get("X-Message-Id")
		if r.ProviderID == "" {
			r.ProviderID = "accepted"
		}
	case code/100 == 5:
		r.Outcome, r.Detail = delivery.Unknown, "server error after the request was read"
	case code == http.StatusUnauthorized:
		r.Detail = "the API key was refused"
	case code == http.StatusForbidden:
		r.Detail = "the account may not send: " + readErrors(res.Body).text()
	case code == http.StatusTooManyRequests:
		r.Detail, r.RetryAfter = "too many requests", retryAfter(header, time.Now())
	case code == http.StatusRequestEntityTooLarge:
		if len(items) > 1 {
			return halves(items)
		}
		r.Outcome, r.Detail = delivery.RejectedPerm, "message too large"
	case code == http.StatusBadRequest:
		return badRequest(items, r, readErrors(res.Body))
	default:
		r.Detail = "unexpected answer"
	}
	settle(items, r)
	return nil
}

// badRequest finds out whom a 400 is about. It accepts nobody, so the others
// may be sent again.
func badRequest(items []item, r delivery.Result, errs apiErrors) [][]item {
	r.Outcome, r.Detail = delivery.RejectedPerm, errs.text()
	if guilty := errs.personalizations(len(items)); len(guilty) > 0 {
		var rest []item
		for i, it := range items {
			bad, named := guilty[i]
			if !named {
				rest = append(rest, it)
				continue
			}
			*it.result = r
			it.result.BadAddress = bad
		}
		if len(rest) == 0 {
			return nil
		}
		return [][]item{rest}
	}
	switch errs.about() {
	case "from", "reply_to", "reply_to_list", "tracking_settings", "mail_settings":
		r.Outcome = delivery.NotSent // ours to mend, the same for everybody
	case "subject", "content":
	default:
		if len(items) > 1 {
			return halves(items)
		}
	}
	settle(items, r)
	return nil
}

func halves(items []item) [][]item {
	mid := len(items) / 2
	return [][]item{items[:mid:mid], items[mid:]}
}

// apiErrors is the body of a 4xx: {"errors":[{"message","field","help"}]}.
type apiErrors struct {
	Errors []struct {
		Message string  `json:"message"`
		Field   *string `json:"field"`
	} `json:"errors"`
}

func readErrors(body string) apiErrors {
	var e apiErrors
	_ = json.Unmarshal([]byte(body), &e) // what can't be read says nothing
	return e
}

// text returns the first message, without addresses.
func (e apiErrors) text() string {
	if len(e.Errors) == 0 {
		return "request refused"
	}
	return redact(e.Errors[0].Message, "")
}

// about returns the first part of the first error's field, or "".
func (e apiErrors) about() string {
	if len(e.Errors) == 0 || e.Errors[0].Field == nil {
		return ""
	}
	name, _, _ := strings.Cut(*e.Errors[0].Field, ".")
	return name
}

// personalizations returns the indexes below n that fields name, as
// "personalizations.3.to.0.email", and whether it is the address.
func (e apiErrors) personalizations(n int) map[int]bool {
	out := map[int]bool{}
	for _, x := range e.Errors {
		if x.Field == nil {
			continue
		}
		parts := strings.Split(*x.Field, ".")
		if len(parts) < 2 || parts[0] != "personalizations" {
			continue
		}
		if i, err := strconv.Atoi(parts[1]); err == nil && i >= 0 && i < n {
			out[i] = out[i] || len(parts) > 2 && parts[2] == "to"
		}
	}
	return out
}

// retryAfter reads how long to wait: Retry-After in seconds, or
// X-RateLimit-Reset, a Unix time (Rate Limits). Between 1 s and 1 h.
func retryAfter(h http.Header, now time.Time) time.Duration {
	wait := 5 * time.Second
	if s, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		wait = time.Duration(s) * time.Second
	} else if t, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		wait = time.Unix(t, 0).Sub(now)
	}
	return min(max(wait, time.Second), time.Hour)
}

// redact returns at most 160 bytes of printable text without any address, and
// without the given local part.
func redact(s, local string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	local = strings.ToLower(local)
	for i, w := range words {
		if strings.Contains(w, "@") || len(local) > 2 && strings.Contains(strings.ToLower(w), local) {
			words[i] = "<address>"
		}
	}
	s = strings.Join(words, " ")
	return s[:min(len(s), 160)]
}

// describe says in a few words why there was no answer.
func describe(ctx context.Context, err error) string {
	var op *net.OpError
	var t net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return "cancelled"
	case ctx.Err() != nil, errors.As(err, &t) && t.Timeout():
		return "timed out"
	case errors.As(err, &op) && op.Op == "dial":
		return "can't connect"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed without an answer"
	}
	return "connection failed"
}
