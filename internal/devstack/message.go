package devstack

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"kairos"
)

// Message is one caught mail.
type Message struct {
	ID       kairos.ID
	Received time.Time
	From     string   // envelope: MAIL FROM
	To       []string // envelope: RCPT TO
	Subject  string   // decoded
	Header   mail.Header
	Text     string // first text/plain part, decoded to UTF-8
	HTML     string // first text/html part, decoded to UTF-8
	Raw      []byte // as it came
	// Defect says what is wrong with the message's form; empty: nothing. A
	// defective message is kept with what could be read of it.
	Defect string

	seq int64
}

const (
	maxParts = 200 // of a multipart message, all levels together
	maxDepth = 10  // of multiparts within multiparts
)

// size is what the message costs in memory, roughly.
func (m *Message) size() int64 {
	return int64(len(m.Raw) + len(m.Text) + len(m.HTML) + 1024)
}

// sentTo compares with a text in lower case; see MailQuery.To.
func (m *Message) sentTo(to string) bool {
	if to == "" {
		return true
	}
	for _, rcpt := range m.To {
		rcpt = strings.ToLower(rcpt)
		if rcpt == to || !strings.Contains(to, "@") && strings.Contains(rcpt, to) {
			return true
		}
	}
	return false
}

// parseMessage reads a message of RFC 5322 and 2045. It always returns one.
func parseMessage(raw []byte) *Message {
	m := &Message{Raw: raw, Header: mail.Header{}}
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		m.Defect = "header: " + err.Error()
		m.Text = strings.ToValidUTF8(string(raw), "\uFFFD")
		return m
	}
	m.Header = parsed.Header
	m.Subject = decodeHeader(parsed.Header.Get("Subject"))
	p := partReader{message: m}
	if err := p.read(part{parsed.Header.Get("Content-Type"), parsed.Header.Get("Content-Transfer-Encoding"), "", parsed.Body}, 0); err != nil {
		m.Defect = "body: " + err.Error()
	}
	return m
}

type part struct {
	contentType, encoding, disposition string
	body                               io.Reader
}

type partReader struct {
	message *Message
	parts   int
}

func (p *partReader) read(at part, depth int) error {
	if p.parts++; p.parts > maxParts || depth > maxDepth {
		return errors.New("too many parts")
	}
	if at.contentType == "" {
		at.contentType = "text/plain; charset=us-ascii" // RFC 2045 5.2
	}
	media, params, err := mime.ParseMediaType(at.contentType)
	if err != nil {
		return err
	}
	if strings.HasPrefix(media, "multipart/") {
		return p.readAll(multipart.NewReader(at.body, params["boundary"]), depth)
	}
	var into *string
	switch media {
	case "text/plain":
		into = &p.message.Text
	case "text/html":
		into = &p.message.HTML
	}
	if into == nil || *into != "" || strings.HasPrefix(strings.ToLower(at.disposition), "attachment") {
		return nil
	}
	body, err := io.ReadAll(decodeTransfer(at.encoding, at.body))
	*into = decodeCharset(params["charset"], body)
	return err
}

func (p *partReader) readAll(r *multipart.Reader, depth int) error {
	for {
		sub, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = p.read(part{
			sub.Header.Get("Content-Type"), sub.Header.Get("Content-Transfer-Encoding"),
			sub.Header.Get("Content-Disposition"), sub,
		}, depth+1)
		if err != nil {
			return err
		}
	}
}

func decodeTransfer(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	}
	return body // 7bit, 8bit, binary
}

// decodeCharset turns UTF-8, ASCII and Latin-1 into UTF-8. Other charsets keep
// what of them is UTF-8.
func decodeCharset(charset string, body []byte) string {
	switch strings.ToLower(charset) {
	case "iso-8859-1", "latin1", "windows-1252":
		if !utf8.Valid(body) {
			runes := make([]rune, len(body))
			for i, b := range body {
				runes[i] = rune(b)
			}
			return string(runes)
		}
	}
	return strings.ToValidUTF8(string(body), "\uFFFD")
}

func decodeHeader(value string) string {
	decoded, err := new(mime.WordDecoder).DecodeHeader(value)
	if err != nil {
		decoded = value
	}
	return strings.ToValidUTF8(decoded, "\uFFFD")
}
