package kairos

import "strings"

// Bounds of an event that comes from outside, the same at every door.
const (
	MaxKind  = 100      // bytes of a kind
	MaxKey   = 200      // bytes of a client's key
	MaxData  = 32 << 10 // bytes of data
	MaxDepth = 32       // of arrays and objects in JSON
)

// ValidKind reports whether s has the form of a kind: small words of letters,
// digits and underscores, at least two, joined by dots.
func ValidKind(s string) bool {
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if p == "" || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return false
		}
	}
	return len(parts) > 1 && len(s) <= MaxKind
}

// ValidCurrency reports whether s has the form of an ISO 4217 code.
func ValidCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// JSONDepth returns how deep arrays and objects are nested in JSON; of what is
// no JSON, some number.
func JSONDepth(raw []byte) int {
	deepest, at, quoted, escaped := 0, 0, false, false
	for _, c := range raw {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			at++
			deepest = max(deepest, at)
		case c == '}' || c == ']':
			at--
		}
	}
	return deepest
}
