package deliverytest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos/delivery/deliverytest"
)

func TestMain(m *testing.M) {
	if os.Getenv("DELIVERYTEST_SINK") != "" {
		if err := deliverytest.RunSink(os.Args[1:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// client speaks raw SMTP.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) say(s string) {
	c.t.Helper()
	_, err := io.WriteString(c.conn, s)
	require.NoError(c.t, err)
}

func (c *client) hear(prefixes ...string) {
	c.t.Helper()
	for _, p := range prefixes {
		line, err := c.r.ReadString('\n')
		require.NoError(c.t, err)
		require.True(c.t, strings.HasPrefix(line, p), "%q instead of %q", line, p)
	}
}

func newSink(t *testing.T, opts deliverytest.SinkOptions) *deliverytest.SMTPSink {
	t.Helper()
	s, err := deliverytest.NewSMTPSink(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// TestMessagesSurviveAnySplit: whatever the pieces the bytes arrive in, the
// message is what was sent and the final dot is found.
func TestMessagesSurviveAnySplit(t *testing.T) {
	s := newSink(t, deliverytest.SinkOptions{Keep: 1})
	c := dial(t, s.Addr())
	c.hear("220")
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 60 {
		var body strings.Builder
		for range rnd.IntN(40) {
			body.WriteString([]string{"x\r\n", "\r\n", ".\r\n", "..\r\n", ".x\r\n", "a.\r\n", strings.Repeat("y", 70) + "\r\n"}[rnd.IntN(7)])
		}
		want := body.String()
		if n == 0 {
			want = ""
		}
		wire := strings.ReplaceAll("\r\n"+want, "\r\n.", "\r\n..")[2:] + ".\r\n"
		c.say("MAIL FROM:<>\r\nRCPT TO:<a@example.com>\r\nDATA\r\n")
		c.hear("250", "250", "354")
		for rest := wire; rest != ""; {
			k := min(1+rnd.IntN(6), len(rest))
			if n%3 == 0 {
				k = len(rest)
			}
			c.say(rest[:k])
			rest = rest[k:]
		}
		c.hear("250 2.0.0 ok: queued")
		require.Equal(t, want, string(s.Kept()[0].Raw))
	}
	require.Equal(t, 60, s.Accepted("A@example.com"))
	require.Equal(t, 59, s.Duplicates())
}

func TestSinkKeepsOrder(t *testing.T) {
	s := newSink(t, deliverytest.SinkOptions{})
	c := dial(t, s.Addr())
	c.say("RCPT TO:<a@example.com>\r\nDATA\r\nMAIL FROM:a\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\nDATA\r\nRCPT TO:<>\r\nRSET\r\nDATA\r\nNONSENSE\r\nQUIT\r\n")
	c.hear("220", "503", "503", "501", "250", "503", "503", "501", "250", "503", "502", "221")
	_, err := c.r.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, s.Attempts())
}

func TestFaultsRead(t *testing.T) {
	for _, f := range []deliverytest.Fault{
		{At: deliverytest.AtDot, Percent: 2.5, Reply: "451 4.3.0 try later"},
		{At: deliverytest.AtRcpt, To: "a@example.com", Skip: 2, Times: 3, Close: true},
		{At: deliverytest.AtDot, Take: true, Hang: true, Delay: time.Second},
	} {
		got, err := deliverytest.ParseFault(f.String())
		require.NoError(t, err)
		require.Equal(t, f, got)
	}
	for _, s := range []string{"", "nowhere", "dot,percent=x", "dot,what", "dot,delay=1"} {
		_, err := deliverytest.ParseFault(s)
		require.Error(t, err, s)
	}
}

func TestFaultsStrikeInOrder(t *testing.T) {
	s := newSink(t, deliverytest.SinkOptions{Faults: []deliverytest.Fault{
		{At: deliverytest.AtRcpt, To: "b@example.com", Reply: "550 no b"},
		{At: deliverytest.AtRcpt, Skip: 1, Times: 2, Reply: "450 not now"},
	}})
	c := dial(t, s.Addr())
	c.say("MAIL FROM:<a@b>\r\n")
	c.hear("220", "250")
	for _, want := range []string{"250", "450", "450", "250"} {
		c.say("RCPT TO:<a@example.com>\r\nRCPT TO:<B@example.com>\r\n")
		c.hear(want, "550 no b")
	}
}

// TestSinkProcess runs the sink as a process of its own.
func TestSinkProcess(t *testing.T) {
	cmd := exec.Command(os.Args[0], "--fault", "rcpt,to=bad@example.com,reply=550 5.1.1 no")
	cmd.Env = append(os.Environ(), "DELIVERYTEST_SINK=1")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "%s", &errs)
	var at struct{ SMTP, Control string }
	require.NoError(t, json.Unmarshal(lines.Bytes(), &at))

	c := dial(t, at.SMTP)
	c.say("MAIL FROM:<a@b>\r\nRCPT TO:<bad@example.com>\r\nRCPT TO:<good@example.com>\r\nDATA\r\n")
	c.hear("220", "250", "550", "250", "354")
	c.say("x\r\n.\r\n")
	c.hear("250")

	call := func(method, path, body string, want int) string {
		req, err := http.NewRequest(method, at.Control+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Close = true
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, want, res.StatusCode)
		return string(b)
	}
	require.Equal(t, "1", call("GET", "/accepted?to=good@example.com", "", 200))
	require.JSONEq(t, `{"good@example.com":1}`, call("GET", "/recipients", "", 200))
	call("POST", "/faults", `["what"]`, 400)
	call("POST", "/faults", `{}`, 400)
	call("POST", "/faults", `["mail,reply=451 4.0.0 later"]`, 204)
	c.say("MAIL FROM:<a@b>\r\n")
	c.hear("451")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.True(t, lines.Scan())
	require.JSONEq(t, `{"total":1,"recipients":1,"duplicates":0,"attempts":1,"connections":1,"open":1}`, lines.Text())
	require.NoError(t, cmd.Wait())
}
