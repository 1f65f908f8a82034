package content

import (
	"regexp"
	"strings"
	"unicode"

	"kairos"
)

// field names a part of the source in errors.
type field string

const (
	inSubject field = "subject"
	inHTML    field = "html"
	inText    field = "text"
)

// bad returns a FieldError that ends with the line, when it is known.
func (f field) bad(line int, reason string, args ...any) error {
	if line > 0 {
		reason += " (line %d)"
		args = append(args, line)
	}
	return kairos.Invalid(string(f), reason, args...)
}

// lineAt returns the line of s, from 1, that byte i is on.
func lineAt(s string, i int) int { return 1 + strings.Count(s[:i], "\n") }

type kind byte

const (
	literal kind = iota
	object
	tag
)

// token is literal text, {{ an object }} or {% a tag %}.
type token struct {
	kind   kind
	source string // as written; the text itself of a literal
	name   string // of a tag
	args   string // of an object or a tag, on one line
	line   int
	field  field
	begins bool // a block
	ends   bool // a block
}

var (
	endComment = regexp.MustCompile(`\{%-?\s*endcomment\s*-?%\}`)
	endRaw     = regexp.MustCompile(`\{%-?\s*endraw\s*-?%\}`)
)

var tagPattern = regexp.MustCompile(`^(\w+)(?:\s+(.*))?$`)

// scan cuts src into tokens. Comments vanish, raw becomes a literal, and the
// white-space control of {{- -}} is applied here, to the text of the template
// alone and never to a value.
func scan(f field, src string) ([]token, error) {
	var (
		tokens  []token
		line    = 1
		eatLeft bool // the token before ended with a dash
		count   int
	)
	add := func(t string) {
		if eatLeft {
			t = strings.TrimLeftFunc(t, unicode.IsSpace)
		}
		if t == "" {
			return
		}
		eatLeft = false
		if n := len(tokens); n > 0 && tokens[n-1].kind == literal {
			tokens[n-1].source += t
			return
		}
		tokens = append(tokens, token{kind: literal, source: t, line: line, field: f})
	}
	for src != "" {
		at := indexOpen(src)
		if at < 0 {
			add(src)
			break
		}
		add(src[:at])
		line += strings.Count(src[:at], "\n")
		src = src[at:]
		closing := "}}"
		if src[1] == '%' {
			closing = "%}"
		}
		end := strings.Index(src[2:], closing)
		if end < 0 {
			return nil, f.bad(line, "has %s without %s", src[:2], closing)
		}
		whole, inner := src[:end+4], src[2:end+2]
		src = src[end+4:]
		left, right := strings.HasPrefix(inner, "-"), strings.HasSuffix(inner, "-") && len(inner) > 1
		inner = strings.TrimPrefix(inner, "-")
		if right {
			inner = strings.TrimSuffix(inner, "-")
		}
		inner = strings.TrimSpace(strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) {
				return ' '
			}
			return r
		}, inner))
		at = line
		line += strings.Count(whole, "\n")

		if left {
			if n := len(tokens); n > 0 && tokens[n-1].kind == literal {
				tokens[n-1].source = strings.TrimRightFunc(tokens[n-1].source, unicode.IsSpace)
			}
		}
		eatLeft = right
		if len(inner) > MaxExpression {
			return nil, f.bad(at, "has an expression longer than %d bytes", MaxExpression)
		}
		if count++; count > MaxTokens {
			return nil, f.bad(at, "has more than %d Liquid tokens", MaxTokens)
		}
		if closing == "}}" {
			if inner == "" {
				return nil, f.bad(at, "has an empty {{ }}")
			}
			tokens = append(tokens, token{kind: object, source: whole, args: inner, line: at, field: f})
			continue
		}
		m := tagPattern.FindStringSubmatch(inner)
		if m == nil {
			return nil, f.bad(at, "has a {%% %%} without a tag's name")
		}
		switch m[1] {
		case "comment", "raw":
			ending := endComment
			if m[1] == "raw" {
				ending = endRaw
			}
			end := ending.FindStringIndex(src)
			if end == nil {
				return nil, f.bad(at, "has a %s without end%s", m[1], m[1])
			}
			if m[1] == "raw" {
				add(src[:end[0]])
			}
			line += strings.Count(src[:end[1]], "\n")
			eatLeft = src[end[1]-3] == '-'
			src = src[end[1]:]
		default:
			tokens = append(tokens, token{kind: tag, source: whole, name: m[1], args: m[2], line: at, field: f})
		}
	}
	return tokens, nil
}

// indexOpen returns where the next {{ or {% is, or -1.
func indexOpen(s string) int {
	from := 0
	for {
		i := strings.IndexByte(s[from:], '{')
		if i < 0 || from+i+1 >= len(s) {
			return -1
		}
		i += from
		if s[i+1] == '{' || s[i+1] == '%' {
			return i
		}
		from = i + 1
	}
}
