package track

import (
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"

	"kairos"
	"kairos/internal/token"
)

// maxEvent is the longest page event, in bytes.
const maxEvent = 32 << 10

// pageEvent is what a landing page reports.
type pageEvent struct {
	Kind     string          `json:"kind"`
	Key      string          `json:"key"`
	Amount   *kairos.Amount  `json:"amount"`
	Currency string          `json:"currency"`
	Data     json.RawMessage `json:"data"`
}

// ours are the kinds that no page may claim.
var ours = []string{"campaign.", "notification.", "contact.", "model.", "import.", "provider.", "kairos."}

// parse reads and checks one event.
func parse(raw []byte) (kairos.Hit, map[string]any, error) {
	var e pageEvent
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		var field *kairos.FieldError
		if errors.As(err, &field) {
			return kairos.Hit{}, nil, field
		}
		return kairos.Hit{}, nil, kairos.Invalid("body", "must be a JSON object with kind and, if wanted, key, amount, currency and data")
	}
	if _, err := dec.Token(); err != io.EOF {
		return kairos.Hit{}, nil, kairos.Invalid("body", "must be one JSON object")
	}
	if !kindForm(e.Kind) {
		return kairos.Hit{}, nil, kairos.Invalid("kind", "must be small words joined by dots, such as page.viewed")
	}
	for _, prefix := range ours {
		if strings.HasPrefix(e.Kind, prefix) {
			return kairos.Hit{}, nil, kairos.Invalid("kind", "is not for pages to report")
		}
	}
	if len(e.Key) > 200 || strings.ContainsRune(e.Key, 0) {
		return kairos.Hit{}, nil, kairos.Invalid("key", "must be text of at most 200 bytes")
	}
	data := map[string]any{}
	if len(e.Data) > 0 && string(e.Data) != "null" {
		if err := json.Unmarshal(e.Data, &data); err != nil {
			return kairos.Hit{}, nil, kairos.Invalid("data", "must be a JSON object")
		}
		delete(data, "machine") // a page does not say who looks at it
	}
	switch {
	case e.Kind == kairos.PaymentReceived && (e.Amount == nil || *e.Amount < 0):
		return kairos.Hit{}, nil, kairos.Invalid("amount", "must be a decimal number that is not negative")
	case e.Kind == kairos.PaymentReceived && !currencyForm(e.Currency), e.Currency != "" && !currencyForm(e.Currency):
		return kairos.Hit{}, nil, kairos.Invalid("currency", "must be a code of ISO 4217, such as EUR")
	}
	if e.Amount != nil {
		data["amount"] = *e.Amount
	}
	if e.Currency != "" {
		data["currency"] = e.Currency
	}
	return kairos.Hit{Event: kairos.Event{Kind: e.Kind, Key: e.Key}, Keyed: e.Key != ""}, data, nil
}

func kindForm(s string) bool {
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return false
		}
	}
	return len(parts) > 1 && len(s) <= 100
}

func currencyForm(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// page takes an event of a landing page; 202 when it is on disk.
func (c *Collector) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	claims, err := c.pageClaims(chi.URLParam(r, "token"))
	if err != nil {
		notFound(w, r)
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			problem(w, http.StatusRequestEntityTooLarge, "An event has at most 32 KiB.")
			return
		}
		problem(w, http.StatusBadRequest, "The body ended early.")
		return
	}
	id, err := c.take(r, claims, raw)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write([]byte(`{"id":"` + id.String() + `"}`)) // it is durable, heard or not
}

// take spools one page event.
func (c *Collector) take(r *http.Request, claims token.Claims, raw []byte) (kairos.ID, error) {
	hit, data, err := parse(raw)
	if err != nil {
		return kairos.ID{}, err
	}
	if m := machine(r); m != "" {
		data["machine"] = m
	}
	return c.keep(r.Context(), claims, hit, data)
}

// preflight lets pages of any origin report: the token is the permission.
func preflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "POST")
	h.Set("Access-Control-Allow-Headers", "Content-Type")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

//go:embed assets/k.js
var snippetJS []byte

// snippet serves the landing pages' script.
func snippet(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	_, _ = w.Write(snippetJS)
}
