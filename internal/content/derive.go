package content

import (
	"errors"
	stdhtml "html"
	"regexp"
	"strings"

	"github.com/k3a/html2text"
)

// textWriter collects, while the HTML is walked, plainer HTML for html2text: no
// attributes, no styles, links spelled out after their text.
type textWriter struct {
	set    *set
	b      strings.Builder
	hidden string   // the element whose content isn't shown: head
	hrefs  []string // of the a elements that are open
}

// text adds a text token; hidden text leaves only its Liquid tags, whose effects
// may reach the shown part.
func (w *textWriter) text(piece string, hidden bool) {
	if hidden || w.hidden != "" {
		for _, p := range pieces(piece) {
			if p.letter == aTag {
				w.b.WriteString(p.text)
			}
		}
		return
	}
	w.b.WriteString(escape(stdhtml.UnescapeString(piece)))
}

func (w *textWriter) start(name, tag string, hrefs []string) {
	switch name {
	case "head", "title", "script", "style":
		if w.hidden == "" {
			w.hidden = name
		}
	case "body":
		w.hidden = ""
	case "a", "area":
		href := ""
		if len(hrefs) > 0 && !strings.HasPrefix(strings.TrimSpace(hrefs[0]), "#") {
			href = hrefs[0]
		}
		if name == "a" {
			w.hrefs = append(w.hrefs, href)
		}
	case "img":
		for _, a := range attributes(tag) {
			if a.name == "alt" {
				w.text(" "+a.value+" ", false)
			}
		}
	case "br", "p", "li", "h1", "h2", "h3", "h4", "h5", "h6":
		w.tag(name)
	case "hr", "div", "tr", "table", "blockquote", "section":
		w.tag("br")
	}
}

func (w *textWriter) end(name string) {
	switch name {
	case w.hidden:
		w.hidden = ""
	case "a":
		if n := len(w.hrefs); n > 0 {
			href := strings.TrimSpace(stdhtml.UnescapeString(w.hrefs[n-1]))
			w.hrefs = w.hrefs[:n-1]
			if href != "" {
				w.text(" <"+strings.TrimPrefix(escape(href), "mailto:")+">", false)
			}
		}
	case "p", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6":
		w.tag("/" + name)
	case "td", "th":
		w.text(" ", false)
	case "div", "tr", "table", "blockquote", "section":
		w.tag("br")
	}
}

func (w *textWriter) tag(name string) {
	if w.hidden == "" {
		w.b.WriteString("<" + name + ">")
	}
}

// tail adds the unsubscribe line when the HTML's tail has the footer.
func (w *textWriter) tail(tail string) {
	w.hidden = ""
	for _, p := range pieces(tail) {
		if p.letter == aObject {
			w.b.WriteString("<br><br>Unsubscribe: " + p.text)
		}
	}
}

var (
	invisible  = strings.NewReplacer("\u00a0", " ", "\u200b", "", "\u200c", "", "\ufeff", "", "\u034f", "", "\u00ad", "")
	blankLines = regexp.MustCompile(`\n{3,}`)
)

func (w *textWriter) derive() string {
	t := html2text.HTML2TextWithOptions(w.b.String(), html2text.WithUnixLineBreaks(), html2text.WithListSupport())
	var b strings.Builder
	afterTags := false
	for l := range strings.Lines(invisible.Replace(t)) {
		trimmed := strings.Join(strings.Fields(l), " ")
		if afterTags && trimmed == "" {
			afterTags = false // the line of the tag is blank already
			continue
		}
		afterTags = onlyTags(trimmed)
		if strings.HasPrefix(l, " - ") {
			trimmed = " " + trimmed
		}
		b.WriteString(trimmed + "\n")
	}
	t = blankLines.ReplaceAllString(b.String(), "\n\n")
	return strings.Trim(t, "\n") + "\n"
}

// onlyTags reports whether a line holds Liquid tags and nothing that shows.
func onlyTags(line string) bool {
	for _, p := range pieces(line) {
		if p.letter != aTag && strings.TrimSpace(p.text) != "" {
			return false
		}
	}
	return line != ""
}

var bareURL = regexp.MustCompile(`(?i)\bhttps?://(?:[^\s<>"\x{FDD0}\x{FDD1}]|\x{FDD0}o[0-9]+\x{FDD1})+`)

// trackText makes tracked links of the bare URLs in a text part.
func (s *set) trackText(doc string) (string, error) {
	var out strings.Builder
	done := 0
	for _, at := range bareURL.FindAllStringIndex(doc, -1) {
		u := trimURL(doc[at[0]:at[1]])
		if s.unsubscribes(u) {
			continue
		}
		n, err := s.add(u, true)
		if errors.Is(err, errIncomplete) {
			continue
		}
		if err != nil {
			return "", inText.bad(s.line(doc, at[0]), "%s", err.Error())
		}
		out.WriteString(doc[done:at[0]])
		out.WriteString(placeholder(aLink, n))
		done = at[0] + len(u)
	}
	out.WriteString(doc[done:])
	return out.String(), nil
}

// trimURL takes off the punctuation that belongs to the sentence around a URL.
func trimURL(u string) string {
	for u != "" {
		last := u[len(u)-1]
		switch {
		case strings.IndexByte(`.,;:!?'*_`, last) >= 0,
			last == ')' && !strings.Contains(u, "("),
			last == ']' && !strings.Contains(u, "["),
			last == '}' && !strings.Contains(u, "{"):
			u = u[:len(u)-1]
		default:
			return u
		}
	}
	return u
}
