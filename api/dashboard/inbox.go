package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"kairos"
	"kairos/internal/devstack"
)

const mailsPerPage = 50

// mailPolicy is for the caught mail itself: it is shown as a mail program
// would, apart from everything else here. Its links open in a new tab.
const mailPolicy = "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; img-src * data:; " +
	"style-src 'unsafe-inline' *; font-src *; frame-ancestors 'self'"

// inboxView is a page of caught mail.
type inboxView struct {
	rows     []*devstack.Message
	to       string
	next     string
	first    bool
	kept     int
	received int64
}

func (v inboxView) link(before string) string { return inboxLink(v.to, before) }

// news is where the page asks for what came after it.
func (v inboxView) news() string {
	return "/dashboard/inbox/new?" + url.Values{"seen": {strconv.FormatInt(v.received, 10)}, "to": {v.to}}.Encode()
}

func inboxLink(to, before string) string {
	q := url.Values{}
	if to != "" {
		q.Set("to", to)
	}
	if before != "" {
		q.Set("before", before)
	}
	if len(q) == 0 {
		return "/dashboard/inbox"
	}
	return "/dashboard/inbox?" + q.Encode()
}

func (d *dashboard) inbox(r *http.Request) (content, error) {
	q := r.URL.Query()
	v := inboxView{to: clip(strings.TrimSpace(q.Get("to")), 320), first: q.Get("before") == ""}
	var before kairos.ID
	if err := before.UnmarshalText([]byte(q.Get("before"))); err != nil {
		return content{}, kairos.Invalid("before", "is no place in this list")
	}
	v.kept, v.received = d.opts.Mail.Count()
	v.rows = d.opts.Mail.List(devstack.MailQuery{To: v.to, Before: before, Limit: mailsPerPage + 1})
	if len(v.rows) > mailsPerPage {
		v.rows = v.rows[:mailsPerPage]
		v.next = v.rows[mailsPerPage-1].ID.String()
	}
	return content{title: "Inbox", section: "inbox", body: inboxPage(v)}, nil
}

// inboxNews tells a page how much came since it was made.
func (d *dashboard) inboxNews(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	seen, err := strconv.ParseInt(q.Get("seen"), 10, 64)
	if err != nil {
		d.fail(w, r, kairos.Invalid("seen", "is no number"))
		return
	}
	kept, received := d.opts.Mail.Count()
	d.write(w, r, http.StatusOK, inboxNews(kept, received-seen, inboxLink(q.Get("to"), "")))
}

func (d *dashboard) message(r *http.Request) (*devstack.Message, error) {
	id, err := idOf(r)
	if err != nil {
		return nil, err
	}
	return d.opts.Mail.Get(id)
}

// headerLine is one header of a mail.
type headerLine struct{ name, value string }

func headersOf(m *devstack.Message) []headerLine {
	var lines []headerLine
	for name, values := range m.Header {
		for _, v := range values {
			lines = append(lines, headerLine{name, v})
		}
	}
	slices.SortStableFunc(lines, func(a, b headerLine) int { return strings.Compare(a.name, b.name) })
	return lines
}

func (d *dashboard) mail(r *http.Request) (content, error) {
	m, err := d.message(r)
	if err != nil {
		return content{}, err
	}
	return content{title: subjectOf(m), section: "inbox", body: mailPage(m)}, nil
}

func subjectOf(m *devstack.Message) string {
	if strings.TrimSpace(m.Subject) == "" {
		return "(no subject)"
	}
	return m.Subject
}

// mailHTML serves the mail's HTML for the frame. The base element in front of
// it makes its links open in a new tab.
func (d *dashboard) mailHTML(w http.ResponseWriter, r *http.Request) {
	m, err := d.message(r)
	if err == nil && m.HTML == "" {
		err = fmt.Errorf("find html part: %w", kairos.ErrNotFound)
	}
	if err != nil {
		d.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", mailPolicy)
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write([]byte(`<!doctype html><meta charset="utf-8"><base target="_blank">` + m.HTML))
}

// mailRaw serves the mail as it came.
func (d *dashboard) mailRaw(w http.ResponseWriter, r *http.Request) {
	m, err := d.message(r)
	if err != nil {
		d.fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "message/rfc822")
	h.Set("Content-Disposition", `attachment; filename="`+m.ID.String()+`.eml"`)
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	_, _ = w.Write(m.Raw)
}
