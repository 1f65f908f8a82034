package email_test

import (
	"bytes"
	"context"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/delivery/email"
	"kairos/internal/content"
)

// parsed is a message as a mail program reads it.
type parsed struct {
	header     mail.Header
	text, html string
}

func parse(t testing.TB, raw []byte) parsed {
	t.Helper()
	checkWire(t, raw)
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	require.NoError(t, err)
	p := parsed{header: m.Header}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	if kind == "text/plain" {
		b, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		require.NoError(t, err)
		p.text = string(b)
		return p
	}
	require.Equal(t, "multipart/alternative", kind)
	mr := multipart.NewReader(m.Body, params["boundary"])
	for _, dst := range []*string{&p.text, &p.html} {
		part, err := mr.NextPart() // decodes quoted-printable
		require.NoError(t, err)
		b, err := io.ReadAll(part)
		require.NoError(t, err)
		*dst = string(b)
	}
	_, err = mr.NextPart()
	require.ErrorIs(t, err, io.EOF)
	return p
}

// checkWire checks what the transport relies on.
func checkWire(t testing.TB, raw []byte) {
	t.Helper()
	require.True(t, bytes.HasSuffix(raw, []byte("\r\n")))
	for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\r\n")), []byte("\r\n")) {
		require.LessOrEqual(t, len(line), 998)
		require.False(t, bytes.HasPrefix(line, []byte(".")), "line begins with a dot: %q", line)
		for _, c := range line {
			require.True(t, c >= ' ' && c <= '~' || c == '\t', "byte %#x on the wire in %q", c, line)
		}
	}
}

func compile(t testing.TB, s content.Source) *content.Content {
	t.Helper()
	c, err := content.Compile(s)
	require.NoError(t, err)
	return c
}

func render(t testing.TB, m *delivery.Message, data content.Data) {
	t.Helper()
	r, err := m.Content.Render(context.Background(), data, nil)
	require.NoError(t, err)
	m.Rendered = r
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestMessageReadsAsItWasWritten(t *testing.T) {
	c := deliverytest.Letter(t)
	m := deliverytest.Message(t, c, 3)
	m.ReplyTo = delivery.Address{Name: `Fürsorge, "Abt. 7"`, Email: "help@kairos.example.com"}
	raw, err := email.AppendMessage([]byte("before"), m)
	require.NoError(t, err)
	require.Equal(t, "before", string(raw[:6]))
	p := parse(t, raw[6:])

	require.Equal(t, crlf(c.HTML.Join(m.Rendered.HTML)), p.html)
	require.Equal(t, strings.TrimSuffix(crlf(c.Text.Join(m.Rendered.Text)), "\r\n"), strings.TrimSuffix(p.text, "\r\n"))
	subject, err := new(mime.WordDecoder).DecodeHeader(p.header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "Zoë3, your autumn offer", subject)
	for name, want := range map[string]delivery.Address{"From": m.From, "To": m.To, "Reply-To": m.ReplyTo} {
		list, err := p.header.AddressList(name)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, want, delivery.Address{Name: list[0].Name, Email: list[0].Address})
	}
	at, err := p.header.Date()
	require.NoError(t, err)
	require.True(t, at.Equal(m.Date))
	require.Equal(t, "<"+m.MessageID+">", p.header.Get("Message-ID"))
	require.Equal(t, "<"+m.Unsubscribe+">", p.header.Get("List-Unsubscribe"))
	require.Equal(t, "List-Unsubscribe=One-Click", p.header.Get("List-Unsubscribe-Post"))
	require.Equal(t, "1.0", p.header.Get("MIME-Version"))
	require.Equal(t, m.Ref.String(), p.header.Get(email.HeaderAttempt))
	require.Equal(t, m.Ticket.String(), p.header.Get(email.HeaderTicket))
	require.Equal(t, m.Campaign.String()+":marketing:kairos", p.header.Get("Feedback-ID"))
}

func TestMessageIsTheSameEachTime(t *testing.T) {
	var c email.Composer
	m := deliverytest.Message(t, deliverytest.Letter(t), 1)
	first, err := c.AppendMessage(nil, m)
	require.NoError(t, err)
	for range 40 { // other templates push this one out of the memory
		other := deliverytest.Message(t, deliverytest.Letter(t), 2)
		_, err := c.AppendMessage(nil, other)
		require.NoError(t, err)
		again, err := c.AppendMessage(nil, m)
		require.NoError(t, err)
		require.Equal(t, string(first), string(again))
	}
}

func TestTransactionalMessageHasNoListHeaders(t *testing.T) {
	m := deliverytest.Message(t, deliverytest.Letter(t), 1)
	m.Unsubscribe = ""
	raw, err := email.AppendMessage(nil, m)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "List-Unsubscribe")
}

func TestTextAlone(t *testing.T) {
	m := deliverytest.Message(t, deliverytest.Letter(t), 1)
	m.Content = compile(t, content.Source{Subject: "Hi", Text: "One\n.dot\nFrom here \nend"})
	render(t, m, nil)
	raw, err := email.AppendMessage(nil, m)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(parse(t, raw).text, "One\r\n.dot\r\nFrom here \r\nend"))
}

func TestSubjects(t *testing.T) {
	for name, s := range map[string]string{
		"plain":            "Autumn offer",
		"long":             strings.Repeat("a word and ", 30) + "end",
		"one long word":    strings.Repeat("x", 2000),
		"spaces":           "a" + strings.Repeat(" ", 200) + "b",
		"other script":     strings.Repeat("Ελληνικά και 日本語 ", 20) + "🎉",
		"looks encoded":    "=?utf-8?q?not_so?=",
		"emoji at an edge": strings.Repeat("x", 47) + "🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉🎉",
	} {
		t.Run(name, func(t *testing.T) {
			m := deliverytest.Message(t, deliverytest.Letter(t), 1)
			m.Content = compile(t, content.Source{Subject: "{{ s }}", Text: "x"})
			render(t, m, content.Data{"s": s})
			raw, err := email.AppendMessage(nil, m)
			require.NoError(t, err)
			got, err := new(mime.WordDecoder).DecodeHeader(parse(t, raw).header.Get("Subject"))
			require.NoError(t, err)
			require.Equal(t, s, got)
			for line := range strings.SplitSeq(string(raw), "\r\n") {
				if strings.Contains(line, "=?utf-8?b?") {
					require.LessOrEqual(t, len(line), 76)
				}
			}
		})
	}
}

func TestHostileInputIsRefused(t *testing.T) {
	c := deliverytest.Letter(t)
	for name, spoil := range map[string]func(*delivery.Message){
		"line in name":             func(m *delivery.Message) { m.To.Name = "A\r\nBcc: x@example.com" },
		"bare line feed in name":   func(m *delivery.Message) { m.From.Name = "A\nB" },
		"NUL in name":              func(m *delivery.Message) { m.From.Name = "A\x00" },
		"name that isn't UTF-8":    func(m *delivery.Message) { m.From.Name = "A\xff" },
		"line in address":          func(m *delivery.Message) { m.To.Email = "a@example.com\r\nX: y" },
		"bracket in address":       func(m *delivery.Message) { m.To.Email = "a@example.com> <b@example.com" },
		"two addresses":            func(m *delivery.Message) { m.To.Email = "a@example.com,b@example.com" },
		"quoted local part":        func(m *delivery.Message) { m.To.Email = `"a b"@example.com` },
		"comment":                  func(m *delivery.Message) { m.To.Email = "a(c)@example.com" },
		"source route":             func(m *delivery.Message) { m.To.Email = "@x:a@example.com" },
		"percent hack with at":     func(m *delivery.Message) { m.To.Email = "a@b@example.com" },
		"space":                    func(m *delivery.Message) { m.To.Email = "a b@example.com" },
		"other script, local part": func(m *delivery.Message) { m.To.Email = "дом@example.com" },
		"no host":                  func(m *delivery.Message) { m.To.Email = "a@" },
		"empty label":              func(m *delivery.Message) { m.To.Email = "a@example..com" },
		"too long":                 func(m *delivery.Message) { m.To.Email = strings.Repeat("a", 65) + "@example.com" },
		"no sender":                func(m *delivery.Message) { m.From.Email = "" },
		"line in message id":       func(m *delivery.Message) { m.MessageID = "a@b\r\nX: y" },
		"bracket in message id":    func(m *delivery.Message) { m.MessageID = "a@b>" },
		"no message id":            func(m *delivery.Message) { m.MessageID = "" },
		"line in unsubscribe":      func(m *delivery.Message) { m.Unsubscribe = "https://x/\r\nX: y" },
		"unsubscribe isn't http":   func(m *delivery.Message) { m.Unsubscribe = "javascript:alert(1)" },
		"unsubscribe too long":     func(m *delivery.Message) { m.Unsubscribe = "https://x/" + strings.Repeat("a", 1000) },
		"control in subject":       func(m *delivery.Message) { m.Rendered.Subject = []string{"a\r\nBcc: b@example.com"} },
		"values don't fit":         func(m *delivery.Message) { m.Rendered.HTML = m.Rendered.HTML[1:] },
		"no content":               func(m *delivery.Message) { m.Content = nil },
	} {
		t.Run(name, func(t *testing.T) {
			m := deliverytest.Message(t, c, 1)
			spoil(m)
			raw, err := email.AppendMessage([]byte("before"), m)
			require.ErrorIs(t, err, kairos.ErrInvalid)
			require.Equal(t, "before", string(raw))
			require.NotContains(t, err.Error(), "example")
		})
	}
}

func TestPurposeCannotBreakAHeader(t *testing.T) {
	m := deliverytest.Message(t, deliverytest.Letter(t), 1)
	m.Purpose = "a\r\nBcc: b@example.com"
	raw, err := email.AppendMessage(nil, m)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "Bcc")
}

func TestHostNamesInOtherScripts(t *testing.T) {
	m := deliverytest.Message(t, deliverytest.Letter(t), 1)
	m.To.Email = "post@bücher.example"
	raw, err := email.AppendMessage(nil, m)
	require.NoError(t, err)
	require.Contains(t, string(raw), "<post@xn--bcher-kva.example>")
}

// FuzzAppendMessage: whatever the values, the message is refused or reads back as
// exactly these headers and these texts.
func FuzzAppendMessage(f *testing.F) {
	c := compile(f, content.Source{
		Subject: "Hi {{ s }}!", HTML: "<p>{{ s }} \n.</p>\nFrom {{ s }}", Text: "{{ s }}\r\n. {{ s }} \nend",
	})
	f.Add("Zoë", "a@example.com", "Zoë\r\nX: y", ".\r\nQUIT")
	f.Add("A B", "a.b+c@example.com", " ", "=3D=\r\n--=_k.")
	f.Add(`"\`, "post@bücher.example", "=?utf-8?q?a?=", strings.Repeat("long ", 200))
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, name, addr, subject, value string) {
		m := &delivery.Message{
			Ref:  kairos.AttemptRef{Notification: kairos.MustID("019a0000-0000-7000-8000-000000000001"), Number: 1},
			From: delivery.Address{Name: name, Email: "shop@example.com"}, To: delivery.Address{Name: name, Email: addr},
			MessageID: "a@example.com", Content: c, Date: at,
			Rendered: filled(c, subject, value),
		}
		raw, err := email.AppendMessage(nil, m)
		if err != nil {
			require.Empty(t, raw)
			require.NotContains(t, err.Error(), "fit its content")
			return
		}
		noSmuggling(t, raw)
		p := parse(t, raw)
		require.Len(t, p.header, 8, "a header was added")
		list, err := p.header.AddressList("To")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.True(t, list[0].Address == addr || !isASCII(addr), "%q became %q", addr, list[0].Address)
		require.Equal(t, breaks(c.HTML.Join(m.Rendered.HTML)), breaks(p.html))
		require.Equal(t, strings.TrimRight(breaks(c.Text.Join(m.Rendered.Text)), "\n"), strings.TrimRight(breaks(p.text), "\n"))
	})
}

// filled puts a value into every hole of a content.
func filled(c *content.Content, subject, value string) content.Rendered {
	return content.Rendered{
		Subject: slices.Repeat([]string{subject}, c.Subject.Holes()),
		HTML:    slices.Repeat([]string{value}, c.HTML.Holes()), Text: slices.Repeat([]string{value}, c.Text.Holes()),
	}
}

// noSmuggling: no line begins with a dot, so that none has to be stuffed and
// none can end the message; every line end is CRLF, so that nobody reads
// another line than we wrote.
func noSmuggling(t *testing.T, raw []byte) {
	t.Helper()
	text := string(raw)
	require.False(t, strings.HasPrefix(text, ".") || strings.Contains(text, "\r\n."), "a line begins with a dot")
	bare := strings.ReplaceAll(text, "\r\n", "")
	require.False(t, strings.ContainsAny(bare, "\r\n"), "a bare CR or LF")
}

func TestNoLineCanEndTheMessage(t *testing.T) {
	c := compile(t, content.Source{
		Subject: "Hi {{ s }}!", HTML: "<p>{{ s }} \n.</p>\nFrom {{ s }}", Text: "{{ s }}\r\n. {{ s }} \nend",
	})
	for _, value := range []string{".", ".\r\n", "\r\n.\r\nMAIL FROM:<a@example.com>", "\n.\n", "\r.\r", "\r.\n", "..", strings.Repeat("x", 75) + ".", strings.Repeat(".", 200)} {
		m := deliverytest.Message(t, c, 1)
		m.Rendered = filled(c, "s", value)
		raw, err := email.AppendMessage(nil, m)
		require.NoError(t, err, "%q", value)
		noSmuggling(t, raw)
	}
}

func isASCII(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0 }

// breaks makes all line ends alike.
func breaks(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}
