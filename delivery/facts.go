package delivery

import (
	"encoding/json"
	"strconv"
)

// facts is the data of the events about attempts.
type facts struct {
	Provider   string
	ProviderID string
	Attempt    string // notification.number
	Code       string
	Detail     string
	Reason     string
	Evidence   string
	Choice     string
	Actor      string
	Links      int // tracked links in the message
}

// in writes the facts that are known as a JSON object at the end of a buffer
// that many share, and returns it.
func (f *facts) in(room *[]byte) json.RawMessage {
	b := *room
	start := len(b)
	b = append(b, '{')
	for _, x := range [...]struct{ name, value string }{
		{"provider", f.Provider}, {"provider_id", f.ProviderID}, {"attempt", f.Attempt}, {"code", f.Code}, {"detail", f.Detail},
		{"reason", f.Reason}, {"evidence", f.Evidence}, {"choice", f.Choice}, {"actor", f.Actor},
	} {
		if x.value != "" {
			b = appendString(appendName(b, x.name), x.value)
		}
	}
	if f.Links != 0 {
		b = strconv.AppendInt(appendName(b, "links"), int64(f.Links), 10)
	}
	b = append(b, '}')
	*room = b
	return b[start:len(b):len(b)]
}

// appendName appends the name of a member, and a comma before it where needed.
func appendName(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(append(append(b, '"'), name...), '"', ':')
}

// appendString appends a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			raw, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...) // a string never fails
			}
			return append(b, raw...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
