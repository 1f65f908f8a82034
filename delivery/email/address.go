package email

import (
	"strings"

	"golang.org/x/net/idna"

	"kairos"
	"kairos/delivery"
)

// Bounds of an address (RFC 5321, 4.5.3.1).
const (
	maxLocal   = 64
	maxAddress = 254
)

// CleanAddress returns the form of an address that goes on the wire: a dot-atom,
// an at sign and a host name, in ASCII; a name in another script is converted
// (IDNA). It takes less than net/mail does: no quoted local part, no comment, no
// literal address, so nothing in it can end a command or a header. The error is a
// kairos.FieldError for field.
func CleanAddress(field, s string) (string, error) {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > maxLocal || at == len(s)-1 {
		return "", kairos.Invalid(field, "is not an address")
	}
	local, host := s[:at], s[at+1:]
	if !isDotAtom(local) {
		if !isASCII(local) {
			return "", kairos.Invalid(field, "has a local part outside ASCII, which most servers refuse")
		}
		return "", kairos.Invalid(field, "is not an address")
	}
	if !isASCII(host) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return "", kairos.Invalid(field, "is not an address")
		}
		host, s = ascii, local+"@"+ascii
	}
	if !isHost(host) || len(s) > maxAddress {
		return "", kairos.Invalid(field, "is not an address")
	}
	return s, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isAtom tells the characters of an atom (RFC 5322, 3.2.3).
func isAtom(c byte) bool {
	return isAlnum(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isDotAtom(s string) bool {
	dot := true
	for i := range len(s) {
		switch c := s[i]; {
		case isAtom(c):
			dot = false
		case c == '.' && !dot:
			dot = true
		default:
			return false
		}
	}
	return !dot
}

func isHost(s string) bool {
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case isAlnum(c), c == '_', c == '-' && label > 0:
			if label++; label > 63 {
				return false
			}
		case c == '.' && label > 0 && s[i-1] != '-':
			label = 0
		default:
			return false
		}
	}
	return label > 0 && s[len(s)-1] != '-'
}

// appendMailbox appends a header that holds one address.
func appendMailbox(dst []byte, header, field string, a delivery.Address) ([]byte, error) {
	addr, err := CleanAddress(field, a.Email)
	if err != nil {
		return dst, err
	}
	start := len(dst)
	dst = append(append(dst, header...), ": "...)
	if a.Name == "" {
		return append(append(dst, addr...), crlf...), nil
	}
	if err := checkText(field+".name", a.Name); err != nil {
		return dst, err
	}
	col := len(header) + 2
	switch {
	case !isASCII(a.Name) || strings.Contains(a.Name, "=?") || len(a.Name) > 60:
		dst, col = appendWords(dst, a.Name, col)
	case isPhrase(a.Name):
		dst = append(dst, a.Name...)
		col = len(dst) - start
	default:
		dst = append(dst, '"')
		for i := range len(a.Name) {
			if c := a.Name[i]; c == '"' || c == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, a.Name[i])
		}
		dst = append(dst, '"')
		col = len(dst) - start
	}
	if col+len(addr)+3 > lineWish {
		dst = append(dst, crlf...)
	}
	return append(append(append(dst, " <"...), addr...), ">"+crlf...), nil
}

// isPhrase tells names that need no quotes: atoms with single spaces between.
func isPhrase(s string) bool {
	space := true
	for i := range len(s) {
		switch c := s[i]; {
		case isAtom(c):
			space = false
		case c == ' ' && !space:
			space = true
		default:
			return false
		}
	}
	return !space
}
