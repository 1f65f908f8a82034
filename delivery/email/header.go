package email

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"kairos"
)

const (
	lineWish  = 76  // characters of a header line, where there is a choice
	lineLimit = 998 // octets of any line without its CRLF (RFC 5322, 2.1.1)

	wordOpen  = "=?utf-8?b?"
	wordClose = "?="
)

// checkText refuses what could end a header: any control character, and text
// that isn't UTF-8.
func checkText(field, s string) error {
	ascii := true
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c == 0x7f {
			return kairos.Invalid(field, "must not hold control characters")
		}
		ascii = ascii && c < 0x80
	}
	if !ascii && !utf8.ValidString(s) {
		return kairos.Invalid(field, "must be valid UTF-8")
	}
	return nil
}

// appendText appends an unstructured header, folded; outside ASCII as encoded
// words (RFC 2047).
func appendText(dst []byte, header, field, value string) ([]byte, error) {
	if err := checkText(field, value); err != nil {
		return dst, err
	}
	dst = append(append(dst, header...), ": "...)
	col := len(header) + 2
	if !isASCII(value) || strings.Contains(value, "=?") || longestWord(value) > 900 {
		dst, _ = appendWords(dst, value, col)
		return append(dst, crlf...), nil
	}
	for first := true; value != ""; first = false {
		end := 0
		for end < len(value) && value[end] == ' ' {
			end++
		}
		word := end
		for end < len(value) && value[end] != ' ' {
			end++
		}
		// A run of spaces isn't folded: readers make one of it.
		if !first && col+end > lineWish && word == 1 && word < end {
			dst = append(dst, crlf...)
			col = 0
		}
		dst = append(dst, value[:end]...)
		col += end
		value = value[end:]
	}
	return append(dst, crlf...), nil
}

// longestWord returns the length of the longest stretch that can't be folded.
func longestWord(s string) int {
	longest, n := 0, 0
	for i := range len(s) {
		if n++; s[i] == ' ' && i > 0 && s[i-1] != ' ' && i+1 < len(s) && s[i+1] != ' ' {
			n = 1
		}
		longest = max(longest, n)
	}
	return longest
}

// appendWords appends s as encoded words of at most 75 characters, one on each
// line, beginning at column col; it returns the column it ends at.
func appendWords(dst []byte, s string, col int) ([]byte, int) {
	for {
		n := (lineWish - col - len(wordOpen) - len(wordClose)) / 4 * 3
		if n >= len(s) {
			n = len(s)
		} else {
			for n > 0 && !utf8.RuneStart(s[n]) {
				n--
			}
		}
		dst = append(dst, wordOpen...)
		dst = base64.StdEncoding.AppendEncode(dst, []byte(s[:n]))
		dst = append(dst, wordClose...)
		col += len(wordOpen) + base64.StdEncoding.EncodedLen(n) + len(wordClose)
		if s = s[n:]; s == "" {
			return dst, col
		}
		dst, col = append(dst, crlf+" "...), 1
	}
}

// appendToken appends a header whose value is one printable word in pointed
// brackets: a message id or a URL.
func appendToken(dst []byte, header, field, value string) ([]byte, error) {
	if value == "" || len(header)+len(value)+4 > lineLimit {
		return dst, kairos.Invalid(field, "is empty or too long for a header")
	}
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' || c == '"' || c == '\\' {
			return dst, kairos.Invalid(field, "must not hold spaces, control characters or brackets")
		}
	}
	dst = append(append(dst, header...), ": <"...)
	return append(append(dst, value...), ">"+crlf...), nil
}
