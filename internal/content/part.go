package content

import (
	"slices"
	"strconv"
	"strings"

	"github.com/osteele/liquid/parser"
	"github.com/osteele/liquid/render"
)

// Part is constant text with holes: the same text for everyone, and between its
// pieces what differs.
type Part struct {
	constants []string // len(holes) + 1
	holes     []hole
	field     field
	size      int // bytes of the constants
}

// hole is one dynamic stretch. Exactly one way to fill it is the cheapest;
// node, when present, is the way that always works.
type hole struct {
	pixel  bool
	link   uint16    // number of a tracked link, or 0
	dest   string    // its destination when constant
	parts  []stretch // its destination when made of text and lookups
	lookup *lookup
	node   render.Node
}

// stretch is a piece of a destination: text, or a lookup when not nil.
type stretch struct {
	text   string
	lookup *lookup
}

// Const returns the constant pieces, one more than there are holes.
func (p Part) Const() []string { return slices.Clone(p.constants) }

// Holes returns how many values a rendering has.
func (p Part) Holes() int { return len(p.holes) }

// Join puts values, as many as there are holes, between the constant pieces.
func (p Part) Join(values []string) string {
	if len(values) == 0 {
		if len(p.constants) == 0 {
			return ""
		}
		return p.constants[0]
	}
	n := p.size
	for _, v := range values {
		n += len(v)
	}
	var b strings.Builder
	b.Grow(n)
	for i, c := range p.constants {
		b.WriteString(c)
		if i < len(values) {
			b.WriteString(values[i])
		}
	}
	return b.String()
}

// AppendJoin is Join that appends to dst.
func (p Part) AppendJoin(dst []byte, values []string) []byte {
	for i, c := range p.constants {
		dst = append(dst, c...)
		if i < len(values) {
			dst = append(dst, values[i]...)
		}
	}
	return dst
}

// liquid writes a document in the engine's delimiters.
func (s *set) liquid(f field, doc string) string {
	finish, block := "kairos_text", "kairos_url"
	if f == inHTML {
		finish, block = "kairos_html", "kairos_href"
	}
	var b strings.Builder
	for _, p := range pieces(doc) {
		switch p.letter {
		case 0:
			b.WriteString(p.text)
		case aObject:
			b.WriteString(finished(s.tokens[p.n].args, finish))
		case aStyle:
			b.WriteString(finished(s.tokens[p.n].args, "kairos_style"))
		case aTag:
			b.WriteString(tagLeft + s.tokens[p.n].name + " " + s.tokens[p.n].args + " " + tagRight)
		case aPixel:
			b.WriteString(tagLeft + "kairos_pixel" + tagRight)
		case aLink:
			l := s.links[p.n]
			b.WriteString(tagLeft + block + " " + strconv.Itoa(int(l.No)) + " " + tagRight)
			b.WriteString(s.liquidDestination(l.doc))
			b.WriteString(tagLeft + "end" + block + tagRight)
		}
	}
	return b.String()
}

func finished(args, filter string) string {
	return objectLeft + "(" + args + ") | " + filter + " " + objectRight
}

// liquidDestination writes a link's destination in the engine's delimiters.
func (s *set) liquidDestination(doc string) string {
	var b strings.Builder
	before := ""
	for _, p := range pieces(doc) {
		switch p.letter {
		case 0:
			before += p.text
			b.WriteString(p.text)
		case aObject:
			args := s.tokens[p.n].args
			b.WriteString(finished(args, destinationFilter(before, args)))
		case aTag:
			b.WriteString(tagLeft + s.tokens[p.n].name + " " + s.tokens[p.n].args + " " + tagRight)
		}
	}
	return b.String()
}

// split separates what is the same for everyone from what differs.
func (s *set) split(d document, m *machine) (Part, error) {
	p := Part{field: d.field}
	var (
		constant strings.Builder
		dynamic  strings.Builder // a block, or all between the first and last token of a stateful part
		depth    int
		all      = pieces(d.text)
		last     = -1
	)
	for i, x := range all {
		if x.letter != 0 {
			last = i
		}
	}
	add := func(h hole, doc string, always bool) error {
		if h.node == nil && always {
			n, err := m.compile(s.liquid(d.field, doc))
			if err != nil {
				return d.field.bad(0, "can't be compiled: its blocks don't fit the HTML around them")
			}
			h.node = n
		}
		p.constants = append(p.constants, constant.String())
		p.size += constant.Len()
		constant.Reset()
		p.holes = append(p.holes, h)
		return nil
	}
	for i, x := range all {
		if d.stateful && (x.letter != 0 || dynamic.Len() > 0) && i <= last {
			dynamic.WriteString(x.text)
			if i == last {
				if err := add(hole{}, dynamic.String(), true); err != nil {
					return p, err
				}
				dynamic.Reset()
			}
			continue
		}
		depth += s.depth(x.text)
		if dynamic.Len() > 0 || depth > 0 {
			dynamic.WriteString(x.text)
			if depth == 0 {
				if err := add(hole{}, dynamic.String(), true); err != nil {
					return p, err
				}
				dynamic.Reset()
			}
			continue
		}
		var err error
		switch x.letter {
		case 0:
			constant.WriteString(x.text)
		case aPixel:
			err = add(hole{pixel: true}, x.text, false)
		case aLink:
			l := s.links[x.n]
			h := hole{link: l.No}
			if l.Constant {
				h.dest = l.doc
			} else {
				h.parts = s.stretches(l.doc)
			}
			err = add(h, x.text, !l.Constant)
		default:
			h := hole{}
			finish := "kairos_text"
			if x.letter == aStyle {
				finish = "kairos_style"
			} else if d.field == inHTML {
				finish = "kairos_html"
			}
			if l, ok := parseLookup(s.tokens[x.n].args); ok {
				h.lookup = l.then(finish)
			}
			err = add(h, x.text, true)
		}
		if err != nil {
			return p, err
		}
	}
	if depth != 0 {
		return p, d.field.bad(0, "can't be compiled: its blocks don't fit the HTML around them")
	}
	p.constants = append(p.constants, constant.String())
	p.size += constant.Len()
	return p, nil
}

// stretches cuts a destination into text and lookups, or returns nil when it
// needs the engine.
func (s *set) stretches(doc string) []stretch {
	var out []stretch
	before := ""
	for _, p := range pieces(doc) {
		switch p.letter {
		case 0:
			before += p.text
			out = append(out, stretch{text: p.text})
		case aObject:
			args := s.tokens[p.n].args
			l, ok := parseLookup(args)
			if !ok {
				return nil
			}
			out = append(out, stretch{lookup: l.then(destinationFilter(before, args))})
		default:
			return nil
		}
	}
	return out
}

// compile parses a source in the engine's delimiters.
func (m *machine) compile(source string) (n render.Node, err error) {
	defer func() {
		if recover() != nil {
			err = errSplitBlock
		}
	}()
	n, e := m.cfg.Compile(source, parser.SourceLoc{})
	if e != nil {
		return nil, e
	}
	return n, nil
}
