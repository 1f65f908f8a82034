package creation

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"kairos"
)

const (
	maxAttributes = 64 << 10 // bytes of one contact's attributes as an input gives them
	maxJSONDepth  = 32
)

// splitAttributes reads a JSON object: what it sets, as a JSON object that
// Postgres is sure to accept, and the names it sets to null.
func splitAttributes(raw []byte) (set string, drop []string, err error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" || string(raw) == "{}" {
		return "", nil, nil
	}
	if len(raw) > maxAttributes {
		return "", nil, kairos.Invalid("attributes", "are longer than %d KiB", maxAttributes>>10)
	}
	if raw[0] != '{' || !json.Valid(raw) {
		return "", nil, kairos.Invalid("attributes", "is not a JSON object")
	}
	plain, err := checkJSON(raw)
	if err != nil {
		return "", nil, err
	}
	if plain && !bytes.Contains(raw, []byte("null")) {
		return string(raw), nil, nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", nil, kairos.Invalid("attributes", "is not a JSON object")
	}
	for name, v := range m {
		if string(v) == "null" {
			drop = append(drop, name)
			delete(m, name)
			continue
		}
		if !plain { // escapes that Postgres refuses become U+FFFD or go
			if m[name], err = rewriteJSON(v); err != nil {
				return "", nil, err
			}
		}
	}
	slices.Sort(drop)
	if len(m) == 0 {
		return "", drop, nil
	}
	out, err := json.Marshal(m)
	if err != nil || bytes.Contains(out, []byte(`\u0000`)) {
		return "", nil, kairos.Invalid("attributes", "holds a character that can't be stored")
	}
	return string(out), drop, nil
}

// checkJSON looks at valid JSON for what Postgres would refuse: depth, numbers
// out of its range, text that isn't UTF-8. plain is false where a \u escape
// needs a closer look.
func checkJSON(b []byte) (plain bool, err error) {
	if !utf8.Valid(b) {
		return false, kairos.Invalid("attributes", "is not UTF-8")
	}
	plain = true
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
					plain = plain && i < len(b) && b[i] != 'u'
				}
			}
		case c == '{' || c == '[':
			if depth++; depth > maxJSONDepth {
				return false, kairos.Invalid("attributes", "are nested deeper than %d", maxJSONDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == '-' || c >= '0' && c <= '9':
			start, exponent := i, -1
			for ; i < len(b) && (b[i] >= '0' && b[i] <= '9' || b[i] == '.' || b[i] == '-' || b[i] == '+' || b[i] == 'e' || b[i] == 'E'); i++ {
				if b[i] == 'e' || b[i] == 'E' {
					exponent = i
				}
			}
			_, err := strconv.ParseFloat(string(b[start:i]), 64)
			if err != nil || i-start > 300 || exponent >= 0 && i-exponent > 5 {
				return false, kairos.Invalid("attributes", "holds a number out of range")
			}
			i--
		}
	}
	return plain, nil
}

// rewriteJSON decodes and encodes a value, keeping its numbers as written.
func rewriteJSON(v []byte) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(v))
	d.UseNumber()
	var x any
	if err := d.Decode(&x); err != nil {
		return nil, kairos.Invalid("attributes", "is not a JSON object")
	}
	out, err := json.Marshal(x)
	if err != nil {
		return nil, kairos.Invalid("attributes", "is not a JSON object")
	}
	return out, nil
}

// mergeAttributes lays a later statement over an earlier one of the same person.
func (r *row) mergeAttributes(later *row) {
	if later.attributes == "" && later.drop == nil {
		return
	}
	if r.attributes == "" && r.drop == nil {
		r.attributes, r.drop = later.attributes, later.drop
		return
	}
	set, gone := map[string]json.RawMessage{}, map[string]bool{}
	for _, s := range []*row{r, later} {
		for _, name := range s.drop {
			gone[name] = true
			delete(set, name)
		}
		if s.attributes == "" {
			continue
		}
		var m map[string]json.RawMessage
		if json.Unmarshal([]byte(s.attributes), &m) != nil {
			continue // checked when the row was read
		}
		for name, v := range m {
			set[name] = v
			delete(gone, name)
		}
	}
	r.attributes, r.drop = "", slices.Sorted(maps.Keys(gone))
	if len(set) > 0 {
		if out, err := json.Marshal(set); err == nil {
			r.attributes = string(out)
		}
	}
}

// appendJSONString appends s, valid UTF-8 without NUL, as a JSON string.
func appendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		if c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		start = i + 1
	}
	return append(append(dst, s[start:]...), '"')
}
