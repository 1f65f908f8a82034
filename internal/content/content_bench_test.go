package content

import (
	"context"
	"strings"
	"testing"
)

type noTracker struct{}

func (noTracker) Link(uint16, string) (string, error) { return "https://t.example/c/abc", nil }
func (noTracker) Pixel() string                       { return "https://t.example/o/abc" }
func (noTracker) Unsubscribe() string                 { return "https://t.example/u/abc" }

// letter is a 5 KB HTML part with one variable and three links.
func letter() string {
	var b strings.Builder
	b.WriteString(`<html><body><p>Hello {{ contact.first_name }},</p>`)
	for _, page := range []string{"one", "two", "three"} {
		b.WriteString(`<p>` + strings.Repeat("Words of a letter. ", 84) + `<a href="https://shop.example/` + page + `">more</a></p>`)
	}
	b.WriteString(`</body></html>`)
	return b.String()
}

func BenchmarkRender(b *testing.B) {
	data := Data{"contact": map[string]any{"first_name": "Ada", "city": "Zürich", "items": []any{"a", "b", "c"}}}
	for name, html := range map[string]string{
		"constant links": letter(),
		"links with id":  strings.ReplaceAll(letter(), `">more`, `?id={{ contact.first_name }}">more`),
		"condition":      strings.Replace(letter(), "</body>", "{% if contact.city == 'Zürich' %}Grüezi{% endif %}</body>", 1),
		"loop":           strings.Replace(letter(), "</body>", "{% for i in contact.items %}{{ i }}{% endfor %}</body>", 1),
		"assign":         strings.Replace(letter(), "<p>", "{% assign n = contact.first_name | upcase %}<p>{{ n }}", 1),
	} {
		c, err := Compile(Source{Subject: "Hello {{ contact.first_name }}", HTML: html})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Render(context.Background(), data, noTracker{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+", joined", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := c.RenderFull(context.Background(), data, noTracker{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	src := Source{Subject: "Hello {{ contact.first_name }}", HTML: letter()}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(src); err != nil {
			b.Fatal(err)
		}
	}
}
