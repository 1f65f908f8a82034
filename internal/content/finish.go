package content

import (
	"net/url"
	"strings"
)

// The filters here end an object and fit its value to the place it stands in.

func finishHTML(m *machine, v any, _ []any) any {
	if h, ok := v.(markup); ok {
		return h.s
	}
	s := toString(v)
	if len(s) > MaxOutput {
		m.charge(len(s))
	}
	return escape(s)
}

func finishText(_ *machine, v any, _ []any) any { return plain(v) }

// finishStyle leaves what a colour, a length or a font's name needs.
func finishStyle(_ *machine, v any, _ []any) any {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" #%.,-_", r) {
			return r
		}
		return -1
	}, plain(v))
}

// finishPath percent-encodes for the path of a URL; slashes stay.
func finishPath(m *machine, v any, _ []any) any {
	s := plain(v)
	if len(s) > MaxURL {
		m.fail("has a link that is too long", nil)
	}
	return strings.ReplaceAll(url.PathEscape(s), "%2F", "/")
}

// finishQuery percent-encodes for the query or fragment of a URL.
func finishQuery(m *machine, v any, _ []any) any {
	s := plain(v)
	if len(s) > MaxURL {
		m.fail("has a link that is too long", nil)
	}
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
