package content

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

var update = flag.Bool("update", false, "write the golden files")

// fakeTracker makes readable URLs and records what it was asked for.
type fakeTracker struct {
	asked []string
	fail  error
}

func (f *fakeTracker) Link(no uint16, destination string) (string, error) {
	f.asked = append(f.asked, fmt.Sprintf("%d %s", no, destination))
	return fmt.Sprintf("https://t.example/c/%d?a=1&b=2", no), f.fail
}
func (f *fakeTracker) Pixel() string       { return "https://t.example/o/1?a=1&b=2" }
func (f *fakeTracker) Unsubscribe() string { return "https://t.example/u/1?a=1&b=2" }

func person() Data {
	return Data{
		"contact": map[string]any{
			"first_name": "Ada <b>&\"'", "last_name": "Lovelace", "email": "ada@example.com",
			"points": float64(3000000), "since": "2021-03-04", "vip": true, "city": "Zürich/West & more",
			"items": []any{
				map[string]any{"name": "Tea & Cake", "url": "https://shop.example/tea?x=1&y=2", "price": 4.5},
				map[string]any{"name": "Milk", "url": "https://shop.example/milk", "price": float64(2)},
			},
		},
		"campaign": map[string]any{"name": "Spring", "url": "https://shop.example/spring"},
		"now":      time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC),
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("testdata/*.html")
	require.NoError(t, err)
	require.NotEmpty(t, sources)
	for _, path := range sources {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(path)
			require.NoError(t, err)
			c, err := Compile(Source{Subject: "Hi {{ contact.first_name }}", HTML: string(source)})
			require.NoError(t, err)
			f := &fakeTracker{}
			subject, html, text, err := c.RenderFull(context.Background(), person(), f)
			require.NoError(t, err)
			var b strings.Builder
			fmt.Fprintf(&b, "Subject: %s\n\n%s\n=== text\n%s=== links\n", subject, html, text)
			for _, l := range c.Links {
				fmt.Fprintf(&b, "%d %v %s\n", l.No, l.Constant, l.Destination)
			}
			fmt.Fprintf(&b, "=== asked\n%s\n", strings.Join(f.asked, "\n"))
			golden := strings.TrimSuffix(path, ".html") + ".golden"
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o600))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), b.String())
		})
	}
}

// rendered compiles and renders, and fails the test on an error.
func rendered(t *testing.T, src Source) (subject, html, text string) {
	t.Helper()
	if src.Subject == "" {
		src.Subject = "s"
	}
	c, err := Compile(src)
	require.NoError(t, err)
	subject, html, text, err = c.RenderFull(context.Background(), person(), &fakeTracker{})
	require.NoError(t, err)
	return subject, html, text
}

func TestParts(t *testing.T) {
	t.Parallel()
	c, err := Compile(Source{Subject: "Hi {{ contact.first_name }}!", HTML: `<p>{{ contact.last_name }}</p>{{ unsubscribe_url }}`})
	require.NoError(t, err)
	require.Equal(t, []string{"Hi ", "!"}, c.Subject.Const())
	for _, p := range []Part{c.Subject, c.HTML, c.Text} {
		require.Len(t, p.Const(), p.Holes()+1)
	}
	r, err := c.Render(context.Background(), person(), &fakeTracker{})
	require.NoError(t, err)
	require.Len(t, r.HTML, c.HTML.Holes())
	require.Equal(t, "x"+c.HTML.Join(r.HTML), string(c.HTML.AppendJoin([]byte("x"), r.HTML)))
}

func TestEscaping(t *testing.T) {
	t.Parallel()
	unsub := `<i title="{{ unsubscribe_url }}"></i>`
	const pixel = `<img src="https://t.example/o/1?a=1&amp;b=2" width="1" height="1" alt="" style="display:block;border:0">`
	const unsubbed = `<i title="https://t.example/u/1?a=1&amp;b=2"></i>`
	for in, want := range map[string]string{
		`{{ contact.first_name }}`:                               `Ada &lt;b&gt;&amp;&#34;&#39;`,
		`{{ contact.first_name | escape }}`:                      `Ada &lt;b&gt;&amp;&#34;&#39;`,
		`{{ contact.first_name | escape | escape_once }}`:        `Ada &lt;b&gt;&amp;&#34;&#39;`,
		`{{ contact.first_name | append: "<" }}`:                 `Ada &lt;b&gt;&amp;&#34;&#39;&lt;`,
		`{{ contact["first_name"] }}`:                            `Ada &lt;b&gt;&amp;&#34;&#39;`,
		`{% if true %}{{ contact.first_name }}{% endif %}`:       `Ada &lt;b&gt;&amp;&#34;&#39;`,
		`{% capture x %}<i>{{ "<" }}</i>{% endcapture %}{{ x }}`: `<i>&lt;</i>`,
		`{% assign x = "<" %}{{ x }}`:                            `&lt;`,
		`{% for x in contact.items %}{{ x.name }};{% endfor %}`:  `Tea &amp; Cake;Milk;`,
		`{{ "a\n<b" | newline_to_br }}`:                          `a\n&lt;b`,
		`{{ contact.points }} {{ contact.nothing }}`:             `3000000 `,
		`{{ contact.vip == true }}`:                              `true`,
		`{% raw %}{{ x }}{% endraw %}`:                           `{{ x }}`,
		`a{% comment %}{{ {% if %}<a href=x>{% endcomment %}b`:   `ab`,
		"a {{- contact.last_name -}}  b":                         `aLovelaceb`,
		`<style>p{color:{{ contact.first_name }}}</style>`:       `<style>p{color:Ada b}</style>`,
		`{{ "now" | date: "%Y" }}`:                               `2026`,
		`{{ 7 | divided_by: 2 }} {{ 7 | divided_by: 0 }}`:        `3 `,
		`{{ 3000000 | times: 2 }}`:                               `6000000`,
	} {
		_, html, _ := rendered(t, Source{HTML: unsub + in})
		require.Equal(t, unsubbed+want+pixel, html, in)
	}
}

func TestSubject(t *testing.T) {
	t.Parallel()
	c, err := Compile(Source{Subject: `{{ contact.a }}{% if true %}{{ contact.a }}{% endif %}{{ contact.b | default: "&" }}`, Text: "x"})
	require.NoError(t, err)
	s, _, _, err := c.RenderFull(context.Background(), Data{"contact": map[string]any{"a": "x\r\nBcc: y\x00\u2028<"}}, nil)
	require.NoError(t, err)
	require.Equal(t, "x  Bcc: y  <x  Bcc: y  <&", s)

	_, err = c.Render(context.Background(), Data{"contact": map[string]any{"a": strings.Repeat("x", 3000)}}, nil)
	require.ErrorIs(t, err, kairos.ErrPermanent)
}

func TestLinks(t *testing.T) {
	t.Parallel()
	type link struct {
		html   string
		want   string // how the element reads afterwards
		asked  string
		source string // Destination, when it differs from what was asked
	}
	const one = `https://t.example/c/1?a=1&amp;b=2`
	for name, l := range map[string]link{
		"plain":       {`<a href="https://x.example/">`, `<a href="` + one + `">`, "1 https://x.example/", ""},
		"upper case":  {`<A class=b HREF="https://x.example/">`, `<A class=b HREF="` + one + `">`, "1 https://x.example/", ""},
		"single":      {`<a href='https://x.example/' id=b>`, `<a href='` + one + `' id=b>`, "1 https://x.example/", ""},
		"unquoted":    {`<a href=https://x.example/?a=b>`, `<a href="` + one + `">`, "1 https://x.example/?a=b", ""},
		"entities":    {`<a href="https://x.example/?a=1&amp;b=2">`, `<a href="` + one + `">`, "1 https://x.example/?a=1&b=2", ""},
		"white space": {"<a\n href = \" https://x.exa\nmple/ \">", "<a\n href = \"" + one + `">`, "1 https://x.example/", ""},
		"space":       {`<a href="https://x.example/a b">`, `<a href="` + one + `">`, "1 https://x.example/a%20b", ""},
		"area":        {`<area href="https://x.example/">`, `<area href="` + one + `">`, "1 https://x.example/", ""},
		"query": {`<a href="https://x.example/{{ contact.city }}?n={{ contact.city }}">`, `<a href="` + one + `">`,
			"1 https://x.example/Z%C3%BCrich/West%20&%20more?n=Z%C3%BCrich%2FWest%20%26%20more",
			"https://x.example/{{ contact.city }}?n={{ contact.city }}"},
		"encoded by the author": {`<a href="https://x.example/?n={{ contact.city | url_encode }}">`, `<a href="` + one + `">`,
			"1 https://x.example/?n=Z%C3%BCrich%2FWest+%26+more", `https://x.example/?n={{ contact.city | url_encode }}`},
		"whole": {`<a href="{{ campaign.url }}">`, `<a href="` + one + `">`, "1 https://shop.example/spring", `{{ campaign.url }}`},
		"unquoted whole": {`<a href={{ campaign.url }} class=x>`, `<a href="` + one + `" class=x>`,
			"1 https://shop.example/spring", `{{ campaign.url }}`},
		"condition inside": {`<a href="https://x.example/{% if contact.vip %}vip{% else %}all{% endif %}">`, `<a href="` + one + `">`,
			"1 https://x.example/vip", `https://x.example/{% if contact.vip %}vip{% else %}all{% endif %}`},
		"condition around": {`<a {% if contact.vip %}href="https://x.example/1"{% else %}href="https://x.example/2"{% endif %}>`,
			`<a href="` + one + `">`, "1 https://x.example/1", ""},
		"in a condition": {`{% if contact.vip %}<a href="https://x.example/">{% endif %}`, `<a href="` + one + `">`, "1 https://x.example/", ""},
		"mailto":         {`<a href="mailto:{{ contact.email }}">`, `<a href="mailto:ada@example.com">`, "", ""},
		"tel":            {`<a href="tel:+41">`, `<a href="tel:+41">`, "", ""},
		"anchor":         {`<a href="#top">`, `<a href="#top">`, "", ""},
		"no href":        {`<a name="x">`, `<a name="x">`, "", ""},
		"in a comment":   {`<!-- <a href="x"> -->`, `<!-- <a href="x"> -->`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Compile(Source{Subject: "s", HTML: l.html + `<i title="{{ unsubscribe_url }}">`, Text: "{{ unsubscribe_url }}"})
			require.NoError(t, err)
			f := &fakeTracker{}
			_, html, _, err := c.RenderFull(context.Background(), person(), f)
			require.NoError(t, err)
			got, _, _ := strings.Cut(html, "<i title")
			require.Equal(t, l.want, got)
			require.Equal(t, l.asked, strings.Join(f.asked, "|"))
			if l.asked == "" {
				require.Empty(t, c.Links)
				return
			}
			if l.source == "" {
				l.source = l.asked[2:]
			}
			require.Equal(t, l.source, c.Links[0].Destination)
			require.Equal(t, !strings.Contains(l.source, "{"), c.Links[0].Constant)
		})
	}
}

func TestLinkInLoop(t *testing.T) {
	t.Parallel()
	c, err := Compile(Source{Subject: "s", HTML: `{% for i in contact.items %}<a href="{{ i.url }}">{{ i.name }}</a>{% endfor %}`})
	require.NoError(t, err)
	f := &fakeTracker{}
	_, html, text, err := c.RenderFull(context.Background(), person(), f)
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(html, "https://t.example/c/1?"))
	require.Contains(t, text, "Tea & Cake <https://t.example/c/1?a=1&b=2>")
	require.Equal(t, []string{"1 https://shop.example/tea?x=1&y=2", "1 https://shop.example/milk"}, f.asked[:2])
}

func TestRefusedLinks(t *testing.T) {
	t.Parallel()
	for _, href := range []string{
		"javascript:alert(1)", "JaVaScRiPt:alert(1)", " java\nscript:alert(1)", "java&#115;cript:alert(1)", "&#106;avascript:x",
		"data:text/html,x", "vbscript:x", "file:///etc/passwd", "ftp://x.example/", "/relative", "page.html", "//x.example/",
		"https://user:pw@x.example/", "https://user@x.example/", "https://", "https://good.example\\@bad.example/",
		"javascript:{{ unsubscribe_url }}", "x{{ contact.a }}", "javascript:{{ contact.a }}",
		"{% if true %}javascript:x{% endif %}", "http://[::1", "?x=1",
	} {
		_, err := Compile(Source{Subject: "s", HTML: `<p><a href="` + href + `">x</a>`})
		var fe *kairos.FieldError
		require.ErrorAs(t, err, &fe, href)
		require.Equal(t, "html", fe.Field, href)
	}
	for _, value := range []string{"", "javascript:alert(1)", "JAVASCRIPT:x", "/x", "https://a@b/", "data:,x", "https://x\n.example", "mailto:a@b"} {
		c, err := Compile(Source{Subject: "s", HTML: `<a href="{{ contact.url }}">x</a>`})
		require.NoError(t, err)
		_, err = c.Render(context.Background(), Data{"contact": map[string]any{"url": value}}, &fakeTracker{})
		require.ErrorIs(t, err, kairos.ErrPermanent, value)
		require.NotContains(t, err.Error(), "alert", "errors hold no values")
	}
}

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	_, html, text := rendered(t, Source{HTML: "<body><p>x</p></body></html>"})
	require.Regexp(t, `<p>x</p><p style="[^"]*"><a href="https://t.example/u/1\?a=1&amp;b=2" [^>]*>Unsubscribe</a></p><img [^>]*></body></html>$`, html)
	require.Equal(t, "x\n\nUnsubscribe: https://t.example/u/1?a=1&b=2\n", text)

	_, html, text = rendered(t, Source{HTML: `<p>x <a href="{{unsubscribe_url}}">stop</a></p>`, Text: "plain"})
	require.Equal(t, 1, strings.Count(html, "/u/1"))
	require.NotContains(t, html, "Unsubscribe")
	require.Equal(t, "plain\n\nUnsubscribe: https://t.example/u/1?a=1&b=2\n", text)

	_, _, text = rendered(t, Source{Text: "stop: {{ unsubscribe_url }}"})
	require.Equal(t, "stop: https://t.example/u/1?a=1&b=2", text)

	c, err := Compile(Source{Subject: "s", Text: "{{ unsubscribe_url }}"})
	require.NoError(t, err)
	_, _, text, err = c.RenderFull(context.Background(), Data{"unsubscribe_url": "https://evil.example"}, &fakeTracker{})
	require.NoError(t, err)
	require.NotContains(t, text, "evil")
}

func TestTextLinks(t *testing.T) {
	t.Parallel()
	c, err := Compile(Source{Subject: "s", HTML: `<a href="https://x.example/a?b=1&amp;c=2">x</a>`,
		Text: "See https://x.example/a?b=1&c=2. Or (http://y.example/{{ contact.last_name }}), https://{{ unsubscribe_url }} http:// {{ unsubscribe_url }}"})
	require.NoError(t, err)
	require.Len(t, c.Links, 2)
	f := &fakeTracker{}
	_, _, text, err := c.RenderFull(context.Background(), person(), f)
	require.NoError(t, err)
	require.Equal(t, "See https://t.example/c/1?a=1&b=2. Or (https://t.example/c/2?a=1&b=2), https://https://t.example/u/1?a=1&b=2 http:// https://t.example/u/1?a=1&b=2", text)
	require.Equal(t, []string{"1 https://x.example/a?b=1&c=2", "2 http://y.example/Lovelace"}, f.asked, "one URL per destination and message")

	_, err = Compile(Source{Subject: "s", Text: "a\nb http://u:p@x.example/"})
	require.EqualError(t, err, "text has a link that has user information in its destination (line 2)")
}

func TestTrackerFails(t *testing.T) {
	t.Parallel()
	c, err := Compile(Source{Subject: "s", HTML: `<a href="https://x.example/">x</a>`})
	require.NoError(t, err)
	broken := errors.New("no key")
	_, err = c.Render(context.Background(), person(), &fakeTracker{fail: broken})
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, kairos.ErrPermanent)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = c.Render(ctx, person(), &fakeTracker{})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, kairos.ErrPermanent)
}

func TestConcurrentRender(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("testdata/shop.html")
	require.NoError(t, err)
	c, err := Compile(Source{Subject: "{{ contact.n }}", HTML: string(source)})
	require.NoError(t, err)
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 50 {
				n := fmt.Sprintf("%d-%d", g, i)
				data := person()
				data["contact"].(map[string]any)["n"] = n
				s, _, _, err := c.RenderFull(context.Background(), data, &fakeTracker{})
				if err != nil || s != n {
					t.Errorf("got %q, %v; want %q", s, err, n)
				}
			}
		})
	}
	group.Wait()
}

// TestOutlook keeps conditional comments, which mail templates are full of.
func TestOutlook(t *testing.T) {
	t.Parallel()
	const source = `<!--[if mso]><table><tr><td><![endif]--><!--[if !mso]><!-->{{ contact.last_name }}<!--<![endif]--><!-- -->`
	_, html, text := rendered(t, Source{HTML: source + `<i title="{{ unsubscribe_url }}">`})
	require.Contains(t, html, strings.Replace(source, "{{ contact.last_name }}", "Lovelace", 1))
	require.Equal(t, "Lovelace\n", text)
}
