package api

import (
	"net/http"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects of a body may nest.
const maxDepth = 32

// checkJSON refuses what the decoders behind it would accept or choke on:
// nesting deeper than maxDepth and the escape of U+0000, which Postgres can't
// store. It does not check the syntax.
func checkJSON(body []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		c := body[i]
		if inString {
			switch c {
			case '\\':
				if i+5 < len(body) && string(body[i+1:i+6]) == "u0000" {
					return newProblem(http.StatusUnprocessableEntity, "The request is not valid.", "body", "must not hold the character U+0000")
				}
				i++
			case '"':
				inString = false
			}
			continue
		}
		switch c {
		case '"':
			inString = true
		case '{', '[':
			if depth++; depth > maxDepth {
				return newProblem(http.StatusBadRequest, "The body is nested too deeply.", "body", "must not nest deeper than 32 levels")
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}

// plain reports whether s is text: UTF-8 without U+0000.
func plain(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
