package deliverytest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"kairos"
	"kairos/delivery"
	"kairos/internal/content"
)

// Letter is a mail of about 5 KB with three links, a pixel and a greeting, the
// size that figures of this project are about.
func Letter(tb testing.TB) *content.Content {
	tb.Helper()
	var b strings.Builder
	b.WriteString("<html><body style=\"font-family: sans-serif\"><p>Hello {{ contact.first_name }},</p>\n")
	for i := range 3 {
		for range 5 {
			b.WriteString("<p>Autumn is near, and with it the time to think of the warm things in life: wool, tea, good books & long evenings. We kept the best of them for you – at a price that pleases.</p>\n")
		}
		fmt.Fprintf(&b, "<p><a href=\"https://shop.example.com/offer/%d?from=mail\">Look at offer %d</a></p>\n", i, i)
	}
	b.WriteString("<p><a href=\"{{ unsubscribe_url }}\">Unsubscribe</a></p></body></html>")
	c, err := content.Compile(content.Source{
		Subject: "{{ contact.first_name }}, your autumn offer",
		HTML:    b.String(),
		Text:    "Hello {{ contact.first_name }},\n\nhttps://shop.example.com/offer/0?from=mail\n",
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// tracker makes URLs of the usual length.
type tracker struct{ i int }

func (t tracker) token(no int) string {
	return fmt.Sprintf("%s%06d%02d", strings.Repeat("AbC_-9", 20), t.i, no)
}

func (t tracker) Link(no uint16, _ string) (string, error) {
	return "https://kairos.example.com/c/" + t.token(int(no)), nil
}
func (t tracker) Pixel() string       { return "https://kairos.example.com/o/" + t.token(98) + ".gif" }
func (t tracker) Unsubscribe() string { return "https://kairos.example.com/u/" + t.token(99) }

// Recipient returns the address of the ith person.
func Recipient(i int) string { return fmt.Sprintf("person%06d@example.com", i) }

// Message returns the message of a content for the ith person.
func Message(tb testing.TB, c *content.Content, i int) *delivery.Message {
	tb.Helper()
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	t := tracker{i}
	r, err := c.Render(context.Background(), content.Data{"contact": map[string]any{"first_name": fmt.Sprintf("Zoë%d", i)}}, t)
	if err != nil {
		tb.Fatal(err)
	}
	ref := kairos.AttemptRef{Notification: kairos.NewIDAt(at), Number: 1}
	return &delivery.Message{
		Ref: ref, Campaign: kairos.MustID("019a0000-0000-7000-8000-000000000001"),
		Contact: kairos.NewIDAt(at), Ticket: kairos.MustID("019a0000-0000-7000-8000-000000000002"),
		Purpose: "marketing",
		From:    delivery.Address{Name: "The Shop", Email: "shop@kairos.example.com"},
		To:      delivery.Address{Name: fmt.Sprintf("Zoë %d", i), Email: Recipient(i)},
		// The same for every attempt of a notification.
		MessageID:   ref.Notification.String() + "@kairos.example.com",
		Unsubscribe: t.Unsubscribe(),
		ReturnPath:  "bounce+" + ref.String() + "@kairos.example.com",
		Content:     c, Rendered: r, Date: at,
	}
}

// Messages returns n messages, for the persons from first on.
func Messages(tb testing.TB, c *content.Content, first, n int) []*delivery.Message {
	tb.Helper()
	out := make([]*delivery.Message, n)
	for i := range out {
		out[i] = Message(tb, c, first+i)
	}
	return out
}
