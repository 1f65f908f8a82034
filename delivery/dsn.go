package delivery

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"time"

	"kairos"
)

// MaxBounce is how large a bounce message may be, in bytes.
const MaxBounce = 1 << 20

// Bounds of what is read of a bounce message, whoever wrote it.
const (
	dsnDepth  = 5         // multiparts within each other
	dsnParts  = 50        // parts in all
	dsnReport = 256 << 10 // bytes of the report
	dsnHeader = 64 << 10  // bytes of the returned message
	dsnGroups = 50        // recipients
	dsnFields = 1000      // fields of a group
	dsnValue  = 2000      // bytes of a field
)

// headerAttempt is the header that email.HeaderAttempt writes; a bounce that
// returns the message or its header brings it back.
const headerAttempt = "X-Kairos-Attempt"

// headerFields are those of one header, by their canonical names.
type headerFields = textproto.MIMEHeader

// dsn is what a delivery status notification (RFC 3464) says. Everything in it
// is what a stranger claims.
type dsn struct {
	header   mail.Header
	groups   []headerFields // one for the message, then one for each recipient; nil: no DSN
	returned headerFields   // header of the message it is about; nil: not returned
	parts    int
}

// parseDSN reads a message; false when it is no delivery status notification.
// Broken ones are read as far as they go: one that was cut inside the returned
// message still says what became of it.
func parseDSN(message []byte) (*dsn, bool) {
	for bytes.HasPrefix(message, []byte("From ")) || bytes.HasPrefix(message, []byte(">From ")) { // mbox
		_, message, _ = bytes.Cut(message, []byte("\n"))
	}
	m, err := mail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		return nil, false
	}
	n := &dsn{header: m.Header}
	n.walk(headerFields(m.Header), m.Body, 0, false)
	return n, len(n.groups) > 0
}

// walk reads a part and those within it. A report may be wrapped, say by a
// gateway that adds a footer; a message inside a message is never looked into.
func (n *dsn) walk(header headerFields, body io.Reader, depth int, inReport bool) {
	kind := header.Get("Content-Type")
	if len(kind) > dsnValue {
		return
	}
	media, params, err := mime.ParseMediaType(kind)
	if err != nil {
		return
	}
	body = decoded(header.Get("Content-Transfer-Encoding"), body)
	switch {
	case strings.HasPrefix(media, "multipart/"):
		if media == "multipart/report" {
			if !strings.EqualFold(params["report-type"], "delivery-status") {
				return
			}
			inReport = true
		}
		if depth == dsnDepth || params["boundary"] == "" {
			return
		}
		r := multipart.NewReader(body, params["boundary"])
		for n.parts < dsnParts {
			n.parts++
			p, err := r.NextRawPart()
			if err != nil {
				return
			}
			n.walk(p.Header, p, depth+1, inReport)
		}
	case !inReport:
	case media == "message/delivery-status", media == "message/global-delivery-status":
		if n.groups == nil {
			n.groups = readGroups(body, dsnReport, dsnGroups)
		}
	case media == "message/rfc822", media == "text/rfc822-headers", media == "message/rfc822-headers",
		media == "message/global", media == "message/global-headers":
		if n.returned == nil {
			if first := readGroups(body, dsnHeader, 1); len(first) > 0 {
				n.returned = first[0]
			}
		}
	}
}

// decoded undoes a transfer encoding.
func decoded(encoding string, body io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	}
	return body
}

// readGroups reads up to most groups of fields, with an empty line between
// them, within limit bytes. What is no field is passed over, and so is what
// follows an error of the reader.
func readGroups(r io.Reader, limit int64, most int) (groups []headerFields) {
	text, _ := io.ReadAll(io.LimitReader(r, limit)) // a cut part says what it says
	var group headerFields
	count, last := 0, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			if group != nil {
				groups, group, count, last = append(groups, group), nil, 0, ""
			}
			if len(groups) == most {
				return groups
			}
			continue
		}
		if line[0] == ' ' || line[0] == '\t' {
			if values := group[last]; last != "" && len(values[len(values)-1])+len(line) <= dsnValue {
				values[len(values)-1] += " " + strings.TrimSpace(line)
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		last = ""
		if !ok || len(line) > dsnValue || count == dsnFields {
			continue
		}
		count++
		if group == nil {
			group = headerFields{}
		}
		last = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
		group[last] = append(group[last], strings.TrimSpace(value))
	}
	if group != nil {
		groups = append(groups, group)
	}
	return groups
}

// attempt finds the attempt that the message is about: the envelope recipient
// it was delivered to names it, else what the local mail server noted, else the
// header of the returned message. Number is 0 where only the notification is
// named. False: none.
func (n *dsn) attempt(to string) (kairos.AttemptRef, bool) {
	candidates := []string{to}
	if to == "" {
		for _, name := range [...]string{"Delivered-To", "X-Original-To", "To"} {
			candidates = append(candidates, n.header[name]...)
		}
	}
	for _, text := range candidates {
		if len(text) > dsnValue {
			continue
		}
		for _, word := range words(text) {
			if ref, err := ParseReturnPath(word); err == nil && !ref.Notification.IsZero() {
				return ref, true
			}
		}
	}
	if ref, err := kairos.ParseAttemptRef(n.returned.Get(headerAttempt)); err == nil && !ref.Notification.IsZero() {
		return ref, true
	}
	local, _, _ := strings.Cut(strings.Trim(n.returned.Get("Message-Id"), "<> "), "@")
	if id, err := kairos.ParseID(local); err == nil && !id.IsZero() {
		return kairos.AttemptRef{Notification: id}, true
	}
	return kairos.AttemptRef{}, false
}

// words splits a list of addresses into what may be one.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`<>,;:"()`, r) })
}

// at is the moment it was written, if that lies between two others; else the
// later one.
func (n *dsn) at(from *time.Time, now time.Time) time.Time {
	if values := n.header["Date"]; len(values) > 0 && len(values[0]) <= 100 && from != nil {
		if t, err := mail.ParseDate(values[0]); err == nil && !t.Before(*from) && !t.After(now) {
			return t.UTC()
		}
	}
	return now
}
