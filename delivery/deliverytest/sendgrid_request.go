package deliverytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/mail"
	"slices"
	"strings"
)

// person is an address object of the API.
type person struct {
	Email string `json:"email"`
	Name  string `json:"name"`
}

// sendRequest is the body of POST /v3/mail/send ("Mail Send").
type sendRequest struct {
	Personalizations []struct {
		To            []person          `json:"to"`
		Cc            []person          `json:"cc"`
		Bcc           []person          `json:"bcc"`
		From          *person           `json:"from"`
		Subject       string            `json:"subject"`
		Headers       map[string]string `json:"headers"`
		Substitutions map[string]string `json:"substitutions"`
		CustomArgs    map[string]string `json:"custom_args"`
		SendAt        int64             `json:"send_at"`
	} `json:"personalizations"`
	From    *person `json:"from"`
	ReplyTo *person `json:"reply_to"`
	Subject string  `json:"subject"`
	Content []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"content"`
	Headers          map[string]string `json:"headers"`
	Categories       []string          `json:"categories"`
	CustomArgs       map[string]string `json:"custom_args"`
	SendAt           int64             `json:"send_at"`
	MailSettings     json.RawMessage   `json:"mail_settings"`
	TrackingSettings json.RawMessage   `json:"tracking_settings"`
}

// reserved headers may not be set.
var reserved = []string{
	"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type",
	"content-transfer-encoding", "to", "from", "subject", "reply-to", "cc", "bcc",
}

// readSend reads and checks a request as SendGrid does.
func readSend(body []byte) ([]GridMail, []apiError) {
	var q sendRequest
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		return nil, []apiError{failure("", "Bad Request")}
	}
	var errs []apiError
	bad := func(field, message string) { errs = append(errs, failure(field, message)) }
	switch n := len(q.Personalizations); {
	case n == 0:
		bad("personalizations", "You must have at least one personalization.")
	case n > 1000:
		bad("personalizations", fmt.Sprintf("The personalization block is limited to 1000 personalizations per API request. You have provided %d personalizations.", n))
	}
	if q.From == nil || !isAddress(q.From.Email) {
		bad("from", "The from object must be provided for every email send.")
	}
	if q.ReplyTo != nil && !isAddress(q.ReplyTo.Email) {
		bad("reply_to", "The reply_to email does not contain a valid address.")
	}
	text, html := "", ""
	if len(q.Content) == 0 {
		bad("content", "Unless a valid template_id is provided, the content parameter is required.")
	}
	for i, c := range q.Content {
		field := fmt.Sprintf("content.%d", i)
		switch {
		case c.Value == "":
			bad(field+".value", "The content value must be a string at least one character in length.")
		case c.Type == "text/plain" && i == 0:
			text = c.Value
		case c.Type == "text/html" && html == "":
			html = c.Value
		default:
			bad(field+".type", "If present, text/plain must be first, followed by text/html.")
		}
	}
	seen := map[string]bool{}
	mails := make([]GridMail, 0, len(q.Personalizations))
	for i, p := range q.Personalizations {
		field := fmt.Sprintf("personalizations.%d", i)
		if len(p.To) != 1 || len(p.Cc)+len(p.Bcc) > 0 {
			bad(field+".to", "The to array is required for all personalization objects.")
			continue
		}
		to := p.To[0]
		if !isAddress(to.Email) {
			bad(field+".to.0.email", "Does not contain a valid address.")
		}
		if key := strings.ToLower(to.Email); seen[key] {
			bad("personalizations", "Each unique email address in the personalizations array should only be included once.")
		} else {
			seen[key] = true
		}
		for name, value := range p.Headers {
			if slices.Contains(reserved, strings.ToLower(name)) {
				bad(field+".headers", "The header "+name+" is reserved.")
			}
			if strings.ContainsAny(name+value, "\r\n") || !ascii(name+value) {
				bad(field+".headers", "Headers must be encoded.")
			}
		}
		if n := size(p.Substitutions); n > 10_000 {
			bad(field+".substitutions", "Substitutions are limited to 10000 bytes.")
		}
		if n := size(p.CustomArgs) + size(q.CustomArgs); n > 10_000 {
			bad(field+".custom_args", "Custom args are limited to 10000 bytes.")
		}
		subject := p.Subject
		if subject == "" {
			subject = q.Subject
		}
		if subject == "" {
			bad("subject", "The subject is required.")
		}
		args := maps.Clone(q.CustomArgs)
		if args == nil {
			args = map[string]string{}
		}
		maps.Copy(args, p.CustomArgs)
		mails = append(mails, GridMail{
			To: to.Email, Name: to.Name, Subject: subject, Text: text, HTML: html,
			Headers: p.Headers, Args: args, Substitutions: p.Substitutions,
		})
	}
	return mails, errs
}

func isAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

func size(m map[string]string) int {
	n := 0
	for k, v := range m {
		n += len(k) + len(v)
	}
	return n
}

// Rendered returns subject, text and HTML after substitution, tag after tag, so
// that a value which holds a tag would show.
func (m GridMail) Rendered() (subject, text, html string) {
	subject, text, html = m.Subject, m.Text, m.HTML
	for _, tag := range slices.Sorted(maps.Keys(m.Substitutions)) {
		v := m.Substitutions[tag]
		subject = strings.ReplaceAll(subject, tag, v)
		text = strings.ReplaceAll(text, tag, v)
		html = strings.ReplaceAll(html, tag, v)
	}
	return subject, text, html
}
