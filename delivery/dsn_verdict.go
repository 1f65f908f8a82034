package delivery

import (
	"regexp"
	"strings"

	"kairos"
)

// bounceVerdict is what a DSN says of the delivery.
type bounceVerdict struct {
	kind   string // kairos.NotificationDeferred, kairos.NotificationBounced or "": it arrived, or who knows
	class  string // hard, soft
	code   string // RFC 3463, or ""
	reason string // the server's words as they came: with addresses
}

// badness puts them in an order, the mildest first.
func (v *bounceVerdict) badness() int {
	switch {
	case v.kind == kairos.NotificationDeferred:
		return 1
	case v.kind == kairos.NotificationBounced && v.class != "hard":
		return 2
	case v.kind == kairos.NotificationBounced:
		return 3
	}
	return 0
}

var (
	enhancedCode = regexp.MustCompile(`(?:^|[^0-9.])([245]\.[0-9]{1,3}\.[0-9]{1,3})(?:$|[^0-9.])`)
	replyCode    = regexp.MustCompile(`(?:^|[^0-9.])([45][0-9]{2})(?:$|[ -])`)
)

// verdict returns the mildest of what is said about the recipients: a message
// has one, and where an alias leads to more, one of them has it.
func (n *dsn) verdict() (mildest bounceVerdict) {
	first := true
	for _, g := range n.groups {
		if g.Get("Action") == "" && g.Get("Status") == "" {
			continue // about the message as a whole
		}
		if v := verdictOf(g); first || v.badness() < mildest.badness() {
			mildest, first = v, false
		}
	}
	return mildest
}

func verdictOf(g headerFields) (v bounceVerdict) {
	diagnostic := g.Get("Diagnostic-Code")
	if kind, text, ok := strings.Cut(diagnostic, ";"); ok && len(kind) < 20 {
		diagnostic = strings.TrimSpace(text)
	}
	v.code, v.reason = found(enhancedCode, g.Get("Status")), diagnostic
	// Exim says 5.0.0 of everything: the server's own code says more.
	if said := found(enhancedCode, diagnostic); v.code == "" || strings.HasSuffix(v.code, ".0.0") && said != "" && said[0] == v.code[0] {
		v.code = said
	}
	reply := found(replyCode, diagnostic)
	if v.code == "" && reply != "" {
		v.code = reply[:1] + ".0.0"
	}
	action, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(g.Get("Action"))), " ")
	switch {
	case action == "failed", action == "" && strings.HasPrefix(v.code, "5."):
		v.kind, v.class = kairos.NotificationBounced, "soft"
		if strings.HasPrefix(v.code, "5.") && aboutMailbox(v.code, reply) {
			v.class = "hard"
		}
	case action == "delayed", action == "" && strings.HasPrefix(v.code, "4."):
		v.kind, v.class = kairos.NotificationDeferred, "soft"
	}
	return v
}

// aboutMailbox tells permanent failures that hold for the next message too from
// those about this one, its sender, its content or the room that is left (RFC
// 3463, 3.3 to 3.8): a block for policy says nothing about the mailbox.
func aboutMailbox(code, reply string) bool {
	switch code {
	case "5.2.2", "5.2.3", "5.4.5", "5.4.6", "5.4.7": // full, too long, congested, loop, expired
		return false
	case "5.0.0":
		return reply != "552" && reply != "554" // no room, no reason
	}
	switch code[:4] {
	case "5.3.", "5.5.", "5.6.", "5.7.": // system, protocol, content, policy
		return false
	}
	return true
}

func found(what *regexp.Regexp, text string) string {
	if m := what.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// mailboxes are those that the DSN names as the recipient: the final one, the
// one first asked for, and the one that the returned message was written to.
func (n *dsn) mailboxes() (all []string) {
	for _, g := range n.groups {
		for _, name := range [...]string{"Final-Recipient", "Original-Recipient"} {
			for _, value := range g[name] {
				if _, address, ok := strings.Cut(value, ";"); ok {
					all = append(all, strings.ToLower(strings.Trim(unXtext(address), "<> ")))
				}
			}
		}
	}
	for _, value := range n.returned["To"] {
		for _, w := range words(value) {
			if strings.Contains(w, "@") {
				all = append(all, strings.ToLower(w))
			}
		}
	}
	return all
}

// unXtext undoes the xtext of RFC 3461, where it is one: +2B is a plus sign.
func unXtext(s string) string {
	return xtext.ReplaceAllStringFunc(s, func(hex string) string {
		c := strings.IndexByte(hexDigits, hex[1])<<4 | strings.IndexByte(hexDigits, hex[2])
		if c <= ' ' || c > '~' {
			return hex
		}
		return string(rune(c))
	})
}

const hexDigits = "0123456789ABCDEF"

var xtext = regexp.MustCompile(`\+[0-9A-F]{2}`)

// withoutAddresses returns the server's words on one line, without anything
// that holds an address or the local part of one.
func withoutAddresses(s string, mailboxes []string) string {
	var locals []string
	for _, m := range mailboxes {
		if local, _, _ := strings.Cut(m, "@"); len(local) > 2 {
			locals = append(locals, local)
		}
	}
	all := strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	for i, w := range all {
		low := strings.ToLower(w)
		hidden := strings.Contains(low, "@") || strings.Contains(low, "%40") || strings.Contains(low, "=40")
		for _, local := range locals {
			hidden = hidden || strings.Contains(low, local)
		}
		if hidden {
			all[i] = "<address>"
		}
	}
	s = strings.Join(all, " ")
	return s[:min(len(s), 160)]
}
