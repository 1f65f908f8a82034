// Package content compiles an e-mail template once and renders for each person
// only what differs.
//
// Takes: the Liquid source of a subject, an HTML part and a text part, and for
// each message the person's data and a [Tracker] that makes its URLs.
//
// Gives: a [Content], constant text with holes, and the values for the holes.
//
// Owns: the fence around Liquid, the rewriting of links, the open pixel, the
// unsubscribe footer and the text part derived from HTML. It keeps no state and
// touches neither files nor network.
//
// Promises: the same input gives the same output; a Content is immutable and
// safe for concurrent use; values are HTML-escaped in HTML, can never break a
// header, and a link leads to http or https only.
//
// Fails: a source that could harm or hang is refused by [Compile] with a
// [kairos.FieldError]; what only the data can reveal stops [Content.Render] with
// a [RenderError] within [MaxTime] and [MaxOutput].
//
// # Liquid here
//
// Tags: assign, capture, case, comment, cycle, decrement, for (else, limit,
// offset, reversed, break, continue), if, increment, raw, unless. No file
// access. Ranges have literal bounds and stand only in a for tag. There is no
// filter that turns escaping off: in HTML every value is escaped once; escape,
// escape_once and newline_to_br give text that isn't escaped a second time, and
// in subject and text they leave the value as it is. A filter never fails: text
// that isn't a number counts as 0, division by zero gives nothing, a date that
// can't be read stays as it is. 'now' in the date filter is the "now" of [Data].
package content

import (
	"sync"
	"time"
	"unicode/utf8"

	"kairos"
)

// Bounds of a source and of its rendering.
const (
	MaxSource     = 512 << 10              // bytes of subject, HTML and text together
	MaxSubject    = 4 << 10                // bytes of a subject, source and rendered
	MaxOutput     = 1 << 20                // bytes of one rendered part, and of one value
	MaxTime       = 200 * time.Millisecond // wall time of rendering one message
	MaxLinks      = 1000                   // tracked links of one content
	MaxTokens     = 5000                   // Liquid tokens of one part
	MaxNesting    = 32                     // blocks, or brackets of an expression, within each other
	MaxLoops      = 2                      // for tags within each other
	MaxIterations = 10_000                 // of literal ranges, nested ones multiplied
	MaxExpression = 4 << 10                // bytes of one expression
	MaxURL        = 4 << 10                // bytes of a destination

	maxSteps = 200_000  // filters applied and loop rounds of one message
	maxBytes = 16 << 20 // bytes that the values of one message may take in all
	maxItems = 2_000    // items of a list inside a filter
	maxTerms = 64       // comparisons and commas of one expression
)

// Source is a template as its author wrote it: Liquid in each field.
type Source struct {
	Subject string
	HTML    string // may be empty when Text is given
	Text    string // derived from HTML when empty
}

// Data holds what a template may name: {"contact": {...}, "campaign": {...}}.
// "now", a time.Time, is what the date filter takes for 'now'.
// "unsubscribe_url" is always the Tracker's.
type Data map[string]any

// Tracker makes the URLs of one message. It is used by one goroutine at a time.
type Tracker interface {
	// Link returns the URL that leads to destination and records the click.
	Link(no uint16, destination string) (string, error)
	// Pixel returns the URL of the image that records the opening.
	Pixel() string
	// Unsubscribe returns the URL of the one-click unsubscription.
	Unsubscribe() string
}

// Link is a tracked link, numbered from 1 in the order of the source.
type Link struct {
	No          uint16
	Destination string // the URL, or its template source when not Constant
	Constant    bool   // the same for everyone
}

// Content is a compiled template: immutable, safe for concurrent use.
type Content struct {
	Subject, HTML, Text Part
	Links               []Link

	machines *sync.Pool // of *machine, the scratch of a rendering
}

// Compile checks src and compiles it. The error is a [kairos.FieldError] that
// names subject, html or text, the reason and the line.
func Compile(src Source) (*Content, error) {
	set, docs, err := build(src)
	if err != nil {
		return nil, err
	}
	m := newMachine()
	c := &Content{machines: &sync.Pool{New: func() any { return newMachine() }}}
	parts := [...]*Part{&c.Subject, &c.HTML, &c.Text}
	for i, d := range docs {
		p, err := set.split(d, m)
		if err != nil {
			return nil, err
		}
		*parts[i] = p
	}
	for _, l := range set.links {
		c.Links = append(c.Links, l.Link)
	}
	if err := c.probe(set); err != nil {
		return nil, err
	}
	return c, nil
}

// document is one part in placeholder form: see set.
type document struct {
	field    field
	text     string
	stateful bool // a tag's effect reaches what follows it
}

// build scans, checks and rewrites the three parts.
func build(src Source) (*set, [3]document, error) {
	var docs [3]document
	if src.Subject == "" {
		return nil, docs, kairos.Invalid("subject", "must not be empty")
	}
	if src.HTML == "" && src.Text == "" {
		return nil, docs, kairos.Invalid("html", "must not be empty when there is no text")
	}
	if len(src.Subject) > MaxSubject {
		return nil, docs, kairos.Invalid("subject", "must not be longer than %d bytes", MaxSubject)
	}
	total := 0
	for _, f := range []struct {
		name field
		text string
	}{{inSubject, src.Subject}, {inHTML, src.HTML}, {inText, src.Text}} {
		if total += len(f.text); total > MaxSource {
			return nil, docs, kairos.Invalid(string(f.name), "makes the source longer than %d bytes", MaxSource)
		}
		if !utf8.ValidString(f.text) {
			return nil, docs, kairos.Invalid(string(f.name), "must be valid UTF-8")
		}
		for i, r := range f.text {
			if r >= 0xFDD0 && r <= 0xFDEF || r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
				return nil, docs, f.name.bad(lineAt(f.text, i), "must not hold the character %U", r)
			}
			if f.name == inSubject && (r == '\n' || r == '\r') {
				return nil, docs, kairos.Invalid("subject", "must be one line")
			}
		}
	}

	s := &set{}
	doc, state, err := s.read(inSubject, src.Subject)
	if err != nil {
		return nil, docs, err
	}
	docs[0] = document{inSubject, doc, state}

	doc, state, err = s.read(inHTML, src.HTML)
	if err != nil {
		return nil, docs, err
	}
	derived := ""
	if src.HTML != "" {
		if doc, derived, err = s.rewriteHTML(doc); err != nil {
			return nil, docs, err
		}
	}
	docs[1] = document{inHTML, doc, state}

	if src.Text != "" {
		if doc, state, err = s.read(inText, src.Text); err != nil {
			return nil, docs, err
		}
		if !s.unsubscribes(doc) {
			doc += "\n\nUnsubscribe: " + s.object("unsubscribe_url") + "\n"
		}
	} else {
		doc = derived
		if err := s.balanced(doc); err != nil {
			return nil, docs, err
		}
	}
	if doc, err = s.trackText(doc); err != nil {
		return nil, docs, err
	}
	docs[2] = document{inText, doc, state}
	return s, docs, nil
}
