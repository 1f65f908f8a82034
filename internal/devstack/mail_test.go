package devstack_test

import (
	"fmt"
	"net/smtp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos"
	"kairos/internal/devstack"
)

const letter = "From: Kairos <news@shop.test>\r\n" +
	"To: Ada <ada@mail.test>\r\n" +
	"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus =?utf-8?b?S8O2bG4=?=\r\n" +
	"MIME-Version: 1.0\r\n" +
	"List-Unsubscribe: <https://k.test/u/1>\r\n" +
	"Content-Type: multipart/alternative; boundary=\"b1\"\r\n\r\n" +
	"--b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
	"SGVsbG8g\r\nd8O2cmxk\r\n" +
	"--b1\r\nContent-Type: text/html; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
	"<p>Hello w=C3=B6rld <a href=3D\"https://k.test/c/1\">go=\r\n on</a></p>\r\n" +
	"--b1--\r\n"

func startMail(t testing.TB, opts devstack.MailOptions) *devstack.Mail {
	t.Helper()
	m, err := devstack.StartMail(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func TestMailCatchesWhatSMTPBrings(t *testing.T) {
	at := time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)
	m := startMail(t, devstack.MailOptions{Clock: kairos.NewManualClock(at)})
	body := letter + ".\r\n..two dots\r\n" // dot stuffing must not show
	require.NoError(t, smtp.SendMail(m.SMTPAddr(), nil, "bounce@shop.test", []string{"ada@mail.test", "bob@mail.test"}, []byte(body)))
	page := m.List(devstack.MailQuery{})
	require.Len(t, page, 1)
	got, err := m.Get(page[0].ID)
	require.NoError(t, err)
	require.Equal(t, "bounce@shop.test", got.From)
	require.Equal(t, []string{"ada@mail.test", "bob@mail.test"}, got.To)
	require.Equal(t, "Grüße aus Köln", got.Subject)
	require.Equal(t, at, got.Received)
	require.Equal(t, "<https://k.test/u/1>", got.Header.Get("List-Unsubscribe"))
	require.Equal(t, "Hello wörld", got.Text)
	require.Equal(t, `<p>Hello wörld <a href="https://k.test/c/1">go on</a></p>`, got.HTML)
	require.Empty(t, got.Defect)
	require.Equal(t, body, string(got.Raw))
}

func TestMailReadsEveryForm(t *testing.T) {
	m := startMail(t, devstack.MailOptions{})
	for name, c := range map[string]struct{ raw, text, html, defect string }{
		"plain without type":    {"Subject: x\r\n\r\nhello\r\n", "hello\r\n", "", ""},
		"html only":             {"Content-Type: text/html\r\n\r\n<b>x</b>", "", "<b>x</b>", ""},
		"latin 1":               {"Content-Type: text/plain; charset=iso-8859-1\r\n\r\nK\xf6ln", "Köln", "", ""},
		"invalid utf-8":         {"Content-Type: text/plain; charset=utf-8\r\n\r\nK\xf6ln", "K\uFFFDln", "", ""},
		"bare line feeds":       {"Subject: x\n\nhello\n", "hello\n", "", ""},
		"no header":             {"hello", "hello", "", "header: "},
		"nothing":               {"", "", "", "header: "},
		"bad type":              {"Content-Type: ;;\r\n\r\nhello", "", "", "body: "},
		"bad base64":            {"Content-Transfer-Encoding: base64\r\n\r\nSGVs!!!!", "Hel", "", "body: "},
		"missing boundary":      {"Content-Type: multipart/mixed\r\n\r\nhello", "", "", "body: "},
		"never closed":          {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello", "hello", "", "body: "},
		"attachment is no text": {"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment\r\n\r\nfile\r\n--b\r\n\r\nhello\r\n--b--", "hello", "", ""},
		"nested": {"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/related; boundary=b\r\n\r\n" +
			"--b\r\nContent-Type: text/html\r\n\r\n<i>\r\n--b--\r\n--a--\r\n", "", "<i>", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := m.Deliver("a@x.test", []string{"b@x.test"}, []byte(c.raw))
			require.Equal(t, c.text, got.Text)
			require.Equal(t, c.html, got.HTML)
			if c.defect == "" {
				require.Empty(t, got.Defect)
			}
			require.True(t, strings.HasPrefix(got.Defect, c.defect), got.Defect)
			require.Equal(t, c.raw, string(got.Raw))
		})
	}
}

func TestMailIsBoundedByCountAndBytes(t *testing.T) {
	m := startMail(t, devstack.MailOptions{MaxMessages: 3})
	first := m.Deliver("a@x.test", []string{"0@x.test"}, []byte("\r\n"))
	for i := 1; i < 10; i++ {
		m.Deliver("a@x.test", []string{fmt.Sprintf("%d@x.test", i)}, []byte("\r\n"))
	}
	kept, received := m.Count()
	require.Equal(t, 3, kept)
	require.EqualValues(t, 10, received)
	_, err := m.Get(first.ID)
	require.ErrorIs(t, err, kairos.ErrNotFound)
	require.Empty(t, m.List(devstack.MailQuery{Before: first.ID}))

	small := startMail(t, devstack.MailOptions{MaxBytes: 64 << 10})
	for range 20 {
		small.Deliver("a@x.test", nil, []byte("\r\n"+strings.Repeat("x", 10<<10)))
	}
	kept, _ = small.Count()
	require.Equal(t, 3, kept) // raw and text: 21 KiB each
	big := small.Deliver("a@x.test", nil, []byte("\r\n"+strings.Repeat("x", 100<<10)))
	require.Equal(t, []*devstack.Message{big}, small.List(devstack.MailQuery{}), "the newest always stays")
}

func TestMailListsNewestFirstByPageAndRecipient(t *testing.T) {
	m := startMail(t, devstack.MailOptions{})
	for i := range 25 {
		m.Deliver("a@x.test", []string{[]string{"bo@x.test", "JimBo@x.test"}[i%2]}, fmt.Appendf(nil, "Subject: %d\r\n\r\n", i))
	}
	var subjects []string
	for q := (devstack.MailQuery{Limit: 10}); ; {
		page := m.List(q)
		if len(page) == 0 {
			break
		}
		for _, msg := range page {
			subjects = append(subjects, msg.Subject)
		}
		q.Before = page[len(page)-1].ID
	}
	require.Len(t, subjects, 25)
	require.Equal(t, "24", subjects[0])
	require.Equal(t, "0", subjects[24])
	require.Len(t, m.List(devstack.MailQuery{To: "BO@x.test"}), 13)
	require.Len(t, m.List(devstack.MailQuery{To: "jimbo@x.test"}), 12)
	require.Len(t, m.List(devstack.MailQuery{To: "bo"}), 25)
	require.Empty(t, m.List(devstack.MailQuery{To: "ada@x.test"}))
	m.Clear()
	require.Empty(t, m.List(devstack.MailQuery{}))
}

func TestMailTellsHooksOnce(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	m, err := devstack.StartMail(devstack.MailOptions{})
	require.NoError(t, err)
	var heard atomic.Int64
	cancel := m.OnMessage(func(msg *devstack.Message) {
		_, err := m.Get(msg.ID) // a hook may call back
		if err == nil {
			heard.Add(1)
		}
	})
	var senders sync.WaitGroup
	var failed atomic.Value
	for range 4 {
		senders.Go(func() {
			for range 10 {
				if err := smtp.SendMail(m.SMTPAddr(), nil, "a@x.test", []string{"b@x.test"}, []byte(letter)); err != nil {
					failed.Store(err)
				}
			}
		})
	}
	senders.Wait()
	require.Nil(t, failed.Load())
	require.EqualValues(t, 40, heard.Load())
	cancel()
	m.Deliver("a@x.test", nil, nil)
	require.EqualValues(t, 40, heard.Load())
	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
	kept, _ := m.Count()
	require.Equal(t, 41, kept)
}

func TestMailRefusesTooLarge(t *testing.T) {
	m := startMail(t, devstack.MailOptions{MaxMessageBytes: 1000})
	err := smtp.SendMail(m.SMTPAddr(), nil, "a@x.test", []string{"b@x.test"}, []byte("\r\n"+strings.Repeat("x\r\n", 2000)))
	require.ErrorContains(t, err, "552")
	require.Empty(t, m.List(devstack.MailQuery{}))
}

func FuzzMessage(f *testing.F) {
	m, err := devstack.StartMail(devstack.MailOptions{MaxMessages: 10})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, m.Close()) })
	f.Add([]byte(letter))
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := m.Deliver("a@x.test", []string{"b@x.test"}, raw)
		require.Equal(t, raw, got.Raw)
		for _, s := range []string{got.Subject, got.Text, got.HTML} {
			require.Equal(t, strings.ToValidUTF8(s, "?"), s)
		}
	})
}

func BenchmarkMailDeliver(b *testing.B) {
	m := startMail(b, devstack.MailOptions{})
	raw := []byte(strings.Replace(letter, "<p>", "<p>"+strings.Repeat("lorem ipsum dolor=20sit amet =\r\n", 160), 1))
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		m.Deliver("a@x.test", []string{"b@x.test"}, raw)
	}
}
