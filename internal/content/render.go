package content

import (
	"context"
	"strings"
	"unicode"
)

// Rendered holds one value per hole of each part. In HTML the values are escaped.
type Rendered struct{ Subject, HTML, Text []string }

// Render makes the values of one message. A nil Tracker leaves links as they
// are, the pixel empty and the unsubscribe URL "#". The error is a [RenderError];
// it is permanent unless it wraps the context's or the Tracker's error, or
// [kairos.ErrUnavailable] because time ran out.
func (c *Content) Render(ctx context.Context, data Data, t Tracker) (Rendered, error) {
	return c.render(ctx, data, t, false)
}

func (c *Content) render(ctx context.Context, data Data, t Tracker, probing bool) (r Rendered, err error) {
	m := c.machines.Get().(*machine)
	m.begin(ctx, data, t, len(c.Links))
	m.probing = probing
	defer func() {
		if p := recover(); p != nil {
			if m.err == nil {
				m.err = &RenderError{Part: string(m.part), Reason: "breaks the template engine"}
			}
			r, err = Rendered{}, m.err
		}
		m.end()
		c.machines.Put(m)
	}()
	m.part = inSubject
	if err := ctx.Err(); err != nil {
		m.fail("is cancelled", err)
	}
	n, h := len(c.Subject.holes), len(c.HTML.holes)
	all := make([]string, n+h+len(c.Text.holes))
	r = Rendered{Subject: all[:n:n], HTML: all[n : n+h : n+h], Text: all[n+h:]}
	m.fill(&c.Subject, r.Subject)
	m.fill(&c.HTML, r.HTML)
	m.fill(&c.Text, r.Text)
	return r, nil
}

// RenderFull renders and joins the three parts.
func (c *Content) RenderFull(ctx context.Context, data Data, t Tracker) (subject, html, text string, err error) {
	r, err := c.Render(ctx, data, t)
	if err != nil {
		return "", "", "", err
	}
	return c.Subject.Join(r.Subject), c.HTML.Join(r.HTML), c.Text.Join(r.Text), nil
}

// fill makes the values of one part.
func (m *machine) fill(p *Part, values []string) {
	m.part = p.field
	clear(m.counters)
	size, limit := p.size, MaxOutput
	if p.field == inSubject {
		limit = MaxSubject
	}
	for i := range p.holes {
		v := m.value(&p.holes[i])
		if p.field == inSubject {
			v = oneLine(v)
		}
		if size += len(v); size > limit {
			m.fail("is larger than its limit", nil)
		}
		values[i] = v
	}
}

// value fills one hole.
func (m *machine) value(h *hole) string {
	switch {
	case h.pixel:
		return escape(m.pixel())
	case h.lookup != nil:
		if v, ok := m.eval(h.lookup); ok {
			return v.(string)
		}
	case h.dest != "":
		l := &m.links[h.link-1]
		u := l.url
		if u == "" || l.destination != h.dest {
			u = m.link(l, h.link, h.dest)
		}
		return m.attribute(u)
	case h.parts != nil:
		if dest, ok := m.destination(h.parts); ok {
			return m.attribute(m.follow(h.link, dest))
		}
	}
	return m.run(h.node)
}

// attribute escapes a URL for HTML.
func (m *machine) attribute(u string) string {
	if m.part == inHTML {
		return escape(u)
	}
	return u
}

func (m *machine) destination(parts []stretch) (string, bool) {
	var b strings.Builder
	for _, p := range parts {
		if p.lookup == nil {
			b.WriteString(p.text)
			continue
		}
		v, ok := m.eval(p.lookup)
		if !ok {
			return "", false
		}
		b.WriteString(v.(string))
	}
	if b.Len() > 4*MaxURL {
		m.fail("is larger than its limit", nil)
	}
	return b.String(), true
}

// oneLine replaces each control character, and the separators that Unicode
// counts as line ends, by a space.
func oneLine(s string) string {
	bad := func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }
	if strings.IndexFunc(s, bad) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if bad(r) {
			return ' '
		}
		return r
	}, s)
}
