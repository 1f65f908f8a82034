package delivery

import (
	"net/mail"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/token"
)

func TestMessage(t *testing.T) {
	w := plan(t, 1, 1, func(s *kairos.CampaignSpec) {
		s.UTM = kairos.UTM{Source: "kairos", Medium: "e mail", Campaign: "autumn"}
	})
	w.exec(`UPDATE contacts SET first_name = E'Ann\r\nBcc: x', attributes = '{"city":"<Oslo>","email":"other","nested":{"a":1}}'`)
	f := newFake(1, 1)
	d := w.deliveryWith(Options{Providers: []Provider{f}, BounceDomain: "bounce.shop.example", ReplyTo: Address{"", "help@shop.example"}})
	w.drain(d)
	require.Len(t, f.messages, 1)
	m := f.messages[0]
	id := w.notes[0]
	require.Equal(t, kairos.AttemptRef{Notification: id, Number: 1}, m.Ref)
	require.Equal(t, id.String()+"@shop.example", m.MessageID)
	require.Equal(t, Address{"Ann  Bcc: x Lee", "P0@example.org"}, m.To)
	require.Equal(t, Address{"Shop", "news@shop.example"}, m.From)
	require.Equal(t, Address{"", "help@shop.example"}, m.ReplyTo)
	require.Equal(t, "marketing", m.Purpose)
	require.Equal(t, w.clock.Now(), m.Date)
	require.False(t, m.Ticket.IsZero())

	ref, err := ParseReturnPath(m.ReturnPath)
	require.NoError(t, err)
	require.Equal(t, m.Ref, ref)
	require.True(t, strings.HasSuffix(m.ReturnPath, "@bounce.shop.example"))
	require.LessOrEqual(t, strings.IndexByte(m.ReturnPath, '@'), 64, "RFC 5321 4.5.3.1.1")

	subject, html := m.Content.Subject.Join(m.Rendered.Subject), m.Content.HTML.Join(m.Rendered.HTML)
	require.NotContains(t, subject, "\n")
	require.Contains(t, html, "&lt;Oslo&gt;")
	click := between(html, `href="https://go.example/c/`, `"`)
	claims, err := w.ring.Open(token.PurposeClick, click)
	require.NoError(t, err)
	require.Equal(t, token.Claims{Purpose: token.PurposeClick, Campaign: w.campaign, Notification: id, Link: 1,
		Destination: "https://shop.example/a?b=1&utm_source=kairos&utm_medium=e+mail&utm_campaign=autumn#c"}, claims)
	_, err = w.ring.Open(token.PurposeOpen, between(html, "https://go.example/o/", ".gif"))
	require.NoError(t, err)
	unsubscribe, ok := strings.CutPrefix(m.Unsubscribe, "https://go.example/u/")
	require.True(t, ok)
	claims, err = w.ring.Open(token.PurposeUnsubscribe, unsubscribe)
	require.NoError(t, err)
	require.Equal(t, id, claims.Notification)
	require.NotContains(t, html, "p0@example.org")
}

func TestTransactionalMessage(t *testing.T) {
	w := plan(t, 1, 1, func(s *kairos.CampaignSpec) { s.Purpose = "transactional" })
	w.exec(`UPDATE template_versions SET subject = '{{ order }} {{ data.order }} {{ contact.email }} {{ campaign.name }}'`)
	w.exec(`UPDATE notifications SET data = '{"order":"A-17","contact":"x"}'`)
	f := newFake(1, 1)
	d := w.delivery(f)
	_, err := d.SendFirst(w.ctx, UrgentTask{w.due()[0]})
	require.NoError(t, err)
	m := f.messages[0]
	require.Equal(t, "A-17 A-17 P0@example.org Autumn", m.Content.Subject.Join(m.Rendered.Subject))
	require.Empty(t, m.Unsubscribe)
	require.Empty(t, m.ReturnPath)
}

func TestAddParameters(t *testing.T) {
	utm := [][2]string{{"utm_source", "k&k"}, {"utm_medium", "email"}}
	for in, want := range map[string]string{
		"https://a.example":                        "https://a.example?utm_source=k%26k&utm_medium=email",
		"https://a.example/x?":                     "https://a.example/x?utm_source=k%26k&utm_medium=email",
		"https://a.example/x?b=1#top":              "https://a.example/x?b=1&utm_source=k%26k&utm_medium=email#top",
		"https://a.example/?utm_source=own&z=%20y": "https://a.example/?utm_source=own&z=%20y&utm_medium=email",
		"https://a.example/%zz":                    "https://a.example/%zz",
	} {
		require.Equal(t, want, addParameters(in, utm), in)
	}
}

func FuzzAddParameters(f *testing.F) {
	f.Add("https://a.example/x?b=1#top")
	f.Add("http://a.example/?utm_source=x")
	f.Fuzz(func(t *testing.T, in string) {
		u, err := url.Parse(in)
		if err != nil {
			t.Skip()
		}
		out := addParameters(in, [][2]string{{"utm_source", "s"}})
		v, err := url.Parse(out)
		require.NoError(t, err)
		require.Equal(t, u.Host, v.Host)
		require.Equal(t, u.Path, v.Path)
		require.Equal(t, u.Fragment, v.Fragment)
		require.Equal(t, out, addParameters(out, [][2]string{{"utm_source", "t"}}), "never twice")
	})
}

func FuzzParseReturnPath(f *testing.F) {
	f.Add("bounce+019cadc6-9a80-79bd-abfb-e339ba400003.2@b.example")
	f.Fuzz(func(t *testing.T, in string) {
		ref, err := ParseReturnPath(in)
		if err != nil {
			require.ErrorIs(t, err, kairos.ErrInvalid)
			return
		}
		again, err := ParseReturnPath("bounce+" + ref.String() + "@x")
		require.NoError(t, err)
		require.Equal(t, ref, again)
	})
}

func between(s, left, right string) string {
	_, s, _ = strings.Cut(s, left)
	s, _, _ = strings.Cut(s, right)
	return s
}

func TestOptions(t *testing.T) {
	ring, err := token.ParseKeyring("1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	good := Options{Keyring: ring, PublicURL: "https://go.example", From: Address{Email: "a@b.example"}}
	require.NoError(t, good.Validate())
	for name, change := range map[string]func(*Options){
		"keyring":       func(o *Options) { o.Keyring = nil },
		"public_url":    func(o *Options) { o.PublicURL = "ftp://x" },
		"from":          func(o *Options) { o.From.Email = "@b" },
		"bounce_domain": func(o *Options) { o.BounceDomain = "a b" },
		"providers":     func(o *Options) { o.Providers = []Provider{newFake(1, 1), newFake(1, 1)} },
	} {
		o := good
		change(&o)
		_, err := New(nil, kairos.SystemClock{}, o)
		require.ErrorIs(t, err, kairos.ErrInvalid, name)
		require.ErrorContains(t, err, name)
	}
}

// TestPlainAddresses: what is called plain is what net/mail returns unchanged.
func TestPlainAddresses(t *testing.T) {
	for s, plain := range map[string]bool{
		"ann@example.org": true, "A.n-n_+1@sub.example.org": true, "ann@localhost": true,
		"": false, "@": false, "ann@": false, "@example.org": false, ".ann@example.org": false, "ann.@example.org": false, "a..n@example.org": false,
		"ann@.org": false, "ann@example.": false, "a@b@c": false, "a b@example.org": false, "ann@example.org ": false, "Ann <a@example.org>": false,
		"änn@example.org": false, "ann\n@example.org": false, `"a"@example.org`: false, "ann@[1.2.3.4]": false,
	} {
		require.Equal(t, plain, isPlain(s), s)
		if plain {
			a, err := mail.ParseAddress(s)
			require.NoError(t, err)
			require.Equal(t, &mail.Address{Address: s}, a)
		}
	}
}
