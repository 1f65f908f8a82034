package content

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

// whole renders a source by the engine alone, each part in one go: no holes, no
// lookups, no constants. It is what Render must equal.
func whole(src Source, data Data, t Tracker) (out [3]string, err error) {
	s, docs, err := build(src)
	if err != nil {
		return out, err
	}
	m := newMachine()
	for i, d := range docs {
		node, err := m.compile(s.liquid(d.field, d.text))
		if err != nil {
			return out, err
		}
		func() {
			defer func() {
				if recover() != nil {
					err = m.err
				}
			}()
			m.begin(context.Background(), data, t, len(s.links))
			m.part = d.field
			out[i] = m.run(node)
			if d.field == inSubject {
				out[i] = oneLine(out[i])
			}
		}()
		m.end()
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

var (
	somePaths = rapid.SampledFrom([]string{
		"contact.first_name", "contact.missing", "contact.items", "contact.address.city", "contact.address", "contact.n",
		"contact.f", "contact.yes", "contact.first_name.size", "contact.items.first", "contact.items[0]", "contact.address.size",
		"campaign.name", "campaign.labels.x", "campaign.labels.size", "unsubscribe_url", "nothing", "contact", "contact['first_name']",
		"contact.when", "contact.pointer", "i", "i.name", "forloop.index", "v", "true", "nil", "3", "'lit'",
	})
	someFilters = rapid.SampledFrom([]string{
		"", "", "", " | upcase", " | default: 'x<'", " | default: contact.n", " | append: contact.first_name | capitalize",
		" | date: '%Y-%m-%d'", " | times: 2 | plus: 1", " | divided_by: 2.0 | round: 1", " | escape", " | escape | upcase",
		" | newline_to_br", " | split: ' ' | join: '+'", " | size", " | truncate: 5", " | truncatewords: 1, '<'", " | replace: 'a', '&'",
		" | url_encode", " | json", " | slice: 1, 2", " | first", " | map: 'name' | join", " | sort | reverse | join: ','", " | strip_html",
		" | prepend: 'p' | strip", " | abs", " | floor", " | uniq | compact | size", " | at_least: 4",
	})
	someValues = rapid.SampledFrom([]any{
		nil, "", "Ada", "a <b>&\"' Zürich \n x", "2024-02-29", "12", 7, -3, 2.5, float64(1e6), true, false, "https://v.example/p?q=1",
		[]any{}, []any{"b", "a", nil, "a"}, []any{map[string]any{"name": "n<"}}, map[string]any{"city": "C&"}, int64(9), "javascript:x",
	})
)

func object1(t *rapid.T) string {
	return "{{ " + somePaths.Draw(t, "path") + someFilters.Draw(t, "filter") + " }}"
}

// template draws a template of nested snippets.
func template(t *rapid.T, depth int) string {
	var b strings.Builder
	for range rapid.IntRange(0, 4).Draw(t, "n") {
		kind := rapid.IntRange(0, 16).Draw(t, "kind")
		if depth > 2 && kind > 8 {
			kind = 0
		}
		inner := func() string { return template(t, depth+1) }
		switch kind {
		case 0, 1, 2:
			b.WriteString(object1(t))
		case 3:
			b.WriteString(rapid.SampledFrom([]string{"text ", "<p>a &amp; b</p>\n", "{", "}", "<td class=\"x\">", "</body>", "<br>", "http://bare.example/x. ", "<li>", "</td>"}).Draw(t, "text"))
		case 4:
			b.WriteString(`<a href="https://x.example/?q=` + object1(t) + `">l</a>`)
		case 5:
			b.WriteString(`<a href='` + object1(t) + `'>` + object1(t) + `</a>`)
		case 6:
			b.WriteString(`<a href=https://x.example/` + fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "page")) + `>c</a>`)
		case 7:
			b.WriteString("<i title=\"" + object1(t) + "\">{{- " + somePaths.Draw(t, "path") + " -}} </i>")
		case 8:
			b.WriteString("<style>p{color:" + object1(t) + "}</style>")
		case 9, 10:
			b.WriteString("{% if " + somePaths.Draw(t, "path") + " == 7 %}" + inner() + "{% elsif " + somePaths.Draw(t, "path") + " %}" + inner() + "{% else %}" + inner() + "{% endif %}")
		case 11:
			b.WriteString("{% for i in " + somePaths.Draw(t, "path") + " limit: 2 %}" + inner() + "{% if i %}{% continue %}{% endif %}x{% else %}" + inner() + "{% endfor %}")
		case 12:
			b.WriteString("{% case " + somePaths.Draw(t, "path") + " %}{% when 'Ada', 7 %}" + inner() + "{% else %}" + inner() + "{% endcase %}")
		case 13:
			if rapid.Bool().Draw(t, "stateful") {
				b.WriteString("{% assign v = " + somePaths.Draw(t, "path") + someFilters.Draw(t, "filter") + " %}")
			}
		case 14:
			if rapid.Bool().Draw(t, "stateful") {
				b.WriteString("{% capture v %}" + inner() + "{% endcapture %}")
			}
		case 15:
			b.WriteString("{% unless " + somePaths.Draw(t, "path") + " contains 'a' %}" + inner() + "{% endunless %}")
		case 16:
			b.WriteString("{% raw %}{{ x }}{% endraw %}{% comment %}" + "{{ y }}" + "{% endcomment %}")
		}
	}
	return b.String()
}

func drawData(t *rapid.T) Data {
	contact := map[string]any{"when": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for _, k := range []string{"first_name", "items", "n", "f", "yes", "address"} {
		contact[k] = someValues.Draw(t, k)
	}
	s := "pointed"
	contact["pointer"] = &s
	return Data{"contact": contact, "campaign": map[string]any{"name": someValues.Draw(t, "name"), "labels": map[string]string{"x": "l<"}}}
}

// TestRenderEqualsEngine: the parts' constants, holes, lookups and links give
// exactly what the engine gives for the rewritten source as a whole.
func TestRenderEqualsEngine(t *testing.T) {
	t.Parallel()
	compared := 0
	rapid.Check(t, func(t *rapid.T) {
		src := Source{Subject: "s" + object1(t) + object1(t), HTML: template(t, 0)}
		if rapid.Bool().Draw(t, "text given") {
			src.Text = template(t, 0) + "x"
		}
		c, err := Compile(src)
		if err != nil {
			require.ErrorIs(t, err, kairos.ErrInvalid)
			return
		}
		data := drawData(t)
		want, wantErr := whole(src, data, &fakeTracker{})
		subject, html, text, err := c.RenderFull(context.Background(), data, &fakeTracker{})
		if wantErr != nil {
			require.ErrorIs(t, err, kairos.ErrPermanent)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want, [3]string{subject, html, text})
		subject2, html2, text2, err := c.RenderFull(context.Background(), data, &fakeTracker{})
		require.NoError(t, err)
		require.Equal(t, [3]string{subject, html, text}, [3]string{subject2, html2, text2}, "same input, same output")
		compared++
	})
	require.Greater(t, compared, 10, "most draws must compile and render")
}

// TestLookupIsUsed keeps the fast path from silently vanishing.
func TestLookupIsUsed(t *testing.T) {
	t.Parallel()
	c, err := Compile(Source{Subject: "{{ contact.a | default: 'x' }}", HTML: `{{ a }}<a href="https://x.example/{{ contact.b | upcase }}">x</a>`})
	require.NoError(t, err)
	require.NotNil(t, c.Subject.holes[0].lookup)
	require.NotNil(t, c.HTML.holes[0].lookup)
	require.Len(t, c.HTML.holes[1].parts, 2)
}

func addSeeds(f *testing.F) {
	f.Helper()
	for _, s := range []string{
		"", "{{ contact.name }}", "{% if a %}b{% endif %}", "{% for i in (1..3) %}{{ i }}{% endfor %}", "{% assign a = a | append: a %}{{ a }}",
		`<a href="https://x.example/{{ a }}">x</a>`, `<a href=javascript:x>`, "{{", "{%", "{{}}", "{% raw %}{{{% endraw %}", "<", "<a href='", "<!--",
		"{% for i in a %}{% cycle 'a', 'b' %}{% endfor %}", "{{ 'x' | date: '%9999d' }}", "{{ 1 | times: 999999999999999 }}", "</body>", "<style>{{ x }}</style>",
		"{{ a | split: '' | join: a }}", "{% capture a %}<b>{% endcapture %}{{ a }}", "\xff", "\uFDD0o1\uFDD1", "{%- if a -%} b {%- endif -%}", "http://x.example/{{ a }}).",
		"{% increment a %}{% case a %}{% when 1, 'x' %}y{% endcase %}", "<p {% if a %}class=\"b\"{% endif %}>", "{{ a['b'].c[0] }}", "{{ (a == b) | json }}",
	} {
		f.Add(s)
	}
}

// FuzzCompile: any source is compiled or refused with a FieldError, in bounded time.
func FuzzCompile(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		for _, src := range []Source{{Subject: "s", HTML: s}, {Subject: s, Text: s}} {
			start := time.Now()
			c, err := Compile(src)
			if d := time.Since(start); d > 5*time.Second {
				t.Fatalf("took %s", d)
			}
			if err != nil {
				var fe *kairos.FieldError
				if !errors.As(err, &fe) {
					t.Fatalf("not a FieldError: %v", err)
				}
				continue
			}
			for _, p := range []Part{c.Subject, c.HTML, c.Text} {
				if len(p.Const()) != p.Holes()+1 {
					t.Fatal("constants and holes don't fit")
				}
			}
		}
	})
}

// FuzzRender: what compiles renders or fails with a RenderError within bounds,
// the same each time, and the subject stays one line.
func FuzzRender(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Compile(Source{Subject: "{{ a }}", HTML: s})
		if err != nil {
			return
		}
		for _, a := range []any{s, float64(len(s)), []any{s, map[string]any{"b": s}}, map[string]any{"b": []any{s}, "name": s}} {
			data := Data{"a": a, "contact": a}
			subject, html, text, err := c.RenderFull(context.Background(), data, &fakeTracker{})
			if err != nil {
				var re *RenderError
				if !errors.As(err, &re) {
					t.Fatalf("not a RenderError: %v", err)
				}
				continue
			}
			if strings.ContainsAny(subject, "\r\n\x00") || len(subject) > MaxSubject || len(html) > MaxOutput || len(text) > MaxOutput {
				t.Fatal("out of bounds")
			}
			_, html2, text2, err := c.RenderFull(context.Background(), data, &fakeTracker{})
			if err != nil || html != html2 || text != text2 {
				t.Fatal("differs the second time")
			}
		}
	})
}
