package email

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery"
)

// connReading returns a connection whose server said text.
func connReading(text string) *conn {
	return &conn{text: &textproto.Conn{Reader: textproto.Reader{R: bufio.NewReader(strings.NewReader(text))}}}
}

func TestReplies(t *testing.T) {
	me := &letter{to: "jane.roe@example.com"}
	for _, c := range []struct {
		at   phase
		line string
		want delivery.Result
	}{
		{phaseDot, "250 2.0.0 Ok: queued as 4ZxK9", delivery.Result{Outcome: delivery.Accepted, Code: "250 2.0.0", ProviderID: "4ZxK9"}},
		{phaseDot, "250 OK id=1tBcDe-0001-XX", delivery.Result{Outcome: delivery.Accepted, Code: "250", ProviderID: "1tBcDe-0001-XX"}},
		{phaseDot, "250-one\r\n250 2.0.0 OK 1700000000 a1b2c3 - gsmtp", delivery.Result{Outcome: delivery.Accepted, Code: "250 2.0.0", ProviderID: "OK 1700000000 a1b2c3 - gsmtp"}},
		{phaseDot, "250", delivery.Result{Outcome: delivery.Accepted, Code: "250", ProviderID: "accepted"}},
		{phaseDot, "354 what", delivery.Result{Outcome: delivery.Unknown, Code: "354", Detail: "what"}},
		{phaseDot, "451 4.7.1 greylisted", delivery.Result{Outcome: delivery.RejectedTemp, Code: "451 4.7.1", Detail: "greylisted"}},
		{phaseDot, "421 4.3.2 closing", delivery.Result{Outcome: delivery.NotSent, Code: "421 4.3.2", Detail: "closing"}},
		{phaseDot, "552 5.3.4 too big", delivery.Result{Outcome: delivery.RejectedPerm, Code: "552 5.3.4", Detail: "too big"}},
		{phaseDot, "550 5.1.1 no", delivery.Result{Outcome: delivery.RejectedPerm, Code: "550 5.1.1", Detail: "no", BadAddress: true}},
		{phaseRcpt, "550 5.1.10 null MX", delivery.Result{Outcome: delivery.RejectedPerm, Code: "550 5.1.10", Detail: "null MX", BadAddress: true}},
		{phaseRcpt, "550 5.7.1 user unknown to our policy", delivery.Result{Outcome: delivery.RejectedPerm, Code: "550 5.7.1", Detail: "user unknown to our policy"}},
		{phaseRcpt, "550 No such user here", delivery.Result{Outcome: delivery.RejectedPerm, Code: "550", Detail: "No such user here", BadAddress: true}},
		{phaseRcpt, "550 rejected", delivery.Result{Outcome: delivery.RejectedPerm, Code: "550", Detail: "rejected"}},
		{phaseRcpt, "554 5.7.1 relay access denied", delivery.Result{Outcome: delivery.RejectedPerm, Code: "554 5.7.1", Detail: "relay access denied"}},
		{phaseRcpt, "452 4.2.2 mailbox full", delivery.Result{Outcome: delivery.RejectedTemp, Code: "452 4.2.2", Detail: "mailbox full"}},
		{phaseRcpt, "552 5.2.2 mailbox full", delivery.Result{Outcome: delivery.RejectedTemp, Code: "552 5.2.2", Detail: "mailbox full"}},
		{phaseRcpt, "550 5.1.1 <Jane.Roe@example.com>: jane.roe unknown\x01", delivery.Result{Outcome: delivery.RejectedPerm, Code: "550 5.1.1", Detail: "<address> <address> unknown", BadAddress: true}},
		{phaseMail, "530 5.7.0 authenticate first", delivery.Result{Outcome: delivery.NotSent, Code: "530 5.7.0", Detail: "authenticate first"}},
		{phaseMail, "451 later", delivery.Result{Outcome: delivery.RejectedTemp, Code: "451", Detail: "later"}},
		{phaseMail, "550 5.1.1 sender", delivery.Result{Outcome: delivery.RejectedPerm, Code: "550 5.1.1", Detail: "sender"}},
		{phaseData, "554 5.1.1 no", delivery.Result{Outcome: delivery.RejectedPerm, Code: "554 5.1.1", Detail: "no"}},
		{phaseData, "250 odd", delivery.Result{Outcome: delivery.NotSent, Code: "250", Detail: "odd"}},
		{phaseData, "503 5.5.1 order", delivery.Result{Outcome: delivery.NotSent, Code: "503 5.5.1", Detail: "order"}},
	} {
		r, err := connReading(c.line + "\r\n").reply()
		require.NoError(t, err, c.line)
		require.Equal(t, c.want, r.result(c.at, me), c.line)
	}
}

func TestNonsenseIsNoReply(t *testing.T) {
	for _, s := range []string{
		"", "25", "25\r\n", "hello\r\n", "250", "250-a\r\n251 b\r\n", "999 x\r\n", "100 x\r\n", "250_x\r\n",
		strings.Repeat("250-x\r\n", 1000) + "250 x\r\n", strings.Repeat("2", 10_000) + "\r\n",
	} {
		_, err := connReading(s).reply()
		require.Error(t, err, "%.40q", s)
	}
}

func FuzzReply(f *testing.F) {
	f.Add("250-a\r\n250 2.0.0 ok\r\n")
	f.Add("550 5.1.1 <a@example.com> unknown\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := connReading(s).reply()
		if err != nil {
			return
		}
		for _, at := range []phase{phaseMail, phaseRcpt, phaseData, phaseDot} {
			res := r.result(at, &letter{to: "jane@example.com"})
			require.NotContains(t, res.Detail, "@")
			require.NotContains(t, res.ProviderID, "@")
			if res.Outcome == delivery.Accepted {
				require.Equal(t, phaseDot, at)
				require.Equal(t, 2, r.code/100)
			}
			if res.BadAddress {
				require.Equal(t, delivery.RejectedPerm, res.Outcome)
			}
		}
	})
}

// shortConn takes so many bytes of the message and then fails.
type shortConn struct {
	net.Conn
	room  int
	taken int
}

func (c *shortConn) SetDeadline(time.Time) error { return nil }
func (c *shortConn) Write(b []byte) (int, error) {
	n := min(len(b), c.room-c.taken)
	c.taken += n
	if n < len(b) {
		return n, errors.New("connection reset")
	}
	return n, nil
}

// TestTheDotDecides: for every number of bytes the kernel took before the
// connection broke, the message is NotSent without its final dot and Unknown
// with it.
func TestTheDotDecides(t *testing.T) {
	body := []byte("From: a@example.com\r\n\r\nhello\r\n.\r\n")
	next := []byte("MAIL FROM:<a@example.com>\r\n")
	for room := range len(body) + len(next) + 1 {
		for _, out := range [][]byte{body, append(append([]byte(nil), body...), next...)} {
			c := connReading("")
			c.p = &Provider{opts: Options{DataTimeout: time.Second}}
			c.raw = &shortConn{room: room}
			var res delivery.Result
			err := c.finish(context.Background(), &letter{body: body, result: &res}, out)
			require.Error(t, err)
			want := delivery.NotSent
			if room >= len(body) {
				want = delivery.Unknown
			}
			require.Equal(t, want, res.Outcome, "%d of %d bytes", room, len(body))
			require.NotEmpty(t, res.Detail)
		}
	}
}

func TestAnEarlyRefusalIsHeard(t *testing.T) {
	c := connReading("552 5.3.4 message too big\r\n")
	c.p = &Provider{opts: Options{DataTimeout: time.Second}}
	c.raw = &shortConn{room: 3}
	var res delivery.Result
	err := c.finish(context.Background(), &letter{body: []byte("hello\r\n.\r\n"), result: &res}, []byte("hello\r\n.\r\n"))
	require.Error(t, err)
	require.Equal(t, delivery.RejectedPerm, res.Outcome)
	require.Equal(t, "552 5.3.4", res.Code)
}

func TestDescribeTellsNoSecret(t *testing.T) {
	for _, err := range []error{
		fmt.Errorf("authenticate: %w", &textproto.Error{Code: 535, Msg: "bad password hunter2 for joe@example.com"}),
		fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}),
		fmt.Errorf("begin: %w", io.ErrUnexpectedEOF),
		context.Canceled, context.DeadlineExceeded,
		errors.New("odd: joe@example.com"),
	} {
		r := notSent(err)
		require.Equal(t, delivery.NotSent, r.Outcome)
		require.NotEmpty(t, r.Detail)
		require.NotContains(t, r.Detail, "hunter2")
		require.NotContains(t, r.Detail, "@")
	}
}

// TestTameTextIsNotTouched: the quick way says what the thorough one says.
func TestTameTextIsNotTouched(t *testing.T) {
	l := &letter{to: "Jane.Doe@example.com"}
	for text, tame := range map[string]bool{
		"ok: queued as K1": true, "2.0.0 Ok": true, "": false, " ok": false, "ok ": false, "o  k": false, "o\tk": false, "ök": false,
		"<jane@x>": false, "for jane.doe": false, "for JANE.DOEs": false, "jane.do": true, "xjane.doe": false,
	} {
		require.Equal(t, tame, isTame([]byte(text), "Jane.Doe"), text)
		words := strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
		if tame {
			require.Equal(t, strings.Join(words, " "), redact([]byte(text), l, 200))
		}
		require.NotContains(t, strings.ToLower(redact([]byte(text), l, 200)), "jane.doe")
	}
	require.Equal(t, "ok", redact([]byte("ok: queued"), l, 2))
}
