package content

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// bound is far above what a refusal or a stopped rendering takes, for slow
// machines; MaxTime itself is checked by the renderer.
const bound = 10 * time.Second

func within(t *testing.T, what string, f func()) {
	t.Helper()
	start := time.Now()
	f()
	require.Less(t, time.Since(start), bound, what)
}

// TestRefused holds what can't be saved, and why.
func TestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ html, reason string }{
		"include":                  {`{% include "/etc/passwd" %}`, `uses the tag "include": other files can't be used (line 1)`},
		"render":                   {"\n\n{% render 'x' %}", `uses the tag "render": other files can't be used (line 3)`},
		"unknown tag":              {`{% exec "ls" %}`, `uses the unknown tag "exec" (line 1)`},
		"tablerow":                 {`{% tablerow x in y %}{% endtablerow %}`, `uses the unknown tag "tablerow" (line 1)`},
		"own tag":                  {`{% kairos_pixel %}`, `uses the unknown tag "kairos_pixel" (line 1)`},
		"own end tag":              {`{% endkairos_href %}`, `uses the unknown tag "endkairos_href" (line 1)`},
		"unknown filter":           {`{{ x | shell }}`, `uses the unknown filter "shell" (line 1)`},
		"raw filter":               {`{{ x | raw }}`, `uses the unknown filter "raw" (line 1)`},
		"own filter":               {`{{ x | kairos_text }}`, `uses the unknown filter "kairos_text" (line 1)`},
		"filter in if":             {`{% if (x | nope) %}{% endif %}`, `uses the unknown filter "nope" (line 1)`},
		"filter in for":            {`{% for a in x | nope %}{% endfor %}`, `uses the unknown filter "nope" (line 1)`},
		"filter in assign":         {`{% assign a = x | nope %}`, `uses the unknown filter "nope" (line 1)`},
		"few arguments":            {`{{ x | replace: "a" }}`, `gives the filter "replace" 1 arguments: it takes 2 (line 1)`},
		"many arguments":           {`{{ x | upcase: "a", "b" }}`, `gives the filter "upcase" 2 arguments: it takes 0 (line 1)`},
		"huge range":               {`{% for i in (1..100000000) %}x{% endfor %}`, `has a range of more than 10000 numbers (line 1)`},
		"overflowing range":        {`{% for i in (-999999999999999..999999999999999) %}x{% endfor %}`, `has a number with more than 15 digits (line 1)`},
		"open range":               {`{% for i in (1..contact.n) %}x{% endfor %}`, `has a range whose bounds are not whole numbers (line 1)`},
		"range value":              {`{{ (1..100000000) | join }}`, `has a range outside a for tag (line 1)`},
		"range assigned":           {`{% assign a = (1..9) %}`, `has a range outside a for tag (line 1)`},
		"range in if":              {`{% if (1..9) contains 3 %}{% endif %}`, `has a range outside a for tag (line 1)`},
		"range in when":            {`{% case x %}{% when (1..9) %}{% endcase %}`, `has a range outside a for tag (line 1)`},
		"filtered range":           {`{% for i in (1..9) | reverse %}{% endfor %}`, `has a range with a filter (line 1)`},
		"loop product":             {`{% for i in (1..101) %}{% for j in (1..100) %}x{% endfor %}{% endfor %}`, `has loops that run more than 10000 times (line 1)`},
		"three loops":              {`{% for i in a %}{% for j in a %}{% for k in a %}x{% endfor %}{% endfor %}{% endfor %}`, `nests for tags deeper than 2 (line 1)`},
		"huge integer":             {`{{ 99999999999999999999999999 }}`, `has a number with more than 15 digits (line 1)`},
		"huge in argument":         {`{{ 2 | times: 99999999999999999999999999 }}`, `has a number with more than 15 digits (line 1)`},
		"deep blocks":              {strings.Repeat(`{% if true %}`, 40) + strings.Repeat(`{% endif %}`, 40), `nests blocks deeper than 32 (line 1)`},
		"deep brackets":            {`{{ ` + strings.Repeat("(", 40) + "x" + strings.Repeat(")", 40) + ` }}`, `has brackets nested deeper than 32 (line 1)`},
		"long expression":          {`{{ x` + strings.Repeat(".x", 3000) + ` }}`, `has an expression longer than 4096 bytes (line 1)`},
		"many tokens":              {strings.Repeat("{{x}}", MaxTokens+1), `has more than 5000 Liquid tokens (line 1)`},
		"large source":             {strings.Repeat("x", MaxSource+1), `makes the source longer than 524288 bytes`},
		"many links":               {strings.Repeat(`<a href="https://x.example/">`, MaxLinks+1), `has more than 1000 links (line 1)`},
		"date width":               {`{{ x | date: "%999999999d" }}`, `has a date format with a width of more than 9 (line 1)`},
		"unclosed object":          {"a\n{{ x ", `has {{ without }} (line 2)`},
		"unclosed tag":             {`{% if x `, `has {% without %} (line 1)`},
		"unclosed block":           {"\n{% if x %}", `has a if without endif (line 2)`},
		"unclosed comment":         {"{% comment %}", `has a comment without endcomment (line 1)`},
		"unclosed raw":             {"{% raw %}", `has a raw without endraw (line 1)`},
		"wrong end":                {"{% if x %}{% endfor %}", `has endfor where it ends nothing (line 1)`},
		"stray else":               {"{% else %}", `has else in the wrong place (line 1)`},
		"else twice":               {"{% if x %}{% else %}{% else %}{% endif %}", `has else in the wrong place (line 1)`},
		"stray break":              {"{% break %}", `has break outside a for tag (line 1)`},
		"stray cycle":              {`{% cycle "a" %}`, `has cycle outside a for tag (line 1)`},
		"empty object":             {"{{ }}", `has an empty {{ }} (line 1)`},
		"empty if":                 {"{% if %}{% endif %}", `has a tag without an expression (line 1)`},
		"bad expression":           {"{{ a b }}", `has an expression that can't be read (line 1)`},
		"statement smuggle":        {"{{ %assign a = 1 }}", `has an expression that can't be read (line 1)`},
		"semicolon":                {"{{ a; b }}", `has an expression that can't be read (line 1)`},
		"early bracket":            {"{{ a) | upcase }}", `has an expression that can't be read (line 1)`},
		"empty word":               {"{% if a == empty %}{% endif %}", `uses "empty", which is not supported: compare with '' or nil (line 1)`},
		"NUL":                      {"a\x00", `must not hold the character U+0000 (line 1)`},
		"noncharacter":             {"a\n\uFDD0", `must not hold the character U+FDD0 (line 2)`},
		"invalid UTF-8":            {"\xff", `must be valid UTF-8`},
		"script value":             {"<script>{{ x }}</script>", `has a value inside a script (line 1)`},
		"handler value":            {`<p onclick="{{ x }}">`, `has a value in the attribute onclick, which is code (line 1)`},
		"unquoted value":           {`<p class={{ x }}>`, `has a value in an attribute without quotes (line 1)`},
		"attribute value":          {`<p {{ x }}>`, `has a value in place of an attribute (line 1)`},
		"form action":              {`<form action="{{ x }}">`, `has a value in the attribute action, where it could lead anywhere (line 1)`},
		"other href":               {`<use xlink:href="{{ x }}">`, `has a value in the attribute xlink:href, where it could lead anywhere (line 1)`},
		"meta refresh":             {`<meta http-equiv="refresh" content="0;URL={{ x }}">`, `has a value in the attribute content, where it could lead anywhere (line 1)`},
		"base":                     {`<p>\n<base href="https://x.example/">`, `has a base element, which would change where links lead (line 1)`},
		"noscript":                 {`<noscript><a href="javascript:x">y</a></noscript>`, `has a noscript element, whose content can't be checked (line 1)`},
		"name by value":            {"\n<{{ x }}>", `has Liquid in the name of a tag (line 2)`},
		"name by branch":           {`{% if a %}<{% endif %}{{ x }}>`, `has Liquid in the name of a tag (line 1)`},
		"end name by value":        {`</{{ x }}>`, `has Liquid in the name of a tag (line 1)`},
		"part of a name":           {`<b{{ x }}>`, `has Liquid in the name of a tag (line 1)`},
		"kind by value":            {`<!{{ x }}>`, `has Liquid in the name of a tag (line 1)`},
		"open comment":             {"<p>\n<!-- x", `has a comment that is never closed (line 2)`},
		"open style":               {"<style>\np{}", `has a style element that is never closed (line 2)`},
		"comparisons":              {`{% if ` + strings.Repeat("a contains b or ", 70) + `a %}{% endif %}`, `has an expression with more than 64 comparisons or commas (line 1)`},
		"value or unsubscribe":     {`<a href="{{ x | default: unsubscribe_url }}">`, `has unsubscribe_url in the middle of a link (line 1)`},
		"value before unsubscribe": {`<a href="{% if a %}{{ x }}{% else %}{{ unsubscribe_url }}{% endif %}">`, `has unsubscribe_url in the middle of a link (line 1)`},
		"javascript src":           {`<img src="javascript:x">`, `has a link to javascript: in the attribute src (line 1)`},
		"split block":              {`<a href="{% if x %}https://x.example/">{% endif %}`, `has a Liquid block that begins or ends inside a link's destination (line 1)`},
		"unclosed element":         {"<p>\n<a href=\"https://x.example/", `ends inside a tag (line 2)`},
	} {
		within(t, name, func() {
			_, err := Compile(Source{Subject: "s", HTML: c.html})
			require.EqualError(t, err, "html "+c.reason, name)
			require.ErrorIs(t, err, kairos.ErrInvalid)
		})
	}
	for _, c := range []struct {
		src  Source
		want string
	}{
		{Source{HTML: "x"}, "subject must not be empty"},
		{Source{Subject: "x"}, "html must not be empty when there is no text"},
		{Source{Subject: "a\nb", Text: "x"}, "subject must be one line"},
		{Source{Subject: "a\rb", Text: "x"}, "subject must be one line"},
		{Source{Subject: strings.Repeat("x", 5000), Text: "x"}, "subject must not be longer than 4096 bytes"},
		{Source{Subject: "{{ x | nope }}", Text: "x"}, `subject uses the unknown filter "nope" (line 1)`},
		{Source{Subject: "x", Text: "\n{{ x | nope }}"}, `text uses the unknown filter "nope" (line 2)`},
		{Source{Subject: "x", HTML: `<td {% if a %}class="x">1</td>{% else %}>2{% endif %}`},
			"text can't be derived from the html because a Liquid block begins or ends inside an HTML tag: give a text"},
	} {
		_, err := Compile(c.src)
		require.EqualError(t, err, c.want)
	}
}

// TestStopped holds what a rendering stops, most of it already at save.
func TestStopped(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 100_000)
	long := make([]any, 20_000)
	for i := range long {
		long[i] = map[string]any{"n": "x"}
	}
	data := Data{"contact": map[string]any{"big": big, "list": long, "n": float64(1e15), "format": "%999999999d", "same": strings.Repeat("a", 200_000)}}
	for name, html := range map[string]string{
		"doubling":           `{% assign a = "0123456789" %}{% for i in (1..100) %}{% assign a = a | append: a %}{% endfor %}{{ a }}`,
		"growth by append":   `{% assign a = "" %}{% for i in (1..10000) %}{% assign a = a | append: "0123456789012345678901234567890123456789" %}{% endfor %}`,
		"doubling capture":   `{% assign a = "0123456789" %}{% for i in (1..100) %}{% capture a %}{{ a }}{{ a }}{% endcapture %}{% endfor %}`,
		"doubling prepend":   `{% assign a = "0123456789" %}{% for i in (1..100) %}{% assign a = a | prepend: a %}{% endfor %}`,
		"doubling replace":   `{% assign a = "aaaaaaaaaa" %}{% for i in (1..100) %}{% assign a = a | replace: "a", a %}{% endfor %}`,
		"doubling concat":    `{% assign a = "a,b" | split: "," %}{% for i in (1..100) %}{% assign a = a | concat: a %}{% endfor %}`,
		"doubling join":      `{% assign a = "a,b,c" %}{% for i in (1..100) %}{% assign a = a | split: "," | join: a %}{% endfor %}`,
		"doubling truncate":  `{% assign a = "aaaaaaaaaa" %}{% for i in (1..100) %}{% assign a = a | append: "b" | truncate: 1, a | append: a %}{% endfor %}`,
		"output":             `{% for i in (1..10000) %}` + big + `{% endfor %}`,
		"captured text":      `{% for i in (1..10000) %}{% capture a %}` + strings.Repeat("x", 100_000) + `{% endcapture %}{% endfor %}`,
		"value output":       `{% for i in (1..100) %}{{ contact.big }}{% endfor %}`,
		"list of data":       `{% for i in contact.list %}{% for j in contact.list %}x{% endfor %}{% endfor %}`,
		"list of data alone": `{% for i in contact.list %}{% for j in contact.list %}{% if i.n == "y" %}x{% endif %}{% endfor %}{% endfor %}`,
		"list of big text":   `{% assign l = contact.big | split: "," %}{% for i in (1..10) %}{% assign l = l | concat: l %}{% endfor %}{% if "x" contains l %}{{ l | json }}{% endif %}{{ l }}`,
		"big split":          `{{ contact.big | split: "" | size }}`,
		"big sort":           `{{ contact.list | sort: "n" | size }}`,
		"sort in loops":      `{% assign a = "c,b,a,d,e,f,g,h" | split: "," %}{% for i in (1..10000) %}{% assign b = a | sort %}{% endfor %}{% for i in (1..10000) %}{% assign b = a | sort %}{% endfor %}`,
		"big replace":        `{{ contact.same | replace: "a", contact.same }}`,
		"date format":        `{{ 0 | date: contact.format }}`,
		"long URL":           `<a href="https://x.example/?a={{ contact.big }}">x</a>`,
		"big value":          `{{ contact.big | append: contact.big | append: contact.big | append: contact.big | append: contact.big | append: contact.big | append: contact.big | append: contact.big | append: contact.big | append: contact.big | append: contact.big }}`,
		"uncomparable":       `{% if contact == contact %}x{% endif %}`,
	} {
		within(t, name, func() {
			c, err := Compile(Source{Subject: "s", HTML: html, Text: "x"})
			if err != nil {
				require.ErrorIs(t, err, kairos.ErrInvalid, name)
				require.Contains(t, err.Error(), "html can't be rendered", name)
				return
			}
			_, err = c.Render(context.Background(), data, nil)
			var re *RenderError
			require.ErrorAs(t, err, &re, name)
			require.Equal(t, "html", re.Part, name)
		})
	}
}

// TestHarmless holds what looks dangerous and must render.
func TestHarmless(t *testing.T) {
	t.Parallel()
	for html, want := range map[string]string{
		`{{ contact.n | times: 999999999999 | times: 999999999999 }}`: `9.99999999998e+38`,
		`{{ "x" | truncate: 999999999 }}`:                             `x`,
		`{{ "abc" | slice: 99, 99 }}{{ "abc" | slice: -2, 99 }}`:      `bc`,
		`{{ 1.5 | round: 99999 }}`:                                    `1.5`,
		`{{ "abc" | times: 3 }}`:                                      `0`,
		`{{ nil | date }}{{ "soon" | date: "%Y" }}`:                   `soon`,
		`{{ "now" | date: "%Y" }}`:                                    `now`,
		`{{ missing.a.b[3].c | upcase | split: "," | first }}`:        ``,
		`{% for x in missing %}a{% else %}b{% endfor %}`:              `b`,
		`{% for x in contact %}{{ x[0] }}{% endfor %}`:                `n`,
		`{{ "a,b,,c" | split: "," | join: "-" }}`:                     `a-b--c`,
		`{{ "b a" | split: " " | sort | join }}`:                      `a b`,
		`{{ "one two three" | truncatewords: 2 }}`:                    `one two...`,
		`{% for i in (3..1) %}x{% else %}none{% endfor %}`:            `none`,
		`{% for i in (1..5) limit: 2 offset: 1 %}{{ i }}{% endfor %}`: `23`,
		`{% for i in (1..3) reversed %}{{ i }}{% endfor %}`:           `321`,
	} {
		c, err := Compile(Source{Subject: "s", HTML: "x", Text: html + "{{ unsubscribe_url }}"})
		require.NoError(t, err, html)
		_, _, text, err := c.RenderFull(context.Background(), Data{"contact": map[string]any{"n": float64(1e15)}}, nil)
		require.NoError(t, err, html)
		require.Equal(t, want+"#", text, html)
	}
}

// TestLargeSources holds inputs of half the size limit on which a careless scan
// takes quadratic time; each is compiled or refused.
func TestLargeSources(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{
		"<p>", "<a href=#>", "<a href=", "<p a=b ", "<", "&", "&amp;", "{", "{{", "{%", "}}", "\"", "'", "<!--", "<style>", "</p>", "\n", " ",
		"http://", "http://a.b/ ", "https://x/(", "<br>\n", "{% raw %}x{% endraw %}y", "{% comment %}x{% endcomment %}y", "{{x[0]}}", "{% if x %}y{% endif %}",
		"{{ a | append: a | append: a }}", "<td><tr>", "<a href='https://x.example/'>x</a>",
	} {
		repeated := strings.Repeat(unit, MaxSource/2/len(unit))
		within(t, unit, func() {
			if _, err := Compile(Source{Subject: "s", HTML: repeated}); err != nil {
				require.ErrorIs(t, err, kairos.ErrInvalid)
			}
		})
		within(t, unit, func() {
			if _, err := Compile(Source{Subject: "s", Text: repeated}); err != nil {
				require.ErrorIs(t, err, kairos.ErrInvalid)
			}
		})
	}
}

// TestPanic stands for a fault of the engine or of a value's own methods.
func TestPanic(t *testing.T) {
	t.Parallel()
	c, err := Compile(Source{Subject: "s", Text: "{{ contact.a }}"})
	require.NoError(t, err)
	for range 3 {
		_, err = c.Render(context.Background(), Data{"contact": map[string]any{"a": faulty{}}}, nil)
		require.EqualError(t, err, "render text: breaks the template engine")
		require.ErrorIs(t, err, kairos.ErrPermanent)
	}
	_, _, text, err := c.RenderFull(context.Background(), Data{"contact": map[string]any{"a": "fine"}}, nil)
	require.NoError(t, err)
	require.Contains(t, text, "fine")
}

type faulty struct{}

func (faulty) String() string { panic("secret") }

// TestTimeLimit gives the renderer a clock that has run out: steps alone would
// not stop this template.
func TestTimeLimit(t *testing.T) {
	t.Parallel()
	c, err := Compile(Source{Subject: "s", Text: `{% for i in (1..2000) %}{% assign a = i | plus: 1 %}{% endfor %}`})
	require.NoError(t, err)
	m := newMachine()
	m.begin(context.Background(), Data{}, nil, 0)
	m.deadline = time.Now().Add(-time.Second)
	m.part = inText
	require.Panics(t, func() { m.value(&c.Text.holes[0]) })
	require.Equal(t, "takes longer than 200 ms", m.err.Reason)
	require.NotErrorIs(t, m.err, kairos.ErrPermanent)

	ctx, cancel := context.WithCancel(context.Background())
	m.end()
	m.begin(ctx, Data{}, nil, 0)
	cancel()
	require.Panics(t, func() { m.value(&c.Text.holes[0]) })
	require.ErrorIs(t, m.err, context.Canceled)
}
