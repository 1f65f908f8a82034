package creation_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/creation"
)

func TestSaveTemplateAddsVersions(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	first := h.template()
	require.Equal(t, 1, first.Version)
	h.clock.Advance(time.Hour)
	second, err := h.SaveTemplate(ctx, creation.TemplateInput{ID: first.ID, Subject: "New", Text: "Hi"})
	require.NoError(t, err)
	require.Equal(t, 2, second.Version)
	require.Equal(t, "Offer", second.Name, "an empty name keeps the name")
	old, err := h.Template(ctx, first.ID, 1)
	require.NoError(t, err)
	require.Equal(t, first, old, "a version never changes")
	newest, err := h.Template(ctx, first.ID, 0)
	require.NoError(t, err)
	require.Equal(t, second, newest)
	_, err = h.Template(ctx, first.ID, 3)
	require.ErrorIs(t, err, kairos.ErrNotFound)
	_, err = h.SaveTemplate(ctx, creation.TemplateInput{ID: kairos.NewID(), Subject: "x", Text: "y"})
	require.ErrorIs(t, err, kairos.ErrNotFound)
	h.template()
	list, next, err := h.Templates(ctx, 1, "")
	require.NoError(t, err)
	require.Equal(t, []creation.Template{second}, list)
	list, next, err = h.Templates(ctx, 1, next)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Empty(t, next)
}

func TestConcurrentSavesMakeEachAVersion(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	first := h.template()
	versions := make(chan int, 5)
	for range 5 {
		go func() {
			v, err := h.SaveTemplate(context.Background(), creation.TemplateInput{ID: first.ID, Subject: "x", Text: "y"})
			if err != nil {
				v.Version = -1
			}
			versions <- v.Version
		}()
	}
	seen := map[int]bool{}
	for range 5 {
		seen[<-versions] = true
	}
	require.Equal(t, map[int]bool{2: true, 3: true, 4: true, 5: true, 6: true}, seen)
}

func TestSaveTemplateChecksTheSource(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	for name, c := range map[string]struct {
		field string
		in    creation.TemplateInput
	}{
		"no name":      {"name", creation.TemplateInput{Subject: "x", Text: "y"}},
		"channel":      {"channel", creation.TemplateInput{Name: "n", Channel: "sms", Subject: "x", Text: "y"}},
		"no subject":   {"subject", creation.TemplateInput{Name: "n", Text: "y"}},
		"no body":      {"html", creation.TemplateInput{Name: "n", Subject: "x"}},
		"unclosed":     {"html", creation.TemplateInput{Name: "n", Subject: "x", HTML: "{% if a %}"}},
		"file access":  {"html", creation.TemplateInput{Name: "n", Subject: "x", HTML: "{% include 'a' %}"}},
		"subject line": {"subject", creation.TemplateInput{Name: "n", Subject: "a\r\nBcc: b", Text: "y"}},
		"script link":  {"html", creation.TemplateInput{Name: "n", Subject: "x", HTML: `<a href="javascript:alert(1)">x</a>`}},
	} {
		_, err := h.SaveTemplate(context.Background(), c.in)
		var field *kairos.FieldError
		require.ErrorAs(t, err, &field, name)
		require.Equal(t, c.field, field.Field, name)
	}
	require.Zero(t, h.count(`SELECT count(*) FROM templates`))
}

func TestPreview(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{})
	ctx := context.Background()
	p, _, err := h.UpsertContact(ctx, creation.ContactInput{
		Email: "a@x.org", FirstName: "<Ann>", Attributes: json.RawMessage(`{"plan":"pro","first_name":"not this"}`),
	})
	require.NoError(t, err)
	tpl, err := h.SaveTemplate(ctx, creation.TemplateInput{
		Name: "n", Subject: "Hi {{ contact.first_name }}",
		HTML: `<p>{{ contact.first_name }} {{ contact.attributes.plan }} {{ contact.plan }} {{ extra }} <a href="https://shop.example/?a=1">go</a></p>`,
	})
	require.NoError(t, err)
	r, err := h.Preview(ctx, tpl.ID, creation.PreviewInput{Contact: p.ID, Data: map[string]any{"extra": "more"}})
	require.NoError(t, err)
	require.Equal(t, "Hi <Ann>", r.Subject)
	require.Contains(t, r.HTML, "&lt;Ann&gt; pro pro more")
	require.Contains(t, r.HTML, `https://shop.example/?a=1`)
	require.Contains(t, r.HTML, "https://unsubscribe.invalid/")
	require.Contains(t, r.Text, "<Ann> pro pro more")
	r, err = h.Preview(ctx, tpl.ID, creation.PreviewInput{Data: map[string]any{"contact": map[string]any{"first_name": "Bo"}}})
	require.NoError(t, err)
	require.Equal(t, "Hi Bo", r.Subject)
	_, err = h.Preview(ctx, tpl.ID, creation.PreviewInput{Contact: kairos.NewID()})
	require.ErrorIs(t, err, kairos.ErrNotFound)
	_, err = h.Preview(ctx, kairos.NewID(), creation.PreviewInput{})
	require.ErrorIs(t, err, kairos.ErrNotFound)
}
