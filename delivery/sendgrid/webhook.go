package sendgrid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sendgrid/sendgrid-go/helpers/eventwebhook"

	"kairos"
)

// WebhookOptions of a Webhook. Only PublicKey has no usable zero value.
type WebhookOptions struct {
	// PublicKey is the verification key of the signed event web hook, as
	// SendGrid shows it: base64 of a DER SubjectPublicKeyInfo. PEM is read too.
	PublicKey string
	// MaxBody bounds a request; default 4 MB.
	MaxBody int64
	// MaxAge is how old a signature's time may be. SendGrid repeats a post for 24
	// hours and doesn't say that it signs anew, so the default is 25 hours. A
	// replay within it changes nothing: an event's key is made of its content.
	MaxAge time.Duration
	// MaxAhead is how far a signature's time may lie ahead; default 5 min.
	MaxAhead time.Duration
	// Now is the machine's time; default time.Now.
	Now func() time.Time
}

// Record stores events, all or none. Until it returns nil they are not
// acknowledged. It is called with at least one event.
type Record func(ctx context.Context, events []kairos.Event) error

// Webhook receives SendGrid's events ("Event Webhook Reference"). It answers 204
// when they are recorded, 503 when not, so that SendGrid posts them again.
type Webhook struct {
	opts   WebhookOptions
	key    *ecdsa.PublicKey
	record Record

	recorded, ignored, refused atomic.Int64
}

// WebhookHandler checks the key.
func WebhookHandler(opts WebhookOptions, record Record) (*Webhook, error) {
	key, err := parsePublicKey(opts.PublicKey)
	if err != nil {
		return nil, kairos.Invalid("sendgrid_webhook_key", "%s", err.Error())
	}
	if opts.MaxBody <= 0 {
		opts.MaxBody = 4 << 20
	}
	if opts.MaxAge <= 0 {
		opts.MaxAge = 25 * time.Hour
	}
	if opts.MaxAhead <= 0 {
		opts.MaxAhead = 5 * time.Minute
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Webhook{opts: opts, key: key, record: record}, nil
}

func parsePublicKey(s string) (*ecdsa.PublicKey, error) {
	var der []byte
	if block, _ := pem.Decode([]byte(s)); block != nil {
		der = block.Bytes
	} else {
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
		if err != nil {
			return nil, errors.New("is not base64")
		}
		der = b
	}
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("is not a public key")
	}
	key, ok := k.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("is not an ECDSA P-256 key")
	}
	return key, nil
}

// Counts returns how many events were recorded and ignored, and how many
// requests were refused, since the start.
func (h *Webhook) Counts() (recorded, ignored, refused int64) {
	return h.recorded.Load(), h.ignored.Load(), h.refused.Load()
}

// ServeHTTP implements http.Handler.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		h.refuse(w, http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.opts.MaxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			h.refuse(w, http.StatusRequestEntityTooLarge)
			return
		}
		h.refuse(w, http.StatusBadRequest)
		return
	}
	now := h.opts.Now()
	if !h.signed(r.Header, body, now) {
		h.refuse(w, http.StatusForbidden)
		return
	}
	events, ignored, err := parseEvents(body, now)
	if err != nil {
		h.refuse(w, http.StatusBadRequest)
		return
	}
	if len(events) > 0 {
		if err := h.record(r.Context(), events); err != nil {
			w.Header().Set("Retry-After", "10")
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
	}
	h.recorded.Add(int64(len(events)))
	h.ignored.Add(int64(ignored))
	w.WriteHeader(http.StatusNoContent)
}

func (h *Webhook) refuse(w http.ResponseWriter, code int) {
	h.refused.Add(1)
	http.Error(w, http.StatusText(code), code)
}

// signed checks the signature over the time and the raw body, and the time.
func (h *Webhook) signed(header http.Header, body []byte, now time.Time) bool {
	signature := header.Get(eventwebhook.VerificationHTTPHeader)
	stamp := header.Get(eventwebhook.TimestampHTTPHeader)
	sec, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || signature == "" {
		return false
	}
	at := time.Unix(sec, 0)
	if at.Before(now.Add(-h.opts.MaxAge)) || at.After(now.Add(h.opts.MaxAhead)) {
		return false
	}
	ok, err := eventwebhook.VerifySignature(h.key, body, signature, stamp)
	return err == nil && ok
}
