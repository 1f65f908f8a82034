package content

import (
	"errors"
	"strings"
)

var (
	errSplitBlock  = errors.New("has a Liquid block that begins or ends inside a link's destination")
	errTagName     = errors.New("has Liquid in the name of a tag")
	errOpenComment = errors.New("has a comment that is never closed")
)

// attribute is one attribute of a start tag in placeholder form.
type attribute struct {
	name     string // lower case, without placeholders
	raw      string // the name as it stands
	value    string // as it stands, without quotes
	from, to int    // bytes of the value within the tag
	quote    byte   // " or ' or 0
	hasValue bool
}

// attributes reads the attributes of a start tag the way browsers do (HTML,
// 13.2.5.32 and the states that follow), which keeps the bytes of each value.
func attributes(tag string) []attribute {
	var out []attribute
	i := 1
	for i < len(tag) && !isSpace(tag[i]) && tag[i] != '/' && tag[i] != '>' {
		i++
	}
	for {
		for i < len(tag) && (isSpace(tag[i]) || tag[i] == '/') {
			i++
		}
		if i >= len(tag) || tag[i] == '>' {
			return out
		}
		a := attribute{}
		start := i
		i++ // a name may begin with =
		for i < len(tag) && !isSpace(tag[i]) && tag[i] != '/' && tag[i] != '>' && tag[i] != '=' {
			i++
		}
		a.raw = tag[start:i]
		a.name = bareName(a.raw)
		j := i
		for j < len(tag) && isSpace(tag[j]) {
			j++
		}
		if j < len(tag) && tag[j] == '=' {
			a.hasValue = true
			j++
			for j < len(tag) && isSpace(tag[j]) {
				j++
			}
			switch {
			case j < len(tag) && (tag[j] == '"' || tag[j] == '\''):
				a.quote = tag[j]
				a.from = j + 1
				end := strings.IndexByte(tag[j+1:], a.quote)
				if end < 0 {
					return out // the tokenizer gives no such tag
				}
				a.to = j + 1 + end
				i = a.to + 1
			default:
				a.from = j
				for j < len(tag) && !isSpace(tag[j]) && tag[j] != '>' {
					j++
				}
				a.to, i = j, j
			}
			a.value = tag[a.from:a.to]
		}
		out = append(out, a)
	}
}

// bareName drops the placeholders of a name: {% if x %}href is href.
func bareName(raw string) string {
	var b strings.Builder
	for _, p := range pieces(raw) {
		if p.letter == 0 {
			b.WriteString(strings.ToLower(p.text))
		}
	}
	return b.String()
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'
}
