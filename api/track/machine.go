package track

import (
	"net/http"
	"strings"
)

// agents are parts of User-Agent headers, in lower case, of programs that look
// at mail before or instead of people: crawlers, link scanners of mail
// gateways, previews of chat programs. General HTTP libraries are not among
// them: who calls with one may well stand for a person.
var agents = []string{
	"bot/", "bot;", "bot)", "crawler", "spider", "slurp", "mailscanner", "barracuda", "proofpoint", "mimecast",
	"urldefense", "trendmicro", "symantec", "messagelabs", "forcepoint", "websense", "fireeye", "sophos", "cisco-ironport",
	"safelinks", "bingpreview", "facebookexternalhit", "slackbot", "twitterbot", "linkedinbot", "whatsapp/", "telegrambot",
	"skypeuripreview", "discordbot", "embedly", "headlesschrome", "phantomjs", "google-safety", "googleother", "feedfetcher",
}

// machine names why a hit is not a person's, or returns "". What can't be seen
// in one request (all links at once, a click in the second of the sending) is
// found where the log is folded.
func machine(r *http.Request) string {
	if r.Method == http.MethodHead {
		return "head"
	}
	for _, name := range [...]string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if v := strings.ToLower(r.Header.Get(name)); strings.Contains(v, "prefetch") || strings.Contains(v, "preview") || strings.Contains(v, "prerender") {
			return "prefetch"
		}
	}
	agent := strings.ToLower(r.Header.Get("User-Agent"))
	if agent == "mozilla/5.0" { // mail privacy proxies fetch every picture, read or not
		return "proxy"
	}
	for _, a := range agents {
		if strings.Contains(agent, a) {
			return "agent"
		}
	}
	return ""
}
