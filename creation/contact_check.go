package creation

import (
	"net/mail"
	"strings"
	"unicode/utf8"

	"kairos"
)

// Longest values, in bytes.
const (
	maxExternalID = 200
	maxEmail      = 254 // RFC 5321 4.5.3.1.3, less the angle brackets
	maxLocalPart  = 64  // RFC 5321 4.5.3.1.1
	maxPhone      = 40
	maxName       = 200
	maxLocale     = 35 // RFC 5646 4.4.1
	maxRegion     = 100
)

// checkField checks one text of a contact that isn't empty.
func (c *Creation) checkField(field int, v string) error {
	name := fieldNames[field]
	limit := maxName
	switch field {
	case fieldEmail:
		return checkEmail(v)
	case fieldTimezone:
		if !c.zone(v) {
			return kairos.Invalid(name, "is not an IANA zone")
		}
		return nil
	case fieldExternalID:
		limit = maxExternalID
	case fieldPhone:
		limit = maxPhone
		if !phoneLike(v) {
			return kairos.Invalid(name, "is not a phone number")
		}
	case fieldLocale:
		limit = maxLocale
		if !localeLike(v) {
			return kairos.Invalid(name, "is not a language tag such as de-AT")
		}
	case fieldRegion:
		limit = maxRegion
	}
	if len(v) > limit {
		return kairos.Invalid(name, "is longer than %d bytes", limit)
	}
	return checkText(name, v)
}

// checkText refuses what no name or identifier holds: control characters, line
// ends among them, and text that isn't UTF-8.
func checkText(name, v string) error {
	for i := 0; i < len(v); i++ {
		if v[i] < ' ' || v[i] == 0x7f {
			return kairos.Invalid(name, "holds a control character or line end")
		}
	}
	if !utf8.ValidString(v) {
		return kairos.Invalid(name, "is not UTF-8")
	}
	return nil
}

// checkEmail accepts a bare address (RFC 5322 addr-spec without quoting or
// comments): what net/mail reads and gives back unchanged.
func checkEmail(v string) error {
	if len(v) > maxEmail {
		return kairos.Invalid("email", "is longer than %d bytes", maxEmail)
	}
	if plainAddress(v) {
		return nil
	}
	if err := checkText("email", v); err != nil {
		return err
	}
	a, err := mail.ParseAddress(v)
	if err != nil || a.Name != "" || a.Address != v || strings.ContainsAny(v, " \"<>()[]\\,;:") {
		return kairos.Invalid("email", "is not a bare e-mail address")
	}
	if strings.LastIndexByte(v, '@') > maxLocalPart {
		return kairos.Invalid("email", "has more than %d bytes before the @", maxLocalPart)
	}
	return nil
}

// atext marks RFC 5322's atom characters; domains take the letters, digits and
// the hyphen of them.
var atext = func() (t [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~" {
		t[c] = true
	}
	return t
}()

// plainAddress reports whether v is an ASCII address that needs no closer look:
// atoms and dots, one @, labels of letters, digits and hyphens. What it accepts
// net/mail accepts too.
func plainAddress(v string) bool {
	at := strings.IndexByte(v, '@')
	if at < 1 || at > maxLocalPart {
		return false
	}
	dot := true // the byte before was a dot, or the part begins
	for i := 0; i < at; i++ {
		switch c := v[i]; {
		case c == '.':
			if dot {
				return false
			}
			dot = true
		case atext[c]:
			dot = false
		default:
			return false
		}
	}
	if dot {
		return false
	}
	edge, size := true, 0 // edge: a hyphen may not stand here
	for i := at + 1; i < len(v); i++ {
		switch c := v[i]; {
		case c == '.':
			if edge || v[i-1] == '-' {
				return false
			}
			edge, size = true, 0
		case c == '-':
			if edge {
				return false
			}
			size++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
			edge = false
			size++
		default:
			return false
		}
		if size > 63 {
			return false
		}
	}
	return !edge && v[len(v)-1] != '-'
}

// phoneLike accepts digits, at least three, and what people write between them.
func phoneLike(v string) bool {
	digits := 0
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c >= '0' && c <= '9':
			digits++
		case strings.IndexByte("+-()./ x#*", c) < 0:
			return false
		}
	}
	return digits >= 3
}

func localeLike(v string) bool {
	for i := 0; i < len(v); i++ {
		c := v[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9' || i == 0) && (strings.IndexByte("-_@.", c) < 0 || i == 0) {
			return false
		}
	}
	return true
}
