package content

import (
	stdhtml "html"
	"strings"

	xhtml "golang.org/x/net/html"
)

const footer = `<p style="font-size:12px;color:#666666;text-align:center"><a href="%s" style="color:#666666">Unsubscribe</a></p>`

// rewriteHTML gives each a and area element a tracked destination, adds the
// unsubscribe footer where there is none and the open pixel, and writes the text
// part that follows from the HTML. All three are in placeholder form.
func (s *set) rewriteHTML(doc string) (rewritten, derived string, err error) {
	var (
		out   strings.Builder
		txt   = textWriter{set: s}
		z     = xhtml.NewTokenizer(strings.NewReader(doc))
		at    int    // byte of doc
		raw   string // the element whose text is not HTML: style, script, title, textarea
		depth int    // of Liquid blocks
		tail  = s.tail(doc)
	)
	for {
		tt := z.Next()
		if tt == xhtml.ErrorToken {
			break
		}
		piece := string(z.Raw()) // a copy: reading names and text changes it
		begin := at
		at += len(piece)
		depth += s.depth(piece)
		switch tt {
		case xhtml.TextToken:
			if raw != "" {
				if piece, err = s.rawText(raw, piece); err != nil {
					return "", "", err
				}
			} else if i := strings.Index(piece, "<"+open); i >= 0 {
				return "", "", inHTML.bad(s.line(doc, begin+i), "%s", errTagName.Error())
			}
			txt.text(piece, raw == "style" || raw == "script")
		case xhtml.StartTagToken, xhtml.SelfClosingTagToken:
			nameBytes, _ := z.TagName()
			name := string(nameBytes)
			var hrefs []string
			if piece, hrefs, err = s.startTag(name, piece, func() int { return s.line(doc, begin) }); err != nil {
				return "", "", err
			}
			txt.start(name, piece, hrefs)
			raw = ""
			switch name {
			case "style", "script", "title", "textarea":
				raw = name
			}
		case xhtml.EndTagToken:
			nameBytes, _ := z.TagName()
			name := string(nameBytes)
			raw = ""
			if name == "body" && depth == 0 && tail != "" {
				out.WriteString(tail)
				txt.tail(tail)
				tail = ""
			}
			txt.end(name)
		case xhtml.CommentToken, xhtml.DoctypeToken:
			if err := checkComment(piece); err != nil {
				return "", "", inHTML.bad(s.line(doc, begin), "%s", err.Error())
			}
			txt.text(piece, true)
		}
		out.WriteString(piece)
	}
	if raw != "" {
		return "", "", inHTML.bad(s.line(doc, len(doc)), "has a %s element that is never closed", raw)
	}
	if at != len(doc) {
		return "", "", inHTML.bad(s.line(doc, at), "ends inside a tag")
	}
	if tail != "" {
		out.WriteString(tail)
		txt.tail(tail)
	}
	return out.String(), txt.derive(), nil
}

// tail is what every HTML part ends with: the footer where needed, the pixel.
func (s *set) tail(doc string) string {
	t := `<img src="` + placeholder(aPixel, 0) + `" width="1" height="1" alt="" style="display:block;border:0">`
	if !s.unsubscribes(doc) {
		t = strings.Replace(footer, "%s", s.object("unsubscribe_url"), 1) + t
	}
	return t
}

// depth returns how many more blocks begin than end in a stretch of a document.
func (s *set) depth(doc string) (n int) {
	if !strings.Contains(doc, open) {
		return 0
	}
	for _, p := range pieces(doc) {
		if p.letter == aTag && s.tokens[p.n].begins {
			n++
		} else if p.letter == aTag && s.tokens[p.n].ends {
			n--
		}
	}
	return n
}

// rawText refuses values in scripts and fits those in styles.
func (s *set) rawText(element, doc string) (string, error) {
	var b strings.Builder
	for _, p := range pieces(doc) {
		if p.letter == aObject && element == "script" {
			return "", inHTML.bad(s.tokens[p.n].line, "has a value inside a script")
		}
		if p.letter == aObject && element == "style" {
			p.text = placeholder(aStyle, p.n)
		}
		b.WriteString(p.text)
	}
	return b.String(), nil
}

// checkComment refuses a comment that hides what is added after it, and markup
// whose kind a value decides: what isn't a tag comes as a comment too.
func checkComment(piece string) error {
	switch {
	case strings.HasPrefix(piece, "<!--"):
		if len(piece) < len("<!---->") || !strings.HasSuffix(piece, "-->") && !strings.HasSuffix(piece, "--!>") {
			return errOpenComment
		}
	case strings.HasPrefix(piece, "</"+open), strings.HasPrefix(piece, "<!"+open), strings.HasPrefix(piece, "<?"+open):
		return errTagName
	}
	return nil
}

// startTag checks a start tag and rewrites its href. It returns the hrefs as
// they stand now.
func (s *set) startTag(name, raw string, line func() int) (string, []string, error) {
	if strings.Contains(name, open) {
		return "", nil, inHTML.bad(line(), "%s", errTagName.Error())
	}
	switch name {
	case "base":
		return "", nil, inHTML.bad(line(), "has a base element, which would change where links lead")
	case "iframe", "noembed", "noframes", "noscript", "plaintext", "xmp":
		return "", nil, inHTML.bad(line(), "has a %s element, whose content can't be checked", name)
	}
	var out strings.Builder
	var hrefs []string
	done := 0
	for _, a := range attributes(raw) {
		if err := s.checkAttribute(name, a, line); err != nil {
			return "", nil, err
		}
		if a.name != "href" || name != "a" && name != "area" || !a.hasValue {
			continue
		}
		value := decodeHref(a.value)
		class, err := s.classify(value)
		if err == nil && class == tracked {
			var n int
			if n, err = s.add(value, false); err == nil {
				err = s.nests(value)
			}
			value = placeholder(aLink, n)
		} else {
			value = a.value
		}
		if err != nil {
			return "", nil, inHTML.bad(line(), "%s", err.Error())
		}
		hrefs = append(hrefs, value)
		out.WriteString(raw[done:a.from])
		if a.quote == 0 {
			value = `"` + value + `"`
		}
		out.WriteString(value)
		done = a.to
	}
	out.WriteString(raw[done:])
	return out.String(), hrefs, nil
}

// nests checks that the blocks in a destination begin and end in it.
func (s *set) nests(doc string) error {
	var tokens []token
	for _, p := range pieces(doc) {
		if p.letter == aTag {
			tokens = append(tokens, s.tokens[p.n])
		}
	}
	if _, err := check(inHTML, tokens); err != nil {
		return errSplitBlock
	}
	return nil
}

// checkAttribute refuses values where escaping can't keep them in place.
func (s *set) checkAttribute(element string, a attribute, line func() int) error {
	for _, p := range pieces(a.raw) {
		if p.letter == aObject {
			return inHTML.bad(line(), "has a value in place of an attribute")
		}
	}
	values := false
	for _, p := range pieces(a.value) {
		values = values || p.letter == aObject
	}
	href := a.name == "href" && (element == "a" || element == "area")
	switch {
	case values && (strings.HasPrefix(a.name, "on") || a.name == "srcdoc"):
		return inHTML.bad(line(), "has a value in the attribute %s, which is code", a.name)
	case values && a.quote == 0 && !href:
		return inHTML.bad(line(), "has a value in an attribute without quotes")
	case values && !href && element != "link" && strings.HasSuffix(a.name, "href"),
		values && (a.name == "action" || a.name == "formaction" || a.name == "data" || a.name == "http-equiv"),
		values && element == "meta" && a.name == "content" && strings.Contains(strings.ToLower(a.value), "url"):
		return inHTML.bad(line(), "has a value in the attribute %s, where it could lead anywhere", a.name)
	}
	switch a.name {
	case "href", "src", "action", "formaction", "background", "poster", "data", "xlink:href":
		v := strings.ToLower(strings.TrimSpace(decodeHref(stdhtml.UnescapeString(a.value))))
		scheme := schemePattern.FindString(v)
		switch {
		case scheme == "javascript:", scheme == "vbscript:", scheme == "file:", scheme == "data:" && a.name != "src" && a.name != "background":
			return inHTML.bad(line(), "has a link to %s in the attribute %s", scheme, a.name)
		}
	}
	return nil
}
