package content

import (
	"strconv"
	"strings"
)

// The placeholder form of a part is its text in which every Liquid token, link
// and pixel is replaced by open, a letter, a number, shut. Both marks are
// Unicode noncharacters, refused in a source, which HTML and text tools pass on.
const (
	open = "\uFDD0"
	shut = "\uFDD1"
)

// The letters of placeholders.
const (
	aObject = 'o' // tokens[n], escaped for its part
	aStyle  = 'c' // tokens[n], an object inside a style element
	aTag    = 't' // tokens[n]
	aLink   = 'l' // links[n]
	aPixel  = 'p'
)

// set holds what the placeholders of all parts stand for.
type set struct {
	tokens []token
	links  []link
}

// link is a tracked link while it is compiled.
type link struct {
	Link
	doc string // the destination in placeholder form, entities decoded
}

func placeholder(letter byte, n int) string {
	return open + string(rune(letter)) + strconv.Itoa(n) + shut
}

// object adds the object {{ args }} and returns its placeholder.
func (s *set) object(args string) string {
	s.tokens = append(s.tokens, token{kind: object, source: "{{ " + args + " }}", args: args})
	return placeholder(aObject, len(s.tokens)-1)
}

// read scans and checks src and returns its placeholder form, and whether a tag
// in it has an effect on what follows.
func (s *set) read(f field, src string) (doc string, stateful bool, err error) {
	tokens, err := scan(f, src)
	if err != nil {
		return "", false, err
	}
	if stateful, err = check(f, tokens); err != nil {
		return "", false, err
	}
	var b strings.Builder
	for _, t := range tokens {
		switch t.kind {
		case literal:
			b.WriteString(t.source)
			continue
		case object:
			b.WriteString(placeholder(aObject, len(s.tokens)))
		case tag:
			b.WriteString(placeholder(aTag, len(s.tokens)))
		}
		s.tokens = append(s.tokens, t)
	}
	return b.String(), stateful, nil
}

// piece is a stretch of literal text or one placeholder.
type piece struct {
	text   string // as it stands in the document
	letter byte   // 0 for literal text
	n      int
}

// pieces cuts a document.
func pieces(doc string) []piece {
	var out []piece
	for doc != "" {
		i := strings.Index(doc, open)
		if i < 0 {
			return append(out, piece{text: doc})
		}
		if i > 0 {
			out = append(out, piece{text: doc[:i]})
		}
		end := i + strings.Index(doc[i:], shut) + len(shut)
		body := doc[i+len(open) : end-len(shut)]
		n, _ := strconv.Atoi(body[1:])
		out = append(out, piece{text: doc[i:end], letter: body[0], n: n})
		doc = doc[end:]
	}
	return out
}

// original returns a document as the author would write it.
func (s *set) original(doc string) string {
	var b strings.Builder
	for _, p := range pieces(doc) {
		switch p.letter {
		case 0:
			b.WriteString(p.text)
		case aObject, aStyle, aTag:
			b.WriteString(s.tokens[p.n].source)
		}
	}
	return b.String()
}

// line returns the line of the last token of doc at or before byte i, or 0. Only
// documents that follow the source may be asked.
func (s *set) line(doc string, i int) int {
	at, rest := 1, doc[:i]
	if j := strings.LastIndex(rest, shut); j >= 0 {
		k := strings.LastIndex(rest[:j], open)
		if p := pieces(rest[k : j+len(shut)])[0]; p.letter == aObject || p.letter == aStyle || p.letter == aTag {
			t := s.tokens[p.n]
			at, rest = t.line+strings.Count(t.source, "\n"), rest[j:]
		}
	}
	return at + strings.Count(rest, "\n")
}

// unsubscribes reports whether an object of doc names unsubscribe_url.
func (s *set) unsubscribes(doc string) bool {
	for _, p := range pieces(doc) {
		if p.letter == aObject && names(s.tokens[p.n].args, "unsubscribe_url") {
			return true
		}
	}
	return false
}

// balanced checks that the tags of a derived document still nest.
func (s *set) balanced(doc string) error {
	var tokens []token
	for _, p := range pieces(doc) {
		if p.letter == aTag || p.letter == aObject {
			tokens = append(tokens, s.tokens[p.n])
		}
	}
	if _, err := check(inText, tokens); err != nil {
		return inText.bad(0, "can't be derived from the html because a Liquid block begins or ends inside an HTML tag: give a text")
	}
	return nil
}
