package track

import (
	"bytes"
	"net/http"
	"strings"
)

// agents are parts of User-Agent headers, in lower case, of programs that look
// at mail before or instead of people: crawlers, link scanners of mail
// gateways, previews of chat programs. General HTTP libraries (curl,
// python-requests, Go-http-client) and a missing header are not among them:
// who calls with one may well stand for a person. Nor are the picture proxies
// of Gmail and Yahoo, which fetch when the person opens.
var agents = byFirst(
	// crawlers
	"bot/", "bot;", "bot)", "crawler", "spider", "slurp", "feedfetcher", "googleother", "google-safety", "mediapartners-google",
	"phantomjs", "headlesschrome",
	// gateways that follow links before the mail is in the box
	"mailscanner", "barracuda", "proofpoint", "mimecast", "urldefense", "trendmicro", "symantec", "messagelabs", "forcepoint",
	"websense", "fireeye", "sophos", "cisco-ironport", "safelinks", "paloalto", "vadesecure", "bitdefender", "kaspersky",
	"virustotal", "fortiguard", "existence discovery",
	// previews
	"bingpreview", "facebookexternalhit", "slackbot", "slack-imgproxy", "twitterbot", "linkedinbot", "whatsapp/", "telegrambot",
	"skypeuripreview", "discordbot", "embedly", "iframely", "google-pagerenderer",
)

// byFirst sorts parts by their first byte, so that one walk through a header
// finds any of them.
func byFirst(parts ...string) (table [256][][]byte) {
	for _, p := range parts {
		table[p[0]] = append(table[p[0]], []byte(p))
	}
	return table
}

// maxAgent is how much of a User-Agent header is looked at.
const maxAgent = 512

// purposes are the headers by which a browser says that nobody is looking yet.
var purposes = [...]string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"}

// machine names why a hit is not a person's, or returns "": "head", "prefetch"
// (the browser says that nobody is looking yet), "proxy" (mail privacy
// proxies fetch every picture, read or not) or "agent". What can't be seen in
// one request (all links at once, a click in the second of the sending) is
// found where the log is folded.
func machine(r *http.Request) string {
	if r.Method == http.MethodHead {
		return "head"
	}
	for _, name := range purposes {
		if ahead(r.Header.Get(name)) {
			return "prefetch"
		}
	}
	return program(r.Header.Get("User-Agent"))
}

// ahead reports whether the value of a purpose header says that the page is
// fetched before somebody asked for it.
func ahead(v string) bool {
	if v == "" {
		return false
	}
	v = strings.ToLower(v)
	return strings.Contains(v, "prefetch") || strings.Contains(v, "preview") || strings.Contains(v, "prerender")
}

// program names what a User-Agent header says about who is there: "proxy",
// "agent", or "" for a person.
func program(agent string) string {
	if agent == "Mozilla/5.0" {
		return "proxy"
	}
	var buf [maxAgent]byte
	low := buf[:copy(buf[:], agent)]
	for i, c := range low {
		if 'A' <= c && c <= 'Z' {
			low[i] = c + 'a' - 'A'
		}
	}
	for i, c := range low {
		for _, a := range agents[c] {
			if bytes.HasPrefix(low[i:], a) {
				return "agent"
			}
		}
	}
	return ""
}
