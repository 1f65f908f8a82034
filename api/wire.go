package api

import (
	"encoding/json"
	"regexp"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"kairos"
)

// The scalars of the wire. The root package knows no huma, so these wrap its
// types with their schemas.

// ID is a kairos.ID: a UUID as a string.
type ID struct{ kairos.ID }

const idPattern = `^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`

// Schema implements huma.SchemaProvider.
func (ID) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Pattern: idPattern, PatternDescription: "a UUID",
		Examples: []any{"01936c3e-8a6f-7cc2-9f5e-2b1d0c3a4e5f"}}
}

// UnmarshalText implements encoding.TextUnmarshaler. A path or query reads it
// before the schema does, so the message is the whole clause.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := kairos.ParseID(string(b))
	id.ID = v
	return err
}

// idOf returns id, or nil for none.
func idOf(id kairos.ID) *ID {
	if id.IsZero() {
		return nil
	}
	return &ID{id}
}

func idsOf(ids []ID) []kairos.ID {
	if ids == nil {
		return nil
	}
	out := make([]kairos.ID, len(ids))
	for i := range ids {
		out[i] = ids[i].ID
	}
	return out
}

func wireIDs(ids []kairos.ID) []ID {
	if ids == nil {
		return nil
	}
	out := make([]ID, len(ids))
	for i := range ids {
		out[i] = ID{ids[i]}
	}
	return out
}

// Amount is money: read as a decimal number or string, written as a string.
type Amount struct {
	kairos.Amount
	bad bool
}

// Schema implements huma.SchemaProvider. What doesn't fit is found by Resolve,
// which knows better words.
func (Amount) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "A decimal number with at most six places; answers hold a string.", Examples: []any{"12.50"},
		Extensions: map[string]any{"type": []string{"string", "number"}, "pattern": `^-?\d{1,12}(\.\d{1,6})?$`},
	}
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *Amount) UnmarshalJSON(b []byte) error {
	a.bad = a.Amount.UnmarshalJSON(b) != nil || string(b) == `""`
	return nil //nolint:nilerr // Resolve reports it, with its place
}

// MarshalJSON implements json.Marshaler.
func (a Amount) MarshalJSON() ([]byte, error) { return a.Amount.MarshalJSON() }

// Resolve implements huma.ResolverWithPath.
func (a *Amount) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	if a.bad {
		return []error{&huma.ErrorDetail{Location: at.String(), Message: "must be a decimal number with at most six places"}}
	}
	return nil
}

// Duration is a kairos.Duration: "24h", "90m", "7d".
type Duration struct {
	kairos.Duration
	bad bool
}

var durationForm = regexp.MustCompile(`^(\d{1,5}d|(\d{1,7}(\.\d+)?(h|m|s|ms))+)$`)

// Schema implements huma.SchemaProvider.
func (Duration) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Pattern: durationForm.String(), PatternDescription: "a duration such as 24h, 90m or 7d", Examples: []any{"24h"}}
}

// UnmarshalText implements encoding.TextUnmarshaler; Resolve says what is wrong.
func (d *Duration) UnmarshalText(b []byte) error {
	d.bad = d.Duration.UnmarshalText(b) != nil
	return nil
}

// Resolve implements huma.ResolverWithPath: what has the form and is too long.
func (d *Duration) Resolve(_ huma.Context, at *huma.PathBuffer) []error {
	if d.bad {
		return []error{&huma.ErrorDetail{Location: at.String(), Message: "is longer than any duration"}}
	}
	return nil
}

// LocalTime is a kairos.LocalTime: "09:30".
type LocalTime struct{ kairos.LocalTime }

// Schema implements huma.SchemaProvider.
func (LocalTime) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "string", Pattern: `^([01][0-9]|2[0-3]):[0-5][0-9]$`, PatternDescription: "a time of day such as 09:30", Examples: []any{"09:30"}}
}

// Object is any JSON object, kept as it was written.
type Object json.RawMessage

// Schema implements huma.SchemaProvider.
func (Object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: "object", AdditionalProperties: true}
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *Object) UnmarshalJSON(b []byte) error {
	*o = append((*o)[:0], b...)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (o Object) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("{}"), nil
	}
	return o, nil
}

// IsZero makes omitzero leave out what was not given.
func (o Object) IsZero() bool { return len(o) == 0 }

// object returns the values of an Object.
func (o Object) object() (map[string]any, error) {
	if len(o) == 0 || string(o) == "null" {
		return nil, nil
	}
	var m map[string]any
	if err := json.Unmarshal(o, &m); err != nil {
		return nil, kairos.Invalid("data", "is not a JSON object")
	}
	return m, nil
}

// timeOf returns t, or nil for none.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
