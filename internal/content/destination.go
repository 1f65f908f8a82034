package content

import (
	"errors"
	"fmt"
	stdhtml "html"
	"net/url"
	"regexp"
	"strings"
)

// errIncomplete marks a destination that lacks a scheme or host, which a value
// missing from the data can explain.
var errIncomplete = errors.New("incomplete")

type incomplete string

func (e incomplete) Error() string        { return string(e) }
func (e incomplete) Is(target error) bool { return target == errIncomplete }

// cleanDestination checks where a link leads: http or https, a host, no user
// information. Its errors are clauses without the URL.
func cleanDestination(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", incomplete("has no destination")
	}
	if len(s) > MaxURL {
		return "", fmt.Errorf("is longer than %d bytes", MaxURL)
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == '\\' {
			return "", errors.New("has a control character or backslash in its destination")
		}
	}
	if strings.Contains(s, " ") {
		s = strings.ReplaceAll(s, " ", "%20")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", errors.New("has a destination that is no URL")
	case u.Scheme == "":
		return "", incomplete("has a destination without http:// or https://")
	case u.Scheme != "http" && u.Scheme != "https":
		return "", errors.New("leads to something else than http or https")
	case u.User != nil:
		return "", errors.New("has user information in its destination")
	case u.Hostname() == "":
		return "", incomplete("has a destination without a host")
	}
	return s, nil
}

var schemePattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*:`)

// destination classes of an href.
type class int

const (
	tracked class = iota
	untouched
)

// classify looks at an href in placeholder form, entities decoded, and says
// whether it becomes a tracked link; the error is a clause.
func (s *set) classify(doc string) (class, error) {
	trimmed := strings.TrimSpace(doc)
	if trimmed == "" || trimmed[0] == '#' {
		return untouched, nil
	}
	if s.unsubscribes(doc) {
		// Alone or with something behind it; a value before it could lead anywhere.
		if p := pieces(trimmed)[0]; p.letter == aObject && s.tokens[p.n].args == "unsubscribe_url" && s.depth(trimmed) == 0 {
			return untouched, nil
		}
		return tracked, errors.New("has unsubscribe_url in the middle of a link")
	}
	switch scheme := strings.ToLower(schemePattern.FindString(trimmed)); scheme {
	case "mailto:", "tel:", "sms:":
		return untouched, nil
	case "http:", "https:":
		return tracked, nil
	case "":
		if strings.HasPrefix(trimmed, open) {
			return tracked, nil // checked whole, for each person
		}
		return tracked, errors.New("has a relative link: a destination begins with http:// or https://")
	default:
		return tracked, fmt.Errorf("has a link to %s: only http and https are allowed", scheme)
	}
}

// add makes a tracked link of a destination in placeholder form; reuse lets it
// share the number of an earlier link to the same place. The error is a clause.
func (s *set) add(doc string, reuse bool) (int, error) {
	doc = strings.TrimSpace(doc)
	l := link{doc: doc}
	if strings.Contains(doc, open) {
		l.Destination = s.original(doc)
	} else {
		clean, err := cleanDestination(doc)
		if err != nil {
			return 0, fmt.Errorf("has a link that %w", err)
		}
		l.doc, l.Destination, l.Constant = clean, clean, true
	}
	if reuse {
		for i, have := range s.links {
			if have.Destination == l.Destination && have.Constant == l.Constant {
				return i, nil
			}
		}
	}
	if len(s.links) == MaxLinks {
		return 0, fmt.Errorf("has more than %d links", MaxLinks)
	}
	l.No = uint16(len(s.links) + 1)
	s.links = append(s.links, l)
	return len(s.links) - 1, nil
}

// decodeHref decodes the entities of an attribute's value in placeholder form
// and drops the line breaks and tabs that a browser would drop.
func decodeHref(value string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, stdhtml.UnescapeString(value))
}

// destinationFilter names the filter for an object in a destination, by the
// literal text before it: whole or in the host as it is, in a path or query
// percent-encoded, unless its author has done so.
func destinationFilter(before string, args string) string {
	ws, err := words(args)
	if n := len(ws); err == nil && n > 1 && ws[n-1].text == "url_encode" {
		return "kairos_text"
	}
	rest := before
	if _, after, ok := strings.Cut(before, "://"); ok {
		rest = after
	}
	switch {
	case strings.ContainsAny(rest, "?#"):
		return "kairos_query"
	case strings.Contains(rest, "/"):
		return "kairos_path"
	}
	return "kairos_text"
}
