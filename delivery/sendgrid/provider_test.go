package sendgrid_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/delivery/sendgrid"
	"kairos/internal/content"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newGrid(tb testing.TB, opts deliverytest.SendGridOptions) *deliverytest.SendGrid {
	tb.Helper()
	s, err := deliverytest.NewSendGrid(opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Close()) })
	return s
}

func newProvider(tb testing.TB, s *deliverytest.SendGrid, opts sendgrid.Options) *sendgrid.Provider {
	tb.Helper()
	opts.URL = s.URL()
	if opts.APIKey == "" {
		opts.APIKey = "SG.test"
	}
	p, err := sendgrid.New(opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

func TestConformance(t *testing.T) {
	deliverytest.Conformance(t, func(tb testing.TB) deliverytest.Backend {
		s := newGrid(tb, deliverytest.SendGridOptions{APIKey: "SG.test"})
		return deliverytest.SendGridBackend(s, deliverytest.Backend{New: func(tb testing.TB) delivery.Provider {
			return newProvider(tb, s, sendgrid.Options{})
		}})
	})
}

func send(t testing.TB, p delivery.Provider, msgs []*delivery.Message) []delivery.Result {
	t.Helper()
	rs := p.Send(context.Background(), msgs)
	require.Len(t, rs, len(msgs))
	return rs
}

// readsAs requires that what the server took for m is what m says.
func readsAs(t *testing.T, s *deliverytest.SendGrid, m *delivery.Message) deliverytest.GridMail {
	t.Helper()
	g, ok := s.Message(m.To.Email)
	require.True(t, ok)
	subject, text, html := g.Rendered()
	require.Equal(t, m.Content.Subject.Join(m.Rendered.Subject), subject)
	require.Equal(t, m.Content.Text.Join(m.Rendered.Text), text)
	require.Equal(t, m.Content.HTML.Join(m.Rendered.HTML), html)
	require.Equal(t, m.Ref.String(), g.Args["attempt"])
	require.Equal(t, m.Ref.String(), g.Args["kairos_attempt"])
	require.Equal(t, m.Ref.Notification.String(), g.Args["notification"])
	require.Equal(t, m.Campaign.String(), g.Args["campaign"])
	require.Equal(t, m.Ticket.String(), g.Args["ticket"])
	require.Equal(t, "<"+m.MessageID+">", g.Headers["Message-ID"])
	require.Equal(t, "<"+m.Unsubscribe+">", g.Headers["List-Unsubscribe"])
	require.Equal(t, "List-Unsubscribe=One-Click", g.Headers["List-Unsubscribe-Post"])
	require.Equal(t, m.To.Name, g.Name)
	return g
}

func TestThousandInOneCall(t *testing.T) {
	s := newGrid(t, deliverytest.SendGridOptions{})
	p := newProvider(t, s, sendgrid.Options{})
	msgs := deliverytest.Messages(t, deliverytest.Letter(t), 0, 1000)
	for _, r := range send(t, p, msgs) {
		require.Equal(t, delivery.Accepted, r.Outcome, r.Detail)
		require.Equal(t, "sg1", r.ProviderID)
	}
	require.Equal(t, 1, s.Calls())
	for _, m := range msgs[:50] {
		readsAs(t, s, m)
	}
}

func TestTagsCollideWithNothing(t *testing.T) {
	c, err := content.Compile(content.Source{
		Subject: "-kairos0s0- {{ v }}", HTML: "<p>-kairos1h0-{{ v }}-kairos0h1-{{ v }}</p>", Text: "{{ v }}{{ v }}-kairos",
	})
	require.NoError(t, err)
	s := newGrid(t, deliverytest.SendGridOptions{})
	p := newProvider(t, s, sendgrid.Options{})
	msgs := deliverytest.Messages(t, deliverytest.Letter(t), 0, 20)
	for i, m := range msgs {
		m.Content = c
		v := []string{"-kairos2h1-", "-kairos3t0-", "plain", "\"\\\n\t\x01<&>\u2028 é"}[i%4]
		m.Rendered, err = c.Render(context.Background(), content.Data{"v": v}, nil)
		require.NoError(t, err)
		m.Rendered.Subject = []string{strings.Trim(v, "\n\t\x01\"\\")}
		if i%4 == 3 {
			m.Rendered.Subject = []string{"é"}
		}
	}
	for _, r := range send(t, p, msgs) {
		require.Equal(t, delivery.Accepted, r.Outcome, r.Detail)
	}
	require.Equal(t, 1, s.Calls())
	for _, m := range msgs {
		readsAs(t, s, m)
	}
}

func TestLargeValuesTravelAlone(t *testing.T) {
	s := newGrid(t, deliverytest.SendGridOptions{})
	p := newProvider(t, s, sendgrid.Options{})
	msgs := deliverytest.Messages(t, deliverytest.Letter(t), 0, 10)
	msgs[3].Rendered.HTML[0] = strings.Repeat("x", sendgrid.MaxSubstitutionBytes)
	msgs[7].Rendered.HTML[0] = strings.Repeat("y", 100_000)
	for _, r := range send(t, p, msgs) {
		require.Equal(t, delivery.Accepted, r.Outcome, r.Detail)
	}
	require.Equal(t, 3, s.Calls())
	for _, m := range msgs {
		readsAs(t, s, m)
	}
}

func TestOneAddressOncePerRequest(t *testing.T) {
	s := newGrid(t, deliverytest.SendGridOptions{})
	p := newProvider(t, s, sendgrid.Options{})
	msgs := deliverytest.Messages(t, deliverytest.Letter(t), 0, 6)
	msgs[2].To.Email, msgs[4].To.Email = "PERSON000000@example.com", msgs[0].To.Email
	for _, r := range send(t, p, msgs) {
		require.Equal(t, delivery.Accepted, r.Outcome, r.Detail)
	}
	require.Equal(t, 3, s.Calls())
	require.Equal(t, 3, s.Accepted(msgs[0].To.Email))
}

func TestSendersAreNotMixed(t *testing.T) {
	s := newGrid(t, deliverytest.SendGridOptions{})
	p := newProvider(t, s, sendgrid.Options{})
	msgs := deliverytest.Messages(t, deliverytest.Letter(t), 0, 6)
	msgs[1].From.Name, msgs[2].ReplyTo.Email = "Other", "help@kairos.example.com"
	send(t, p, msgs)
	require.Equal(t, 3, s.Calls())
	require.Equal(t, 6, s.Total())
}

func TestRequestsAreBounded(t *testing.T) {
	s := newGrid(t, deliverytest.SendGridOptions{})
	p := newProvider(t, s, sendgrid.Options{MaxBody: 64 << 10})
	msgs := deliverytest.Messages(t, deliverytest.Letter(t), 0, 100)
	for _, r := range send(t, p, msgs) {
		require.Equal(t, delivery.Accepted, r.Outcome, r.Detail)
	}
	require.Greater(t, s.Calls(), 3)
	require.Equal(t, 100, s.Total())
	require.Zero(t, s.Duplicates())
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		fault      deliverytest.CallFault
		want       delivery.Outcome
		code       string
		bad        bool
		retryAfter time.Duration
		calls      int
	}{
		"500 after it took them":    {fault: deliverytest.CallFault{Status: 500, Take: true}, want: delivery.Unknown, code: "500", calls: 1},
		"503":                       {fault: deliverytest.CallFault{Status: 503}, want: delivery.Unknown, code: "503", calls: 1},
		"401":                       {fault: deliverytest.CallFault{Status: 401}, want: delivery.NotSent, code: "401", calls: 1},
		"403":                       {fault: deliverytest.CallFault{Status: 403}, want: delivery.NotSent, code: "403", calls: 1},
		"404":                       {fault: deliverytest.CallFault{Status: 404}, want: delivery.NotSent, code: "404", calls: 1},
		"redirect":                  {fault: deliverytest.CallFault{Status: 307, Header: map[string]string{"Location": "/v3/mail/send"}}, want: delivery.NotSent, code: "307", calls: 1},
		"429":                       {fault: deliverytest.CallFault{Status: 429, Header: map[string]string{"Retry-After": "17"}}, want: delivery.NotSent, code: "429", retryAfter: 17 * time.Second, calls: 1},
		"400 for the sender":        {fault: deliverytest.CallFault{Status: 400, Field: "from.email"}, want: delivery.NotSent, code: "400", calls: 1},
		"400 for the content":       {fault: deliverytest.CallFault{Status: 400, Field: "content.0.value"}, want: delivery.RejectedPerm, code: "400", calls: 1},
		"400 for nobody in special": {fault: deliverytest.CallFault{Status: 400}, want: delivery.RejectedPerm, code: "400", calls: 7},
		"413":                       {fault: deliverytest.CallFault{Status: 413}, want: delivery.RejectedPerm, code: "413", calls: 7},
	} {
		t.Run(name, func(t *testing.T) {
			s := newGrid(t, deliverytest.SendGridOptions{})
			s.SetFaults(c.fault)
			p := newProvider(t, s, sendgrid.Options{})
			for _, r := range send(t, p, deliverytest.Messages(t, deliverytest.Letter(t), 0, 4)) {
				require.Equal(t, c.want, r.Outcome)
				require.Equal(t, c.code, r.Code)
				require.Equal(t, c.retryAfter, r.RetryAfter)
				require.NotEmpty(t, r.Detail)
				require.NotContains(t, r.Detail, "@")
			}
			require.Equal(t, c.calls, s.Calls())
		})
	}
}

func TestBadOneIsFoundByHalving(t *testing.T) {
	s := newGrid(t, deliverytest.SendGridOptions{})
	s.SetFaults(deliverytest.CallFault{To: deliverytest.Recipient(617), Status: http.StatusBadRequest})
	p := newProvider(t, s, sendgrid.Options{})
	for i, r := range send(t, p, deliverytest.Messages(t, deliverytest.Letter(t), 0, 1000)) {
		if i == 617 {
			require.Equal(t, delivery.RejectedPerm, r.Outcome)
			continue
		}
		require.Equal(t, delivery.Accepted, r.Outcome, r.Detail)
	}
	require.Equal(t, 999, s.Total())
	require.Zero(t, s.Duplicates())
	require.LessOrEqual(t, s.Calls(), 21)
}

func TestWrongKey(t *testing.T) {
	s := newGrid(t, deliverytest.SendGridOptions{APIKey: "SG.right"})
	p := newProvider(t, s, sendgrid.Options{APIKey: "SG.wrong"})
	r := send(t, p, deliverytest.Messages(t, deliverytest.Letter(t), 0, 1))[0]
	require.Equal(t, delivery.NotSent, r.Outcome)
	require.NotContains(t, r.Detail, "SG.wrong")
}

func TestTimeoutOfARequest(t *testing.T) {
	s := newGrid(t, deliverytest.SendGridOptions{})
	s.SetFaults(deliverytest.CallFault{Hang: true, Take: true})
	p := newProvider(t, s, sendgrid.Options{Timeout: 200 * time.Millisecond})
	r := send(t, p, deliverytest.Messages(t, deliverytest.Letter(t), 0, 1))[0]
	require.Equal(t, delivery.Unknown, r.Outcome)
	require.Equal(t, "timed out", r.Detail)
	require.Equal(t, 1, s.Calls())
}

// TestARequestThatCannotLeaveIsNotSent: the server takes the connection and
// reads nothing, and the request is larger than what the sockets can hold.
func TestARequestThatCannotLeaveIsNotSent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var conns []net.Conn
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).SetReadBuffer(4096)
			conns = append(conns, c)
		}
	}()
	defer func() {
		_ = ln.Close()
		<-accepted
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	p, err := sendgrid.New(sendgrid.Options{APIKey: "k", URL: "http://" + ln.Addr().String(), Timeout: 300 * time.Millisecond})
	require.NoError(t, err)
	defer func() { _ = p.Close() }()
	m := deliverytest.Message(t, deliverytest.Letter(t), 0)
	m.Rendered.HTML[0] = strings.Repeat("x", 24<<20)
	r := send(t, p, []*delivery.Message{m})[0]
	require.Equal(t, delivery.NotSent, r.Outcome, "%+v", r)
	small := send(t, p, deliverytest.Messages(t, deliverytest.Letter(t), 0, 1))[0]
	require.Equal(t, delivery.Unknown, small.Outcome, "all of it left")
}

// headers records what goes over the wire.
type headers struct{ seen http.Header }

func (h *headers) RoundTrip(r *http.Request) (*http.Response, error) {
	h.seen = r.Header.Clone()
	return http.DefaultTransport.RoundTrip(r)
}

func TestNoIdempotencyKey(t *testing.T) {
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	s := newGrid(t, deliverytest.SendGridOptions{})
	h := &headers{}
	p := newProvider(t, s, sendgrid.Options{Transport: h})
	require.Equal(t, delivery.Accepted, send(t, p, deliverytest.Messages(t, deliverytest.Letter(t), 0, 1))[0].Outcome)
	require.Equal(t, "Bearer SG.test", h.seen.Get("Authorization"))
	for name := range h.seen {
		require.NotContains(t, name, "Idempotency")
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]sendgrid.Options{
		"no key":        {},
		"key with line": {APIKey: "SG.\r\nX: y"},
		"no URL":        {APIKey: "k", URL: "api.sendgrid.com"},
		"password":      {APIKey: "k", URL: "https://a:b@api.sendgrid.com"},
	} {
		_, err := sendgrid.New(o)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "a:b")
	}
	p, err := sendgrid.New(sendgrid.Options{APIKey: "k", Batch: 5000})
	require.NoError(t, err)
	require.Equal(t, 1000, p.Limits().Batch)
}
