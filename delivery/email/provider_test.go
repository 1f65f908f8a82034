package email_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/delivery/email"
	"kairos/internal/content"
)

func send(t testing.TB, p delivery.Provider, msgs ...*delivery.Message) []delivery.Result {
	t.Helper()
	rs := p.Send(context.Background(), msgs)
	require.Len(t, rs, len(msgs))
	return rs
}

// TestFaultsInABatch: a break in the middle costs at most the message whose dot
// was out; the others go on over a new connection, none twice.
func TestFaultsInABatch(t *testing.T) {
	letter := deliverytest.Letter(t)
	for name, c := range map[string]struct {
		fault deliverytest.Fault
		third delivery.Outcome
		taken int
	}{
		"temporary":          {deliverytest.Fault{At: deliverytest.AtRcpt, Reply: "450 4.2.0 busy"}, delivery.RejectedTemp, 0},
		"refused at DATA":    {deliverytest.Fault{At: deliverytest.AtData, Reply: "451 4.3.0 no"}, delivery.RejectedTemp, 0},
		"refused at the dot": {deliverytest.Fault{At: deliverytest.AtDot, Reply: "554 5.6.0 no"}, delivery.RejectedPerm, 0},
		"421 at RCPT":        {deliverytest.Fault{At: deliverytest.AtRcpt, Reply: "421 4.3.2 going down"}, delivery.NotSent, 0},
		"421 at the dot":     {deliverytest.Fault{At: deliverytest.AtDot, Reply: "421 4.3.2 going down"}, delivery.NotSent, 0},
		"taken, then lost":   {deliverytest.Fault{At: deliverytest.AtDot, Close: true, Take: true}, delivery.Unknown, 1},
		"lost":               {deliverytest.Fault{At: deliverytest.AtDot, Close: true}, delivery.Unknown, 0},
	} {
		for _, lockStep := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				fault := c.fault
				fault.To = deliverytest.Recipient(2)
				s := newSink(t, deliverytest.SinkOptions{Faults: []deliverytest.Fault{fault}})
				p := newProvider(t, email.Options{URL: s.URL(), Batch: 6, LockStep: lockStep})
				for i, r := range send(t, p, deliverytest.Messages(t, letter, 0, 6)...) {
					if i == 2 {
						require.Equal(t, c.third, r.Outcome, "%+v", r)
						require.Equal(t, c.taken, s.Accepted(deliverytest.Recipient(i)))
						continue
					}
					require.Equal(t, delivery.Accepted, r.Outcome, "message %d: %+v", i, r)
					require.Equal(t, 1, s.Accepted(deliverytest.Recipient(i)))
				}
				require.Zero(t, s.Duplicates())
			})
		}
	}
}

// TestRandomFaults: under any mixture of faults the sink and the results agree.
func TestRandomFaults(t *testing.T) {
	letter := deliverytest.Letter(t)
	for _, chunking := range []bool{false, true} {
		t.Run(fmt.Sprintf("chunking=%t", chunking), func(t *testing.T) { randomFaults(t, letter, chunking) })
	}
}

func randomFaults(t *testing.T, letter *content.Content, chunking bool) {
	s := newSink(t, deliverytest.SinkOptions{Seed: 42, Chunking: chunking, Faults: []deliverytest.Fault{
		{At: deliverytest.AtConnect, Percent: 5, Close: true},
		{At: deliverytest.AtConnect, Percent: 5, Reply: "421 4.3.2 busy"},
		{At: deliverytest.AtMail, Percent: 3, Reply: "451 4.3.0 later"},
		{At: deliverytest.AtMail, Percent: 3, Close: true},
		{At: deliverytest.AtRcpt, Percent: 3, Reply: "550 5.1.1 unknown"},
		{At: deliverytest.AtRcpt, Percent: 2, Close: true},
		{At: deliverytest.AtData, Percent: 3, Reply: "452 4.3.1 full"},
		{At: deliverytest.AtBody, Percent: 2, Close: true},
		{At: deliverytest.AtDot, Percent: 3, Close: true, Take: true},
		{At: deliverytest.AtDot, Percent: 3, Close: true},
		{At: deliverytest.AtDot, Percent: 3, Reply: "421 4.3.2 bye"},
	}})
	for _, opts := range []email.Options{{Batch: 1}, {Batch: 8}, {Batch: 8, LockStep: true}} {
		s.Reset()
		opts.URL, opts.MaxMessages = s.URL()+"?connections=3", 20
		p := newProvider(t, opts)
		email.KeepTrust(p)
		outcomes := map[delivery.Outcome]int{}
		for i := 0; i < 800; i += opts.Batch {
			for j, r := range send(t, p, deliverytest.Messages(t, letter, i, opts.Batch)...) {
				n := s.Accepted(deliverytest.Recipient(i + j))
				outcomes[r.Outcome]++
				switch r.Outcome {
				case delivery.Accepted:
					require.Equal(t, 1, n)
				case delivery.Unknown:
					require.LessOrEqual(t, n, 1)
				default:
					require.Zero(t, n, "%+v", r)
				}
			}
		}
		require.Zero(t, s.Duplicates())
		for _, o := range []delivery.Outcome{delivery.Accepted, delivery.Unknown, delivery.RejectedTemp, delivery.RejectedPerm, delivery.NotSent} {
			require.Positive(t, outcomes[o], "outcome %d never came up", o)
		}
	}
}

func TestConnectionsAreKeptAndBounded(t *testing.T) {
	letter := deliverytest.Letter(t)
	s := newSink(t, deliverytest.SinkOptions{})
	p := newProvider(t, email.Options{URL: s.URL() + "?connections=2", MaxMessages: 10, IdleTimeout: 50 * time.Millisecond})
	for i := range 25 {
		require.Equal(t, delivery.Accepted, send(t, p, deliverytest.Message(t, letter, i))[0].Outcome)
	}
	ever, _ := s.Connections()
	require.GreaterOrEqual(t, ever, 3)
	require.Less(t, ever, 25)
	require.Eventually(t, func() bool { _, open := s.Connections(); return open == 0 }, 5*time.Second, 5*time.Millisecond,
		"idle connections are closed")
	done := make(chan struct{})
	for i := range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for j := range 20 {
				if r := p.Send(context.Background(), deliverytest.Messages(t, letter, 100+20*i+j, 1)); r[0].Outcome != delivery.Accepted {
					t.Errorf("result %+v", r[0])
				}
				if _, open := s.Connections(); open > 4 { // two in use, two that are being closed
					t.Errorf("%d connections", open)
				}
			}
		}()
	}
	for range 8 {
		<-done
	}
	require.Zero(t, s.Duplicates())
}

func TestWaitingForAConnectionEndsWithTheContext(t *testing.T) {
	letter := deliverytest.Letter(t)
	s := newSink(t, deliverytest.SinkOptions{Faults: []deliverytest.Fault{{At: deliverytest.AtMail, Hang: true}}})
	p := newProvider(t, email.Options{URL: s.URL() + "?connections=1"})
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	results := make(chan delivery.Result, 2)
	for i := range 2 {
		go func() { results <- p.Send(ctx, deliverytest.Messages(t, letter, i, 1))[0] }()
	}
	for range 2 {
		require.Equal(t, delivery.NotSent, (<-results).Outcome)
	}
}

func TestTimeouts(t *testing.T) {
	letter := deliverytest.Letter(t)
	short := email.Options{DialTimeout: 150 * time.Millisecond, CommandTimeout: 150 * time.Millisecond, DataTimeout: 150 * time.Millisecond}
	for at, want := range map[deliverytest.Phase]delivery.Outcome{
		deliverytest.AtConnect: delivery.NotSent, deliverytest.AtMail: delivery.NotSent, deliverytest.AtRcpt: delivery.NotSent,
		deliverytest.AtData: delivery.NotSent, deliverytest.AtDot: delivery.Unknown,
	} {
		t.Run(string(at), func(t *testing.T) {
			s := newSink(t, deliverytest.SinkOptions{Faults: []deliverytest.Fault{{At: at, Hang: true}}})
			opts := short
			opts.URL = s.URL()
			r := send(t, newProvider(t, opts), deliverytest.Message(t, letter, 0))[0]
			require.Equal(t, want, r.Outcome)
			require.Contains(t, r.Detail, "timed out")
		})
	}
}

func TestSizeLimit(t *testing.T) {
	s := newSink(t, deliverytest.SinkOptions{Size: 4000})
	p := newProvider(t, email.Options{URL: s.URL(), Batch: 3})
	msgs := deliverytest.Messages(t, deliverytest.Letter(t), 0, 3)
	msgs[1].Rendered.HTML[0] = strings.Repeat("x", 5000)
	rs := send(t, p, msgs...)
	for i, r := range rs {
		require.Equal(t, delivery.RejectedPerm, r.Outcome, i)
		require.Equal(t, "552", r.Code)
		require.False(t, r.BadAddress)
	}
	require.Zero(t, s.Attempts(), "it isn't even tried")
}

func TestURLs(t *testing.T) {
	for _, u := range []string{
		"", "x", "http://host", "smtp://", "smtp://host/path", "smtp://host?connections=0", "smtp://host?connections=x",
		"smtp://host?tls=maybe", "smtp://host?other=1", "smtp://user:hunter2@ho st", "smtp://u:hunter2@host?connections=9999",
	} {
		_, err := email.New(email.Options{URL: u})
		require.Error(t, err, u)
		require.NotContains(t, err.Error(), "hunter2")
	}
	p, err := email.New(email.Options{URL: "smtps://user:pass@host?connections=7"})
	require.NoError(t, err)
	require.Equal(t, 7, p.Limits().Concurrency)
	require.Equal(t, 1, p.Limits().Batch)
	_, err = email.New(email.Options{URL: "smtp://host", HelloName: "a b"})
	require.Error(t, err)
}

// certificate returns a server's configuration and a client's that trusts it.
func certificate(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sink"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, &tls.Config{RootCAs: pool}
}

func TestEncryptionAndPassword(t *testing.T) {
	letter := deliverytest.Letter(t)
	server, client := certificate(t)
	for name, c := range map[string]struct {
		server   *tls.Config
		user     string
		query    string
		trust    bool
		want     delivery.Outcome
		mustTell string
	}{
		"STARTTLS and password":          {server: server, user: "joe:s3cret@", trust: true, want: delivery.Accepted},
		"password alone, this machine":   {user: "joe:s3cret@", want: delivery.Accepted},
		"wrong password":                 {server: server, user: "joe:wrong@", trust: true, want: delivery.NotSent, mustTell: "authenticate"},
		"no password":                    {server: server, trust: true, want: delivery.NotSent, mustTell: "authentication required"},
		"required, but not offered":      {user: "joe:s3cret@", query: "?tls=required", want: delivery.NotSent, mustTell: "STARTTLS"},
		"certificate that isn't trusted": {server: server, user: "joe:s3cret@", want: delivery.NotSent, mustTell: "encrypt"},
		"off":                            {server: server, user: "joe:s3cret@", query: "?tls=off", want: delivery.Accepted},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t, deliverytest.SinkOptions{TLS: c.server, User: "joe", Pass: "s3cret"})
			opts := email.Options{URL: "smtp://" + c.user + s.Addr() + c.query}
			if c.trust {
				opts.TLS = client
			}
			p := newProvider(t, opts)
			for i := range 3 {
				r := send(t, p, deliverytest.Message(t, letter, i))[0]
				require.Equal(t, c.want, r.Outcome, "%+v", r)
				require.Contains(t, r.Detail, c.mustTell)
				require.NotContains(t, r.Detail, "s3cret")
			}
		})
	}
}

func TestEncryptedConformance(t *testing.T) {
	server, client := certificate(t)
	deliverytest.Conformance(t, func(tb testing.TB) deliverytest.Backend {
		s := newSink(tb, deliverytest.SinkOptions{TLS: server, User: "joe", Pass: "s3cret"})
		return deliverytest.SMTPBackend(s, func(tb testing.TB) delivery.Provider {
			return newProvider(tb, email.Options{URL: "smtp://joe:s3cret@" + s.Addr() + "?connections=4&tls=required", TLS: client})
		})
	})
}

func TestDKIM(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	edPublic, edKey, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	pkcs8 := func(key any) string {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	rsaPublic, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	require.NoError(t, err)
	for name, c := range map[string]struct{ pem, record string }{
		"RSA":     {pkcs8(rsaKey), "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(rsaPublic)},
		"PKCS #1": {string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})), "v=DKIM1; p=" + base64.StdEncoding.EncodeToString(rsaPublic)},
		"Ed25519": {pkcs8(edKey), "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(edPublic)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t, deliverytest.SinkOptions{Keep: 10})
			p := newProvider(t, email.Options{URL: s.URL(), Batch: 3, DKIM: &email.DKIM{Domain: "kairos.example.com", Selector: "k1", PrivateKey: c.pem}})
			msgs := deliverytest.Messages(t, deliverytest.Letter(t), 0, 3)
			msgs[1].Unsubscribe = "https://kairos.example.com/u/" + strings.Repeat("x", 900)
			for _, r := range send(t, p, msgs...) {
				require.Equal(t, delivery.Accepted, r.Outcome)
			}
			require.Len(t, s.Kept(), 3)
			for _, m := range s.Kept() {
				checkWire(t, m.Raw)
				v, err := dkim.VerifyWithOptions(bytes.NewReader(m.Raw), &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
					require.Equal(t, "k1._domainkey.kairos.example.com", name)
					return []string{c.record}, nil
				}})
				require.NoError(t, err)
				require.Len(t, v, 1)
				require.NoError(t, v[0].Err)
				require.Contains(t, v[0].HeaderKeys, "List-Unsubscribe-Post")
				spoilt := bytes.Replace(m.Raw, []byte("Subject:"), []byte("Subject: x"), 1)
				v, err = dkim.VerifyWithOptions(bytes.NewReader(spoilt), &dkim.VerifyOptions{LookupTXT: func(string) ([]string, error) {
					return []string{c.record}, nil
				}})
				require.NoError(t, err)
				require.Error(t, v[0].Err)
			}
		})
	}
	for _, d := range []email.DKIM{
		{Domain: "x", Selector: "y", PrivateKey: "z"}, {Domain: "a b", Selector: "y"}, {Domain: "a", Selector: "y;"},
		{Domain: "x", Selector: "y", PrivateKey: "-----BEGIN X-----\nAAAA\n-----END X-----\n"},
	} {
		_, err := email.New(email.Options{URL: "smtp://host", DKIM: &d})
		require.Error(t, err)
	}
}

func TestWhatArrivesIsWhatWasComposed(t *testing.T) {
	s := newSink(t, deliverytest.SinkOptions{Keep: 10})
	p := newProvider(t, email.Options{URL: s.URL(), Batch: 10})
	msgs := deliverytest.Messages(t, deliverytest.Letter(t), 0, 10)
	for _, m := range msgs[5:] {
		m.ReturnPath = ""
	}
	send(t, p, msgs...)
	for i, got := range s.Kept() {
		want, err := email.AppendMessage(nil, msgs[i])
		require.NoError(t, err)
		require.Equal(t, string(want), string(got.Raw))
		require.Equal(t, []string{deliverytest.Recipient(i)}, got.To)
		if i < 5 {
			require.Equal(t, msgs[i].ReturnPath, got.From)
		} else {
			require.Equal(t, msgs[i].From.Email, got.From)
		}
	}
	require.Len(t, s.Kept(), 10)
}

// TestAnswersOutOfOrder: a server that says more than it was asked costs the
// connection, and nothing is taken for accepted that isn't.
func TestAnswersOutOfOrder(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	sessions := 0
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			sessions++
			_, _ = c.Write([]byte("220 hi\r\n"))
			buf := make([]byte, 1<<16)
			_, _ = c.Read(buf)
			_, _ = c.Write([]byte("250-hi\r\n250 PIPELINING\r\n"))
			_, _ = c.Read(buf) // the group
			_, _ = c.Write([]byte("250 one\r\n250 two\r\n250 three\r\n354 four\r\n"))
			_, _ = c.Read(buf)
			_ = c.Close()
		}
	}()
	p := newProvider(t, email.Options{URL: "smtp://" + ln.Addr().String()})
	for i := range 2 {
		r := send(t, p, deliverytest.Message(t, deliverytest.Letter(t), i))[0]
		require.Equal(t, delivery.NotSent, r.Outcome, "%+v", r)
	}
	require.NoError(t, ln.Close())
	<-done
	require.Equal(t, 2, sessions)
}
