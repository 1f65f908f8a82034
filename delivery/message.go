package delivery

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/content"
	"kairos/internal/token"
)

// sheet is what all messages of a batch share.
type sheet struct {
	d          *Delivery
	batch      *batch.Claimed
	campaign   *campaign
	content    *content.Content
	values     map[string]any  // {{ campaign }}
	utm        [][2]string     // parameters that every destination gets
	members    map[string]bool // of {{ contact }} that the content names; nil: any
	attributes bool            // the content may name one of them

	mu    sync.Mutex
	dests map[string]string // constant destinations with their parameters
}

func (d *Delivery) newSheet(b *batch.Claimed, c *campaign, compiled *content.Content) *sheet {
	s := &sheet{d: d, batch: b, campaign: c, content: compiled, dests: map[string]string{},
		values: map[string]any{"id": c.id.String(), "name": c.name}}
	if compiled != nil {
		if names, all := compiled.Members("contact"); !all {
			s.members = names
		}
	}
	s.attributes = s.wantsAttributes()
	u := c.spec.UTM
	for _, p := range [...][2]string{{"utm_source", u.Source}, {"utm_medium", u.Medium}, {"utm_campaign", u.Campaign},
		{"utm_term", u.Term}, {"utm_content", u.Content}} {
		if p[1] != "" {
			s.utm = append(s.utm, p)
		}
	}
	return s
}

// links makes the tracked URLs of one message; it is the content.Tracker.
type links struct {
	s  *sheet
	id kairos.ID
}

// url returns base + path + token + end, or "" for claims without a token.
func (l *links) url(path string, p token.Purpose, no uint16, destination, end string) string {
	var room [512]byte
	b := append(append(room[:0], l.s.d.base...), path...)
	n := len(b)
	b = l.s.d.opts.Keyring.AppendMint(b, token.Claims{Purpose: p, Campaign: l.s.campaign.id, Notification: l.id, Link: no, Destination: destination})
	if len(b) == n {
		return ""
	}
	return string(append(b, end...))
}

// Link implements content.Tracker.
func (l *links) Link(no uint16, destination string) (string, error) {
	u := l.url("/c/", token.PurposeClick, no, l.s.tagged(destination), "")
	if u == "" {
		return "", kairos.Invalid("destination", "is too long for a link")
	}
	return u, nil
}

// Pixel implements content.Tracker.
func (l *links) Pixel() string { return l.url("/o/", token.PurposeOpen, 0, "", ".gif") }

// Unsubscribe implements content.Tracker.
func (l *links) Unsubscribe() string {
	return l.url("/u/", token.PurposeUnsubscribe, 0, "", "")
}

// tagged adds the campaign's UTM parameters to a destination, except those it
// has already.
func (s *sheet) tagged(destination string) string {
	if len(s.utm) == 0 {
		return destination
	}
	s.mu.Lock()
	known, ok := s.dests[destination]
	s.mu.Unlock()
	if ok {
		return known
	}
	out := addParameters(destination, s.utm)
	s.mu.Lock()
	if len(s.dests) < content.MaxLinks { // personal destinations don't pile up
		s.dests[destination] = out
	}
	s.mu.Unlock()
	return out
}

// addParameters leaves the rest of the URL as its author wrote it.
func addParameters(destination string, params [][2]string) string {
	u, err := url.Parse(destination)
	if err != nil {
		return destination
	}
	has := u.Query()
	rest, fragment, hashed := strings.Cut(destination, "#")
	var b strings.Builder
	b.WriteString(rest)
	sep := byte('?')
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		sep = '&'
		if i == len(rest)-1 {
			sep = 0
		}
	}
	for _, p := range params {
		if has.Has(p[0]) {
			continue
		}
		if sep != 0 {
			b.WriteByte(sep)
		}
		sep = '&'
		b.WriteString(p[0] + "=" + url.QueryEscape(p[1]))
	}
	if hashed {
		b.WriteString("#" + fragment)
	}
	return b.String()
}

// fields are the members of {{ contact }} that are no attributes.
var fields = [...]string{"email", "first_name", "last_name", "locale", "timezone", "region", "external_id"}

func (r *recipient) field(i int) string {
	return [...]string{r.email, r.first, r.last, r.locale, r.zone, r.region, r.external}[i]
}

// wantsAttributes reports whether the content may name an attribute.
func (s *sheet) wantsAttributes() bool {
	n := len(s.members)
	for _, f := range fields {
		if s.members[f] {
			n--
		}
	}
	if s.members["id"] {
		n--
	}
	return s.members == nil || n > 0
}

// data is what the template may name for this person: contact (with its
// attributes beside and under "attributes"), campaign, now and, for a
// transactional message, its own values under "data" and by their names. What
// the content doesn't name isn't made.
func (s *sheet) data(r *recipient, now time.Time) (content.Data, error) {
	named := func(member string) bool { return s.members == nil || s.members[member] }
	contact := map[string]any{}
	if s.attributes {
		attributes := map[string]any{}
		if len(r.attributes) > 2 { // more than {}
			if err := json.Unmarshal(r.attributes, &attributes); err != nil {
				return nil, fmt.Errorf("read attributes: %w", err)
			}
		}
		maps.Copy(contact, attributes)
		contact["attributes"] = attributes
	}
	if named("id") {
		contact["id"] = r.contact.String()
	}
	for i, name := range fields {
		if !named(name) {
			continue
		}
		contact[name] = nil
		if value := r.field(i); value != "" {
			contact[name] = value
		}
	}
	out := make(content.Data, 4)
	if len(r.data) > 2 {
		own := map[string]any{}
		if err := json.Unmarshal(r.data, &own); err != nil {
			return nil, fmt.Errorf("read data: %w", err)
		}
		maps.Copy(out, own)
		out["data"] = own
	}
	out["contact"], out["campaign"], out["now"] = contact, s.values, now
	return out, nil
}

// addressOf reads the mailbox of a person. A person without a valid one is
// kairos.ErrInvalid.
func addressOf(r *recipient) (Address, error) {
	if isPlain(r.email) {
		return Address{Name: nameOf(r), Email: r.email}, nil
	}
	parsed, err := mail.ParseAddress(r.email)
	if err != nil || parsed.Name != "" || parsed.Address != strings.TrimSpace(r.email) || strings.ContainsFunc(parsed.Address, unicode.IsControl) {
		return Address{}, kairos.Invalid("email", "is not an address")
	}
	return Address{Name: nameOf(r), Email: parsed.Address}, nil
}

// isPlain tells addresses of letters, digits, dots and dashes with one at sign,
// of which net/mail would return every one as it is.
func isPlain(s string) bool {
	at, last := -1, byte('.')
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '+':
		case c == '.' && last != '.':
		case c == '@' && at < 0 && last != '.':
			at, c = i, '.' // neither part begins with a dot
		default:
			return false
		}
		last = c
	}
	return at > 0 && last != '.'
}

// nameOf is how a person is addressed, on one line.
func nameOf(r *recipient) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsControl(c) || c == '\u2028' || c == '\u2029' {
			return ' '
		}
		return c
	}, strings.TrimSpace(r.first+" "+r.last))
}

// returnPath is the envelope sender of an attempt: a bounce comes back to it.
func (d *Delivery) returnPath(ref kairos.AttemptRef) string {
	if d.opts.BounceDomain == "" {
		return ""
	}
	return "bounce+" + ref.String() + "@" + d.opts.BounceDomain
}

// ParseReturnPath reads the attempt from the envelope sender that a bounce
// came back to.
func ParseReturnPath(address string) (kairos.AttemptRef, error) {
	local, _, _ := strings.Cut(address, "@")
	ref, ok := strings.CutPrefix(strings.ToLower(local), "bounce+")
	if !ok {
		return kairos.AttemptRef{}, kairos.Invalid("return_path", "names no attempt")
	}
	return kairos.ParseAttemptRef(ref)
}
