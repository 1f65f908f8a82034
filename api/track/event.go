package track

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"kairos"
)

// Bounds of a page event. What passes them also passes the shipper's: an event
// that was acknowledged must not be refused by the log.
const (
	maxEvent    = 32 << 10 // bytes of the body, and of the data made from it
	maxExponent = 300      // of a number in data
)

// pageEvent is what a landing page reports.
type pageEvent struct {
	kind, key string
	data      map[string]any // with amount and currency
}

// ours are the kinds that no page may claim.
var ours = []string{"campaign.", "notification.", "contact.", "model.", "import.", "provider.", "kairos."}

// parse reads and checks one event. Every error is a *kairos.FieldError.
func parse(raw []byte) (pageEvent, error) {
	var in struct {
		Kind     string          `json:"kind"`
		Key      string          `json:"key"`
		Amount   *kairos.Amount  `json:"amount"`
		Currency string          `json:"currency"`
		Data     json.RawMessage `json:"data"`
	}
	if err := strictly(raw, &in); err != nil {
		var field *kairos.FieldError
		if errors.As(err, &field) {
			return pageEvent{}, field
		}
		return pageEvent{}, kairos.Invalid("body", "must be a JSON object with kind and, if wanted, key, amount, currency and data")
	}
	e := pageEvent{kind: in.Kind, key: in.Key, data: map[string]any{}}
	if !kairos.ValidKind(e.kind) {
		return e, kairos.Invalid("kind", "must be small words joined by dots, such as page.viewed")
	}
	for _, prefix := range ours {
		if strings.HasPrefix(e.kind, prefix) {
			return e, kairos.Invalid("kind", "is not for pages to report")
		}
	}
	if len(e.key) > kairos.MaxKey || strings.ContainsRune(e.key, 0) {
		return e, kairos.Invalid("key", "must be text of at most %d bytes", kairos.MaxKey)
	}
	if len(in.Data) > 0 && string(in.Data) != "null" {
		dec := json.NewDecoder(bytes.NewReader(in.Data))
		dec.UseNumber() // a long order number stays what it is
		if err := dec.Decode(&e.data); err != nil || e.data == nil {
			return e, kairos.Invalid("data", "must be a JSON object")
		}
		if !storable(e.data) {
			return e, kairos.Invalid("data", "has a number or text that can't be stored")
		}
		delete(e.data, "machine") // a page does not say who looks at it
	}
	currency := strings.ToUpper(in.Currency)
	paid := e.kind == kairos.PaymentReceived
	switch {
	case paid && in.Amount == nil, in.Amount != nil && *in.Amount < 0:
		return e, kairos.Invalid("amount", "must be a decimal number that is not negative")
	case (paid || currency != "") && !kairos.ValidCurrency(currency):
		return e, kairos.Invalid("currency", "must be a code of ISO 4217, such as EUR")
	}
	if in.Amount != nil {
		e.data["amount"] = in.Amount.String()
	}
	if currency != "" {
		e.data["currency"] = currency
	}
	return e, nil
}

// encode returns the event's data, nil when there is none.
func (e pageEvent) encode() (json.RawMessage, error) {
	if len(e.data) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e.data); err != nil {
		return nil, kairos.Invalid("data", "can't be written as JSON")
	}
	data := bytes.TrimRight(b.Bytes(), "\n")
	if len(data) > maxEvent {
		return nil, kairos.Invalid("data", "is longer than %d bytes", maxEvent)
	}
	if bytes.Contains(data, []byte(`\u0000`)) {
		return nil, kairos.Invalid("data", "has a number or text that can't be stored")
	}
	return data, nil
}

// strictly decodes one JSON value, without unknown fields, without anything
// behind it and not nested too deep.
func strictly(raw []byte, into any) error {
	if kairos.JSONDepth(raw) > kairos.MaxDepth {
		return kairos.Invalid("body", "is nested more than %d deep", kairos.MaxDepth)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return kairos.Invalid("body", "must be one JSON object")
	}
	return nil
}

// storable reports whether Postgres can hold a decoded value: its numbers have
// bounds that JSON does not know.
func storable(v any) bool {
	switch v := v.(type) {
	case json.Number:
		i := strings.IndexAny(string(v), "eE")
		if i < 0 {
			return true
		}
		exponent, err := strconv.Atoi(string(v[i+1:]))
		return err == nil && -maxExponent <= exponent && exponent <= maxExponent
	case []any:
		for _, x := range v {
			if !storable(x) {
				return false
			}
		}
	case map[string]any:
		for _, x := range v {
			if !storable(x) {
				return false
			}
		}
	}
	return true
}
