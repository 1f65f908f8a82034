package email

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"kairos"
	"kairos/delivery"
	"kairos/internal/content"
)

// Headers of our own. They hold ids alone, so a bounce that quotes the headers
// leads back to the attempt.
const (
	HeaderAttempt = "X-Kairos-Attempt" // kairos.AttemptRef
	HeaderTicket  = "X-Kairos-Ticket"  // id of the ticket
)

// keptContents is how many encoded templates a Composer keeps.
const keptContents = 16

// Composer writes messages. It encodes the constant text of a template once and
// keeps the newest 16 of them. The zero value is ready; safe for concurrent use.
type Composer struct {
	kept atomic.Pointer[[]*encoded]
}

// encoded is a template whose constant text is in transfer encoding.
type encoded struct {
	of         *content.Content
	html, text [][]byte // nil: the template has no such part
	size       int
}

// AppendMessage appends m as it travels: headers, an empty line and a body of
// text and HTML in quoted-printable, with CRLF at the end of each line. The error
// is a kairos.FieldError that never holds the value; dst is then returned as it
// was.
func AppendMessage(dst []byte, m *delivery.Message) ([]byte, error) {
	var c Composer
	return c.AppendMessage(dst, m)
}

// AppendMessage is the function AppendMessage with the Composer's memory.
func (c *Composer) AppendMessage(dst []byte, m *delivery.Message) ([]byte, error) {
	if m.Content == nil {
		return dst, kairos.Invalid("content", "is missing")
	}
	e := c.encoded(m.Content)
	if n := e.size + 4096; cap(dst)-len(dst) < n {
		dst = append(make([]byte, 0, max(len(dst)+n, 2*cap(dst))), dst...)
	}
	out, err := appendHeaders(dst, m)
	if err != nil {
		return dst, err
	}
	if e.html == nil || e.text == nil {
		pieces, values, kind := e.text, m.Rendered.Text, "plain"
		if e.text == nil {
			pieces, values, kind = e.html, m.Rendered.HTML, "html"
		}
		if out, err = appendPart(out, kind, pieces, values); err != nil {
			return dst, err
		}
		return out, nil
	}
	// "=_" never occurs in quoted-printable, so no text can hold the boundary.
	var boundary [48]byte
	b := append(boundary[:0], "=_k."...)
	b = appendHex(b, m.Ref.Notification)
	out = append(out, "Content-Type: multipart/alternative;\r\n boundary=\""...)
	out = append(append(out, b...), "\"\r\n\r\n--"...)
	out = append(append(out, b...), crlf...)
	if out, err = appendPart(out, "plain", e.text, m.Rendered.Text); err != nil {
		return dst, err
	}
	out = append(append(append(out, "--"...), b...), crlf...)
	if out, err = appendPart(out, "html", e.html, m.Rendered.HTML); err != nil {
		return dst, err
	}
	return append(append(append(out, "--"...), b...), "--\r\n"...), nil
}

// appendHeaders appends all headers but those about the body.
func appendHeaders(dst []byte, m *delivery.Message) ([]byte, error) {
	dst, err := appendMailbox(dst, "From", "from", m.From)
	if err != nil {
		return dst, err
	}
	if m.ReplyTo.Email != "" {
		if dst, err = appendMailbox(dst, "Reply-To", "reply_to", m.ReplyTo); err != nil {
			return dst, err
		}
	}
	if dst, err = appendMailbox(dst, "To", "to", m.To); err != nil {
		return dst, err
	}
	if len(m.Rendered.Subject) != m.Content.Subject.Holes() {
		return dst, kairos.Invalid("rendered", "doesn't fit its content")
	}
	if dst, err = appendText(dst, "Subject", "subject", m.Content.Subject.Join(m.Rendered.Subject)); err != nil {
		return dst, err
	}
	dst = append(dst, "Date: "...)
	dst = append(m.Date.AppendFormat(dst, time.RFC1123Z), crlf...)
	if strings.Count(m.MessageID, "@") != 1 {
		return dst, kairos.Invalid("message_id", "must have the form id@domain")
	}
	if dst, err = appendToken(dst, "Message-ID", "message_id", m.MessageID); err != nil {
		return dst, err
	}
	if m.Unsubscribe != "" {
		// RFC 8058: a provider posts List-Unsubscribe=One-Click to this URL.
		if !strings.HasPrefix(m.Unsubscribe, "https://") && !strings.HasPrefix(m.Unsubscribe, "http://") {
			return dst, kairos.Invalid("unsubscribe", "must be an http or https URL")
		}
		if dst, err = appendToken(dst, "List-Unsubscribe", "unsubscribe", m.Unsubscribe); err != nil {
			return dst, err
		}
		dst = append(dst, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"...)
	}
	if !m.Campaign.IsZero() && isSlug(m.Purpose) {
		// Gmail's complaint rates by campaign and purpose.
		dst = appendID(append(dst, "Feedback-ID: "...), m.Campaign)
		dst = append(append(append(dst, ':'), m.Purpose...), ":kairos\r\n"...)
	}
	if !m.Ref.Notification.IsZero() {
		dst = appendID(append(dst, HeaderAttempt+": "...), m.Ref.Notification)
		dst = append(strconv.AppendInt(append(dst, '.'), int64(m.Ref.Number), 10), crlf...)
	}
	if !m.Ticket.IsZero() {
		dst = append(appendID(append(dst, HeaderTicket+": "...), m.Ticket), crlf...)
	}
	return append(dst, "MIME-Version: 1.0\r\n"...), nil
}

// appendPart appends the headers and the text of one part.
func appendPart(dst []byte, kind string, pieces [][]byte, values []string) ([]byte, error) {
	if len(values) != len(pieces)-1 {
		return dst, kairos.Invalid("rendered", "doesn't fit its content")
	}
	dst = append(append(append(dst, "Content-Type: text/"...), kind...),
		"; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"...)
	for i, p := range pieces {
		dst = append(dst, p...)
		if i < len(values) {
			dst = appendQuoted(dst, values[i])
		}
	}
	// Only a soft break can stand at the end: the part's own break follows.
	return append(dst, crlf...), nil
}

// encoded returns the kept form of a template, or makes it.
func (c *Composer) encoded(of *content.Content) *encoded {
	old := c.kept.Load()
	if old != nil {
		for _, e := range *old {
			if e.of == of {
				return e
			}
		}
	}
	e := &encoded{of: of, html: encodePieces(of.HTML), text: encodePieces(of.Text)}
	for _, pieces := range [][][]byte{e.html, e.text} {
		for _, p := range pieces {
			e.size += len(p) + 256
		}
	}
	next := []*encoded{e}
	if old != nil {
		next = append(next, (*old)[:min(len(*old), keptContents-1)]...)
	}
	c.kept.CompareAndSwap(old, &next) // lost against another: made again next time
	return e
}

// encodePieces returns nil for a part that the template doesn't have.
func encodePieces(p content.Part) [][]byte {
	var out [][]byte
	empty := p.Holes() == 0
	for _, s := range p.Const() {
		empty = empty && s == ""
		out = append(out, appendQuoted(nil, s))
	}
	if empty {
		return nil
	}
	return out
}

func appendHex(dst []byte, id kairos.ID) []byte {
	for _, c := range id {
		dst = append(dst, hexes[c>>4], hexes[c&15])
	}
	return dst
}

func appendID(dst []byte, id kairos.ID) []byte {
	const lower = "0123456789abcdef"
	for i, c := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, lower[c>>4], lower[c&15])
	}
	return dst
}

// isSlug tells words that are safe in any header.
func isSlug(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '_' {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// Check reports whether AppendMessage would write m, without the work. The error
// is a kairos.FieldError that never holds the value.
func Check(m *delivery.Message) error {
	if m.Content == nil {
		return kairos.Invalid("content", "is missing")
	}
	r := &m.Rendered
	if len(r.Subject) != m.Content.Subject.Holes() || len(r.HTML) != m.Content.HTML.Holes() || len(r.Text) != m.Content.Text.Holes() {
		return kairos.Invalid("rendered", "doesn't fit its content")
	}
	_, err := appendHeaders(make([]byte, 0, 2048), m)
	return err
}
