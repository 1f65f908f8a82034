package track

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMachine(t *testing.T) {
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	for _, c := range []struct {
		method, agent, name, value, want string
	}{
		{agent: firefox},
		{agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"},
		{agent: "Mozilla/5.0 (Linux; Android 9; CUBOT X18 Plus) AppleWebKit/537.36 Chrome/120 Mobile Safari/537.36"},
		{agent: "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"},
		{agent: "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"},
		{agent: "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Microsoft Outlook 16.0)"},
		{agent: ""}, {agent: "curl/8.5.0"}, {agent: "Go-http-client/1.1"}, {agent: "python-requests/2.32.3"}, {agent: "Apache-HttpClient/5.3"},
		{agent: strings.Repeat("x", 4000)},

		{method: http.MethodHead, agent: firefox, want: "head"},
		{agent: firefox, name: "Sec-Purpose", value: "prefetch;prerender", want: "prefetch"},
		{agent: firefox, name: "Purpose", value: "Prefetch", want: "prefetch"},
		{agent: firefox, name: "X-Purpose", value: "preview", want: "prefetch"},
		{agent: firefox, name: "X-Moz", value: "prefetch", want: "prefetch"},
		{agent: firefox, name: "Purpose", value: "reading"},
		{agent: "Mozilla/5.0", want: "proxy"},
		{agent: "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", want: "agent"},
		{agent: "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", want: "agent"},
		{agent: "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (Applebot/0.1)", want: "agent"},
		{agent: "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", want: "agent"},
		{agent: "Slack-ImgProxy (+https://api.slack.com/robots)", want: "agent"},
		{agent: "facebookexternalhit/1.1", want: "agent"}, {agent: "WhatsApp/2.23.20 A", want: "agent"},
		{agent: "Mozilla/5.0 (Windows NT 10.0) SkypeUriPreview Preview/0.5", want: "agent"},
		{agent: "BarracudaCentral", want: "agent"}, {agent: "Mimecast-URL-Protect", want: "agent"}, {agent: "PROOFPOINT scanner", want: "agent"},
		{agent: "Microsoft Office Existence Discovery", want: "agent"},
		{agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/140.0.0.0 Safari/537.36", want: "agent"},
	} {
		if c.method == "" {
			c.method = http.MethodGet
		}
		r := httptest.NewRequest(c.method, "/c/x", nil)
		r.Header.Set("User-Agent", c.agent)
		if c.name != "" {
			r.Header.Set(c.name, c.value)
		}
		require.Equal(t, c.want, machine(r), "%s %q %s=%s", c.method, c.agent, c.name, c.value)
	}
}

func TestAgentsAreLowerCase(t *testing.T) {
	n := 0
	for first, list := range agents {
		for _, a := range list {
			n++
			require.Equal(t, strings.ToLower(string(a)), string(a))
			require.EqualValues(t, first, a[0])
		}
	}
	require.Greater(t, n, 40)
}
