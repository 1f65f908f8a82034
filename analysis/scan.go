package analysis

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// members walks over a JSON object's members, or an array's elements, without
// decoding what nobody asks for. Postgres hands jsonb out in one well-formed
// shape, so it checks only what it needs to find its way.
type members struct {
	rest  []byte
	array bool
	done  bool
	bad   bool // it was no object or array, or not well formed
}

func membersOf(b []byte) members {
	b = bytes.TrimLeft(b, " \t\r\n")
	if len(b) < 2 || b[0] != '{' && b[0] != '[' {
		return members{done: true, bad: true}
	}
	m := members{rest: b[1:], array: b[0] == '['}
	m.skipSpace()
	if len(m.rest) > 0 && (m.rest[0] == '}' || m.rest[0] == ']') {
		m.done = true
	}
	return m
}

func (m *members) skipSpace() {
	for len(m.rest) > 0 && (m.rest[0] == ' ' || m.rest[0] == '\t' || m.rest[0] == '\r' || m.rest[0] == '\n') {
		m.rest = m.rest[1:]
	}
}

func (m *members) stop() ([]byte, []byte, bool) {
	m.done, m.bad = true, true
	return nil, nil, false
}

// next returns the next member: its key without quotes, escapes left as they
// are (nil in an array), and its value's text. false: there is none.
func (m *members) next() (key, value []byte, ok bool) {
	if m.done {
		return nil, nil, false
	}
	m.skipSpace()
	if !m.array {
		n := lengthOf(m.rest)
		if n < 2 || m.rest[0] != '"' {
			return m.stop()
		}
		key = m.rest[1 : n-1]
		m.rest = m.rest[n:]
		m.skipSpace()
		if len(m.rest) == 0 || m.rest[0] != ':' {
			return m.stop()
		}
		m.rest = m.rest[1:]
		m.skipSpace()
	}
	n := lengthOf(m.rest)
	if n <= 0 {
		return m.stop()
	}
	value, m.rest = m.rest[:n], m.rest[n:]
	m.skipSpace()
	switch {
	case len(m.rest) == 0:
		return m.stop()
	case m.rest[0] == ',':
		m.rest = m.rest[1:]
	default:
		m.done = true
	}
	return key, value, true
}

// eachMember calls fn for each member of an object, or element of an array with
// no key, until it returns false. It reports whether all were taken and b is
// well formed.
func eachMember(b []byte, fn func(key, value []byte) bool) bool {
	m := membersOf(b)
	for {
		key, value, ok := m.next()
		if !ok {
			return !m.bad
		}
		if !fn(key, value) {
			return false
		}
	}
}

// lengthOf returns how long the JSON value is that b begins with; 0: it is none.
func lengthOf(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"':
		for i := 1; i < len(b); i++ {
			switch b[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
		return 0
	case '{', '[':
		depth := 0
		for i := 0; i < len(b); i++ {
			switch b[i] {
			case '"':
				n := lengthOf(b[i:])
				if n == 0 {
					return 0
				}
				i += n - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return 0
	}
	for i, c := range b {
		switch c {
		case ',', '}', ']', ' ', '\t', '\r', '\n', ':', '"', '{', '[':
			return i
		}
	}
	return len(b)
}

// textOf reads a value as a string; false: it is none.
func textOf(value []byte) (s string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	if plain(inner) {
		return string(inner), true
	}
	return s, json.Unmarshal(value, &s) == nil
}

// plain: every byte stands for itself, between quotes and outside.
func plain[T []byte | string](s T) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// numberOf reads a value as a number; false: it is none.
func numberOf(value []byte) (f float64, ok bool) {
	if len(value) == 0 || value[0] != '-' && (value[0] < '0' || value[0] > '9') {
		return 0, false
	}
	if n, ok := integerOf(value); ok {
		return float64(n), true
	}
	f, err := strconv.ParseFloat(string(value), 64)
	return f, err == nil
}

// integerOf reads a value as a whole number of at most 18 digits.
func integerOf(value []byte) (n int64, ok bool) {
	digits := value
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	if len(digits) < len(value) {
		n = -n
	}
	return n, true
}
