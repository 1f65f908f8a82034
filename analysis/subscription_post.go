package analysis

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/outbound"
)

const (
	firstPause = 5 * time.Second  // after the first failure; doubled by each
	lastPause  = 48 * time.Minute // with its jitter an hour
	longest    = time.Hour        // of what a receiver may ask for by Retry-After
)

// kept is how many attempts of a subscription are remembered.
const kept = 100

// outcome is what became of one post.
type outcome struct {
	at     time.Time // domain time
	took   time.Duration
	status int
	err    string
	after  time.Duration // asked for by the receiver
}

func (o *outcome) delivered() bool { return o.err == "" }

func (o *outcome) gone() bool { return o.status == http.StatusGone }

func (o *outcome) delivery(e *kairos.Event) SubscriptionDelivery {
	return SubscriptionDelivery{Event: e.ID, Kind: e.Kind, At: o.at, Took: o.took, Status: o.status, Error: o.err}
}

// post sends one event. webhook-timestamp is the machine's time: receivers
// compare it with theirs.
func (a *Analysis) post(ctx context.Context, s *Subscription, e *kairos.Event, b background) outcome {
	began := time.Now()
	o := outcome{at: a.clock.Now()}
	resp, err := a.call(ctx, s, e, b, began)
	o.took, o.status = time.Since(began), resp.Status
	switch {
	case err != nil:
		o.err = words(err)
	case resp.Status >= 300 && resp.Status < 400:
		o.err = "it redirects, which is not followed"
	case resp.Status < 200 || resp.Status > 299:
		o.err = "it answered " + strconv.Itoa(resp.Status)
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			o.after = min(time.Duration(min(n, 86_400))*time.Second, longest)
		}
	}
	return o
}

func (a *Analysis) call(ctx context.Context, s *Subscription, e *kairos.Event, b background, at time.Time) (outbound.Response, error) {
	keys, err := a.signingKeys(s)
	if err != nil {
		return outbound.Response{}, err
	}
	body, err := payload(e, b)
	if err != nil {
		return outbound.Response{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, bytes.NewReader(body))
	if err != nil {
		return outbound.Response{}, kairos.Invalid("url", "is not a URL") // the error would quote it
	}
	id := e.ID.String()
	req.Close = e.Kind == subscriptionTest // a single one
	req.Header = http.Header{
		"Content-Type":      {"application/json"},
		"User-Agent":        {"Kairos-Webhooks/1.0"},
		"Webhook-Id":        {id},
		"Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)},
		"Webhook-Signature": {signature(keys, id, at.Unix(), body)},
	}
	if b.traceParent != "" {
		req.Header.Set("Traceparent", b.traceParent)
	}
	return a.hooks.Do(req)
}

// words says why there was no answer, without the address or anything that
// the other side said.
func words(err error) string {
	var field *kairos.FieldError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errSealed):
		return errSealed.Error()
	case errors.Is(err, outbound.ErrRefused):
		return outbound.ErrRefused.Error()
	case errors.Is(err, outbound.ErrTimeout):
		return outbound.ErrTimeout.Error()
	case errors.As(err, &field):
		return field.Error()
	case errors.As(err, &dns):
		return "its name doesn't resolve"
	case errors.As(err, &cert):
		return "its certificate is not valid"
	case errors.As(err, &record):
		return "it doesn't speak TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "it refuses connections"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it closed the connection"
	}
	return "no answer"
}

// pauseAfter is the wait after so many failures in a row: 5 s, doubled to an
// hour, with up to a quarter of jitter that is the subscription's own.
func pauseAfter(id kairos.ID, failures int) time.Duration {
	base := min(firstPause<<min(max(failures-1, 0), 16), lastPause)
	random := rand.New(rand.NewPCG(binary.BigEndian.Uint64(id[8:]), uint64(failures))) //nolint:gosec // spreads load, hides nothing
	return base + time.Duration(random.Int64N(int64(base/4))).Truncate(time.Millisecond)
}

// record keeps an attempt among the last of its subscription, gives it its
// number and returns the subscription's version; pgx.ErrNoRows. to is the
// event's place in the log when it was delivered, else nil: the subscription's
// place moves there and its failures are over. That may be lost with the
// machine (no wait for the disk): the event is then delivered again.
func (a *Analysis) record(ctx context.Context, tx pgx.Tx, id kairos.ID, d *SubscriptionDelivery, to *kairos.Cursor) (version int, err error) {
	var at kairos.Cursor
	if to != nil {
		at = *to
	}
	err = tx.QueryRow(ctx, `
		WITH s AS (
			UPDATE subscriptions SET attempts = attempts + 1,
			       xid = CASE WHEN $9 THEN $10::text::xid8 ELSE xid END, position = CASE WHEN $9 THEN $11 ELSE position END,
			       failures = CASE WHEN $9 THEN 0 ELSE failures END, failing_since = CASE WHEN $9 THEN NULL ELSE failing_since END
			WHERE id = $1 RETURNING attempts, version
		), d AS (
			INSERT INTO subscription_deliveries (subscription, place, number, event, kind, at, took_ms, status, error)
			SELECT $1, s.attempts % $2, s.attempts, $3, $4, $5, $6, $7, $8 FROM s
			ON CONFLICT (subscription, place) DO UPDATE SET number = excluded.number, event = excluded.event, kind = excluded.kind,
			    at = excluded.at, took_ms = excluded.took_ms, status = excluded.status, error = excluded.error
		)
		SELECT attempts, version, CASE WHEN $9 THEN set_config('synchronous_commit', 'off', true) END FROM s`,
		id, kept, d.Event, d.Kind, d.At, d.Took.Milliseconds(), d.Status, d.Error, to != nil, fmt.Sprint(at.XID), at.Position).
		Scan(&d.Number, &version, nil)
	return version, err
}

// TestSubscription posts a test event, in whatever state the subscription is,
// and returns what became of it. Nothing is repeated and no failure counted.
func (a *Analysis) TestSubscription(ctx context.Context, id kairos.ID, by kairos.Ticket) (d SubscriptionDelivery, err error) {
	s, err := a.Subscription(ctx, id)
	if err != nil {
		return d, err
	}
	now := a.clock.Now()
	e := kairos.Event{ID: kairos.NewIDAt(now), Kind: subscriptionTest, Version: 1, OccurredAt: now, Data: []byte(`{"test":true}`)}
	o := a.post(ctx, &s, &e, background{traceParent: by.TraceParent})
	if ctx.Err() != nil {
		return d, fmt.Errorf("test subscription: %w", context.Cause(ctx))
	}
	d = o.delivery(&e)
	err = pgx.BeginFunc(ctx, a.pool, func(tx pgx.Tx) error {
		_, err := a.record(ctx, tx, id, &d, nil)
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = kairos.ErrNotFound
	}
	return d, wrap("test subscription", err)
}

// SubscriptionDeliveries lists the last attempts, at most 100, newest first.
// after is the number of the last one of the page before; next is empty at the
// end.
func (a *Analysis) SubscriptionDeliveries(ctx context.Context, id kairos.ID, limit int, after string) (list []SubscriptionDelivery, next string, err error) {
	var below int64
	if after != "" {
		if below, err = strconv.ParseInt(after, 10, 64); err != nil || below < 1 {
			return nil, "", fmt.Errorf("list deliveries: %w", kairos.Invalid("after", "is not a cursor of this list"))
		}
	}
	if _, err := a.Subscription(ctx, id); err != nil {
		return nil, "", err
	}
	rows, err := a.pool.Query(ctx, `
		SELECT number, event, kind, at, took_ms, status, error FROM subscription_deliveries
		WHERE subscription = $1 AND ($2::bigint = 0 OR number < $2) ORDER BY number DESC LIMIT $3`, id, below, limit+1)
	if err == nil {
		list, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (d SubscriptionDelivery, err error) {
			var ms int64
			err = r.Scan(&d.Number, &d.Event, &d.Kind, &d.At, &ms, &d.Status, &d.Error)
			d.Took = time.Duration(ms) * time.Millisecond
			return d, err
		})
	}
	if err != nil {
		return nil, "", fmt.Errorf("list deliveries: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = strconv.FormatInt(list[limit-1].Number, 10)
	}
	return list, next, nil
}
