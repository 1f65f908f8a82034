package track

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos"
	"kairos/internal/spool"
)

// laned is a door whose server stands behind a lane.
func laned(t testing.TB, change ...func(*Options, *spool.Options)) (d *door, l *Lane, addr string) {
	t.Helper()
	d = open(t, change...)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l = d.Lane(ln)
	s := &http.Server{Handler: d, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		require.ErrorIs(t, <-served, http.ErrServerClosed)
		l.Drain(context.Background())
	})
	return d, l, ln.Addr().String()
}

// held is how many connections are the lane's.
func (l *Lane) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func connect(t testing.TB, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn, bufio.NewReader(conn)
}

// ask sends raw bytes and reads the answer to a request with that method.
func ask(t testing.TB, conn net.Conn, in *bufio.Reader, method, raw string) (*http.Response, string) {
	t.Helper()
	_, err := io.WriteString(conn, raw)
	require.NoError(t, err)
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	_ = resp.Body.Close()
	return resp, string(body)
}

const surfer = "Host: go.example.com\r\nAccept: text/html\r\nUser-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/140.0.0.0\r\n"

// requests in many spellings, of which a few are the lane's.
func requests(d *door) map[string]struct {
	raw  string
	lane bool
} {
	c, o := d.paths()["c"], d.paths()["o"]
	return map[string]struct {
		raw  string
		lane bool
	}{
		"click":             {"GET " + c + " HTTP/1.1\r\n" + surfer + "\r\n", true},
		"open":              {"GET " + o + " HTTP/1.1\r\n" + surfer + "\r\n", true},
		"open without .gif": {"GET " + strings.TrimSuffix(o, ".gif") + " HTTP/1.1\r\n" + surfer + "\r\n", true},
		"keep-alive":        {"GET " + c + " HTTP/1.1\r\n" + surfer + "Connection: Keep-Alive\r\n\r\n", true},
		"prefetch":          {"GET " + c + " HTTP/1.1\r\n" + surfer + "Sec-Purpose: Prefetch;prerender\r\n\r\n", true},
		"not ahead":         {"GET " + c + " HTTP/1.1\r\n" + surfer + "purpose: reading\r\n\r\n", true},
		"scanner":           {"GET " + c + " HTTP/1.1\r\nHost: a\r\nuser-agent:  Barracuda Sentinel \r\n\r\n", true},
		"proxy":             {"GET " + o + " HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0\r\n\r\n", true},
		"no agent":          {"GET " + o + " HTTP/1.1\r\nHost: [::1]:80\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n", true},
		"head":              {"HEAD " + c + " HTTP/1.1\r\n" + surfer + "\r\n", false},
		"query":             {"GET " + c + "?utm=1 HTTP/1.1\r\n" + surfer + "\r\n", false},
		"escape":            {"GET /%63" + c[2:] + " HTTP/1.1\r\n" + surfer + "\r\n", false},
		"close":             {"GET " + c + " HTTP/1.1\r\n" + surfer + "Connection: close\r\n\r\n", false},
		"1.0":               {"GET " + c + " HTTP/1.0\r\n" + surfer + "\r\n", false},
		"body":              {"GET " + c + " HTTP/1.1\r\n" + surfer + "Content-Length: 2\r\n\r\nhi", false},
		"chunked":           {"GET " + c + " HTTP/1.1\r\n" + surfer + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		"two hosts":         {"GET " + c + " HTTP/1.1\r\n" + surfer + "Host: b\r\n\r\n", false},
		"no host":           {"GET " + c + " HTTP/1.1\r\n\r\n", false},
		"folded":            {"GET " + c + " HTTP/1.1\r\n" + surfer + "X-A: b\r\n c\r\n\r\n", false},
		"bare line ends":    {"GET " + c + " HTTP/1.1\nHost: a\n\n", false},
		"bad name":          {"GET " + c + " HTTP/1.1\r\n" + surfer + "X A: b\r\n\r\n", false},
		"bad value":         {"GET " + c + " HTTP/1.1\r\n" + surfer + "X-A: \x01\r\n\r\n", false},
		"bad token":         {"GET /c/abc HTTP/1.1\r\n" + surfer + "\r\n", false},
		"open as click":     {"GET /c/" + o[3:] + " HTTP/1.1\r\n" + surfer + "\r\n", false},
		"script":            {"GET /k.js HTTP/1.1\r\n" + surfer + "\r\n", false},
		"elsewhere":         {"GET / HTTP/1.1\r\n" + surfer + "\r\n", false},
		"page event":        {"POST " + d.paths()["t"] + " HTTP/1.1\r\n" + surfer + "Content-Length: 22\r\n\r\n" + `{"kind":"page.viewed"}`, false},
		"long":              {"GET " + c + " HTTP/1.1\r\n" + surfer + "X-A: " + strings.Repeat("a", 2*laneBuffer) + "\r\n\r\n", false},
	}
}

// Whoever answers, the lane or net/http, the answer and the hit are the same.
func TestLaneAnswersAsNetHTTP(t *testing.T) {
	plain := open(t)
	server := httptest.NewServer(plain)
	defer server.Close()
	d, _, addr := laned(t)
	for name, c := range requests(d) {
		t.Run(name, func(t *testing.T) {
			method, _, _ := strings.Cut(c.raw, " ")
			if h, ok := parseHead([]byte(c.raw)); c.lane {
				require.True(t, ok)
				require.Len(t, c.raw, h.size)
			}
			conn, in := connect(t, server.Listener.Addr().String())
			want, wantBody := ask(t, conn, in, method, c.raw)
			conn, in = connect(t, addr)
			got, body := ask(t, conn, in, method, c.raw)
			date, err := http.ParseTime(got.Header.Get("Date"))
			if want.Header.Get("Date") != "" {
				require.NoError(t, err)
				require.WithinDuration(t, time.Now(), date, time.Minute)
			}
			want.Header.Del("Date")
			got.Header.Del("Date")
			require.Equal(t, want.Status, got.Status)
			require.Equal(t, want.Header, got.Header)
			require.Equal(t, want.ContentLength, got.ContentLength)
			require.Equal(t, want.Close, got.Close)
			if got.StatusCode != http.StatusAccepted { // which names the event
				require.Equal(t, wantBody, body)
			}
			a, b := plain.hits(t), d.hits(t)
			for i := range a {
				a[i].Event.ID = kairos.ID{}
			}
			for i := range b {
				b[i].Event.ID = kairos.ID{}
			}
			require.Equal(t, a, b)
		})
	}
}

// A connection goes on after requests of the lane, in pieces, several at once
// and mixed with others.
func TestLaneConnection(t *testing.T) {
	d, l, addr := laned(t)
	conn, in := connect(t, addr)
	click := requests(d)["click"].raw
	for range 3 {
		resp, _ := ask(t, conn, in, "GET", click)
		require.Equal(t, 302, resp.StatusCode)
	}
	require.Equal(t, 1, l.held(), "it is the lane's")
	resp, _ := ask(t, conn, in, "GET", click+click)
	require.Equal(t, 302, resp.StatusCode)
	resp, _ = ask(t, conn, in, "GET", click[:20])
	require.Equal(t, 302, resp.StatusCode, "the second of two at once")
	time.Sleep(10 * time.Millisecond) // the pieces arrive apart, mostly; either way it is answered
	resp, _ = ask(t, conn, in, "GET", click[20:])
	require.Equal(t, 302, resp.StatusCode)
	resp, body := ask(t, conn, in, "POST", requests(d)["page event"].raw)
	require.Equal(t, 202, resp.StatusCode, body)
	resp, _ = ask(t, conn, in, "GET", click)
	require.Equal(t, 302, resp.StatusCode)
	require.Len(t, d.hits(t), 8)
	require.Eventually(t, func() bool { return l.held() == 0 }, 10*time.Second, time.Millisecond)
}

// A stop closes what is idle at once, and answers what it has begun to.
func TestLaneStops(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	f := &disk{}
	d := open(t, func(_ *Options, so *spool.Options) { so.Fault = f.fault })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := d.Lane(ln)
	idle, idleIn := connect(t, ln.Addr().String())
	click := requests(d)["click"].raw
	resp, _ := ask(t, idle, idleIn, "GET", click)
	require.Equal(t, 302, resp.StatusCode)

	release := f.hold()
	t.Cleanup(release) // before the spool closes
	began := d.spool.Stats()
	busy, busyIn := connect(t, ln.Addr().String())
	_, err = io.WriteString(busy, click)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return d.spool.Stats().Bytes > began.Bytes }, 10*time.Second, time.Millisecond)

	require.NoError(t, l.Close())
	require.ErrorIs(t, l.Close(), net.ErrClosed)
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = idleIn.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	_, err = net.Dial("tcp", ln.Addr().String())
	require.Error(t, err)

	release()
	resp, err = http.ReadResponse(busyIn, nil)
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 302, resp.StatusCode)
	require.True(t, resp.Close)
	_, err = busyIn.ReadByte()
	require.ErrorIs(t, err, io.EOF)
	l.Drain(t.Context())
	require.Zero(t, l.held())
	require.NoError(t, d.spool.Close())
}

// A drain gives up when its context does.
func TestLaneDrainEnds(t *testing.T) {
	d := open(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := d.Lane(ln)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Drain(ctx)
	require.NoError(t, l.Close())
	l.Drain(t.Context())
}

// What the lane takes for a plain request net/http takes for the same one,
// without a body and on a connection that stays.
func FuzzHead(f *testing.F) {
	d := open(f)
	for _, c := range requests(d) {
		f.Add([]byte(c.raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, ok := parseHead(raw)
		if !ok {
			return
		}
		require.LessOrEqual(t, h.size, len(raw))
		in := bufio.NewReader(bytes.NewReader(raw[:h.size]))
		r, err := http.ReadRequest(in)
		require.NoError(t, err)
		_, err = in.ReadByte()
		require.True(t, errors.Is(err, io.EOF), "the head ends where net/http's does")
		require.Equal(t, http.MethodGet, r.Method)
		require.True(t, r.ProtoAtLeast(1, 1) && !r.Close && r.ContentLength == 0 && len(r.TransferEncoding) == 0)
		require.NotEmpty(t, r.Host)
		require.Equal(t, r.URL.Path, string(h.path))
		require.Equal(t, machine(r), map[bool]string{true: "prefetch", false: program(string(h.agent))}[h.ahead])
		require.Empty(t, r.Header.Get("Expect")+r.Header.Get("Upgrade"))
	})
}
