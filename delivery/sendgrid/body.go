package sendgrid

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"kairos/delivery"
	"kairos/internal/content"
)

// Custom args of each message. They come back in its events, flat. SendGrid's
// own "attempt" of a deferred event would hide ours, so it is there twice.
const (
	argNotification = "notification"
	argAttempt      = "attempt"
	argAttemptToo   = "kairos_attempt"
	argCampaign     = "campaign"
	argTicket       = "ticket"
)

// tracking is off: links and the pixel are our own.
const tracking = `,"tracking_settings":{"click_tracking":{"enable":false,"enable_text":false},` +
	`"open_tracking":{"enable":false},"subscription_tracking":{"enable":false},"ganalytics":{"enable":false}}`

const tagRoom = 24 // bytes of the longest tag

// substitutable reports whether the message's values fit the limits of
// substitutions.
func substitutable(m *delivery.Message) bool {
	n, size := 0, 0
	for _, values := range [...][]string{m.Rendered.Subject, m.Rendered.HTML, m.Rendered.Text} {
		n += len(values)
		for _, v := range values {
			size += len(v) + tagRoom
		}
	}
	return n <= MaxSubstitutions && size <= MaxSubstitutionBytes
}

// The letters of the parts in tags.
const (
	inSubject = 's'
	inHTML    = 'h'
	inText    = 't'
)

// appendTag appends the tag of a hole: "-kairos0h12-". Its beginning, the
// prefix, occurs in no text and no value of the request.
func appendTag(dst []byte, prefix string, part byte, i int) []byte {
	dst = append(append(dst, prefix...), part)
	return append(strconv.AppendInt(dst, int64(i), 10), '-')
}

// freePrefix finds a prefix that nothing in the request holds: a value could
// otherwise name another hole.
func freePrefix(items []item) string {
	c := items[0].m.Content
	constants := [][]string{c.Subject.Const(), c.HTML.Const(), c.Text.Const()}
	for n := 0; ; n++ {
		prefix := "-kairos" + strconv.Itoa(n)
		if !occurs(prefix, constants...) && !inValues(prefix, items) {
			return prefix
		}
	}
}

func inValues(s string, items []item) bool {
	for _, it := range items {
		r := &it.m.Rendered
		if occurs(s, r.Subject, r.HTML, r.Text) {
			return true
		}
	}
	return false
}

func occurs(s string, lists ...[]string) bool {
	for _, list := range lists {
		for _, v := range list {
			if strings.Contains(v, s) {
				return true
			}
		}
	}
	return false
}

// appendBody appends the JSON of a request. A single message travels as it is,
// several as their content with tags and one personalization each.
func (p *Provider) appendBody(dst []byte, items []item) []byte {
	first := items[0].m
	prefix := ""
	if len(items) > 1 {
		prefix = freePrefix(items)
	}
	if dst == nil {
		dst = make([]byte, 0, sizeOf(items))
	}
	dst = append(dst, `{"personalizations":[`...)
	for i, it := range items {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendPersonalization(dst, it, prefix)
	}
	dst = append(dst, `],"from":`...)
	dst = appendAddress(dst, first.From.Email, first.From.Name)
	if first.ReplyTo.Email != "" {
		dst = append(dst, `,"reply_to":`...)
		dst = appendAddress(dst, first.ReplyTo.Email, first.ReplyTo.Name)
	}
	c, r := first.Content, &first.Rendered
	dst = append(dst, `,"subject":`...)
	dst = appendJSON(dst, shared(c.Subject, r.Subject, prefix, inSubject))
	dst = append(dst, `,"content":[`...)
	text := shared(c.Text, r.Text, prefix, inText)
	if text != "" {
		dst = appendJSON(append(dst, `{"type":"text/plain","value":`...), text)
		dst = append(dst, '}')
	}
	if html := shared(c.HTML, r.HTML, prefix, inHTML); html != "" {
		if text != "" {
			dst = append(dst, ',')
		}
		dst = appendJSON(append(dst, `{"type":"text/html","value":`...), html)
		dst = append(dst, '}')
	}
	dst = append(append(dst, ']'), tracking...)
	if p.opts.Sandbox {
		dst = append(dst, `,"mail_settings":{"sandbox_mode":{"enable":true}}`...)
	}
	return append(dst, '}')
}

// sizeOf estimates the bytes of a request.
func sizeOf(items []item) int {
	n := 4096
	for _, p := range [...]content.Part{items[0].m.Content.Subject, items[0].m.Content.HTML, items[0].m.Content.Text} {
		for _, c := range p.Const() {
			n += len(c) + len(c)/8 + tagRoom
		}
	}
	for _, it := range items {
		n += 900
		r := &it.m.Rendered
		for _, values := range [...][]string{r.Subject, r.HTML, r.Text} {
			for _, v := range values {
				n += len(v) + len(v)/16 + tagRoom + 8
			}
		}
	}
	return n
}

// shared returns a part with its values, or with tags in their place.
func shared(p content.Part, values []string, prefix string, part byte) string {
	if prefix == "" {
		return p.Join(values)
	}
	tags := make([]string, p.Holes())
	for i := range tags {
		tags[i] = string(appendTag(nil, prefix, part, i))
	}
	return p.Join(tags)
}

func appendPersonalization(dst []byte, it item, prefix string) []byte {
	m := it.m
	dst = appendAddress(append(dst, `{"to":[`...), it.to, m.To.Name)
	// Reserved, and not used here, are x-sg-id, x-sg-eid, received,
	// dkim-signature, Content-Type, Content-Transfer-Encoding, To, From, Subject,
	// Reply-To, CC and BCC (Mail Send, "headers").
	dst = append(dst, `],"headers":{"Message-ID":`...)
	dst = appendJSON(dst, "<"+m.MessageID+">")
	if m.Unsubscribe != "" {
		dst = appendJSON(append(dst, `,"List-Unsubscribe":`...), "<"+m.Unsubscribe+">")
		dst = append(dst, `,"List-Unsubscribe-Post":"List-Unsubscribe=One-Click"`...)
	}
	ref := m.Ref.String()
	dst = append(dst, `},"custom_args":{"`+argNotification+`":"`...)
	dst = append(append(dst, m.Ref.Notification.String()...), `","`+argAttempt+`":"`...)
	dst = append(append(dst, ref...), `","`+argAttemptToo+`":"`...)
	dst = append(append(dst, ref...), '"')
	if !m.Campaign.IsZero() {
		dst = append(append(append(dst, `,"`+argCampaign+`":"`...), m.Campaign.String()...), '"')
	}
	if !m.Ticket.IsZero() {
		dst = append(append(append(dst, `,"`+argTicket+`":"`...), m.Ticket.String()...), '"')
	}
	dst = append(dst, '}')
	if prefix != "" {
		dst = append(dst, `,"substitutions":{`...)
		n := len(dst)
		dst = appendSubstitutions(dst, prefix, inSubject, m.Rendered.Subject)
		dst = appendSubstitutions(dst, prefix, inHTML, m.Rendered.HTML)
		dst = appendSubstitutions(dst, prefix, inText, m.Rendered.Text)
		if len(dst) > n {
			dst = dst[:len(dst)-1] // the last comma
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

func appendSubstitutions(dst []byte, prefix string, part byte, values []string) []byte {
	for i, v := range values {
		dst = appendTag(append(dst, '"'), prefix, part, i)
		dst = append(appendJSON(append(dst, `":`...), v), ',')
	}
	return dst
}

func appendAddress(dst []byte, addr, name string) []byte {
	dst = appendJSON(append(dst, `{"email":`...), addr)
	if name != "" {
		dst = appendJSON(append(dst, `,"name":`...), name)
	}
	return append(dst, '}')
}

// appendJSON appends s as a JSON string.
func appendJSON(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
			dst = append(append(dst, s[from:i]...), `\ufffd`...)
			i++
			from = i
			continue
		}
		dst = append(dst, s[from:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}
