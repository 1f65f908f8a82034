package outbound

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"kairos"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCheckURL(t *testing.T) {
	for _, good := range []string{
		"https://hooks.example.com/kairos?team=1", "http://hooks.example.com:8080", "https://8.8.8.8/x", "https://[2606:4700::1111]:8443/",
		"HTTPS://Hooks.Example.COM/", "https://xn--bcher-kva.example/", "https://hooks.example.com./", "https://a_b.example/", "https://1.example/",
	} {
		require.NoError(t, CheckURL(good), good)
	}
	for _, bad := range []string{
		"", "hooks.example.com", "//hooks.example.com", "ftp://hooks.example.com", "file:///etc/passwd", "gopher://x.example", "javascript:alert(1)",
		"https://", "https:///path", "https://:443/", "https://?x", "https://user@hooks.example.com", "https://user:pw@hooks.example.com", "https://@hooks.example.com",
		"https://hooks.example.com:0/", "https://hooks.example.com:65536/", "https://hooks.example.com:/", "https://hooks.example.com:http/",
		"https://hooks.example.com\\@127.0.0.1/", "https://a b.example/", "https://a\n.example/", "https://hooks..example/x..", "https://.", "https://bücher.example/",
		"https://①②⑦.0.0.1/", "https://１２７.0.0.1/", "https://127。0。0。1/", "https://%31%32%37.0.0.1/",
		"http://127.0.0.1/", "http://127.1.2.3/", "http://127.0.0.1./", "http://0.0.0.0/", "http://10.1.2.3/", "http://172.16.0.1/", "http://172.31.255.255/",
		"http://192.168.1.1/", "http://169.254.169.254/latest/meta-data/", "http://100.64.0.1/", "http://100.100.100.200/", "http://168.63.129.16/",
		"http://192.0.0.192/", "http://192.0.2.1/", "http://198.18.0.1/", "http://198.19.255.255/", "http://198.51.100.7/", "http://203.0.113.9/",
		"http://224.0.0.1/", "http://239.255.255.255/", "http://240.0.0.1/", "http://255.255.255.255/",
		"http://[::]/", "http://[::1]/", "http://[fc00::1]/", "http://[fd00:ec2::254]/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/", "http://[2606:4700::1%25eth0]/",
		"http://[ff02::1]/", "http://[fec0::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:8.8.8.8]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/",
		"http://[64:ff9b::7f00:1]/", "http://[64:ff9b:1::1]/", "http://[2002:7f00:1::]/", "http://[2002:a00:1::]/", "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
		"http://[2001:db8::1]/", "http://[100::1]/", "http://[127.0.0.1]/", "http://[hooks.example.com]/", "http://[::1/",
		"http://0x7f.1/", "http://0x7f000001/", "http://2130706433/", "http://017700000001/", "http://0177.0.0.1/", "http://127.1/", "http://127.0.1/", "http://0/",
		"http://0x/", "http://1.2.3.4.5/", "http://1.2.3.08/", "http://256.1.1.1/", "http://example.0x7f/", "http://example.1/", "http://134744072/",
		"http://localhost/", "http://LOCALHOST:8080/", "http://api.localhost/", "http://localhost./", "http://metadata.google.internal/",
		"https://hooks.example.com/" + strings.Repeat("a", maxURL),
	} {
		err := CheckURL(bad)
		require.ErrorIs(t, err, kairos.ErrInvalid, bad)
		if u, perr := url.Parse(bad); perr == nil && len(u.Hostname()) > 3 {
			require.NotContains(t, err.Error(), u.Hostname())
		}
	}
	private := NewClient(Options{AllowPrivate: true})
	require.NoError(t, private.CheckURL("http://127.0.0.1:8080/hook"))
	require.NoError(t, private.CheckURL("http://localhost:8080/hook"))
	require.Error(t, private.CheckURL("http://2130706433/"))
	require.Error(t, private.CheckURL("ftp://localhost/"))
}

func TestPublic(t *testing.T) {
	for _, p := range refused {
		last := p.Addr()
		require.False(t, public(last), p)
		require.False(t, refuse("tcp4", netip.AddrPortFrom(last, 443).String()) == nil, p)
	}
	for _, s := range []string{"1.1.1.1", "9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0", "168.63.129.15",
		"198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "2003::1"} {
		require.True(t, public(netip.MustParseAddr(s)), s)
	}
	require.False(t, public(netip.Addr{}))
	require.ErrorIs(t, refuse("udp4", "1.1.1.1:53"), ErrRefused)
	require.ErrorIs(t, refuse("tcp4", "hooks.example.com:443"), ErrRefused)
}

// names is a resolver whose answer for any name is the next of addrs, the last
// one for ever. It speaks DNS over a pipe, so that the real resolver is at work.
func names(t *testing.T, addrs ...string) (*net.Resolver, *atomic.Int64) {
	var asked atomic.Int64
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			for {
				var size [2]byte // of TCP's framing: a pipe is no packet connection
				if _, err := io.ReadFull(server, size[:]); err != nil {
					return
				}
				raw := make([]byte, int(size[0])<<8|int(size[1]))
				if _, err := io.ReadFull(server, raw); err != nil {
					return
				}
				var m dnsmessage.Message
				if m.Unpack(raw) != nil || len(m.Questions) != 1 {
					return
				}
				q := m.Questions[0]
				m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeSuccess, nil
				ip := netip.Addr{}
				if q.Type == dnsmessage.TypeA {
					n := asked.Add(1)
					ip = netip.MustParseAddr(addrs[min(int(n), len(addrs))-1])
				}
				if ip.Is4() {
					m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
						Body: &dnsmessage.AResource{A: ip.As4()}}}
				}
				out, err := m.Pack()
				if err != nil {
					return
				}
				if _, err := server.Write(append([]byte{byte(len(out) >> 8), byte(len(out))}, out...)); err != nil {
					return
				}
			}
		}()
		return client, nil
	}}, &asked
}

func get(t *testing.T, c *Client, to string) (Response, error) {
	t.Helper()
	t.Cleanup(c.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, bytes.NewReader([]byte("{}")))
	require.NoError(t, err)
	return c.Do(req)
}

// receiver counts what reaches it.
func receiver(t *testing.T, answer http.HandlerFunc) (at *httptest.Server, reached *atomic.Int64) {
	reached = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s, reached
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("fine")) }

func TestNameThatChangesItsAddressIsRefusedAtDial(t *testing.T) {
	s, reached := receiver(t, ok)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	resolver, asked := names(t, "93.184.216.34", "127.0.0.1") // public when somebody looks, private when dialled
	found, err := resolver.LookupNetIP(t.Context(), "ip4", "rebind.example.com")
	require.NoError(t, err)
	require.True(t, public(found[0].Unmap()))
	to := "http://rebind.example.com:" + port + "/"
	require.NoError(t, CheckURL(to))

	_, err = get(t, NewClient(Options{Resolver: resolver}), to)
	require.ErrorIs(t, err, ErrRefused)
	require.NotContains(t, err.Error(), "rebind")
	require.Zero(t, reached.Load())
	require.EqualValues(t, 2, asked.Load())

	r, err := get(t, NewClient(Options{Resolver: resolver, AllowPrivate: true}), to) // the same way is open without the guard
	require.NoError(t, err)
	require.Equal(t, "fine", string(r.Body))
}

func TestPrivateNamesAreRefusedAtDial(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "168.63.129.16", "255.255.255.255"} {
		resolver, _ := names(t, ip)
		_, err := get(t, NewClient(Options{Resolver: resolver, Timeout: 5 * time.Second}), "http://inside.example.com:9/")
		require.ErrorIs(t, err, ErrRefused, ip)
	}
	// What slips past the words of CheckURL meets the dial.
	s, reached := receiver(t, ok)
	c := NewClient(Options{})
	t.Cleanup(c.Close)
	for _, network := range []string{"tcp", "tcp4"} {
		_, err := c.http.Transport.(*http.Transport).DialContext(t.Context(), network, s.Listener.Addr().String())
		require.ErrorIs(t, err, ErrRefused)
	}
	_, err := get(t, c, "http://0x7f.1/")
	require.ErrorIs(t, err, kairos.ErrInvalid)
	require.Zero(t, reached.Load())
}

func TestNoRedirectIsFollowed(t *testing.T) {
	inside, reached := receiver(t, ok)
	s, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inside.URL, http.StatusTemporaryRedirect)
	})
	r, err := get(t, NewClient(Options{AllowPrivate: true}), s.URL)
	require.NoError(t, err)
	require.Equal(t, http.StatusTemporaryRedirect, r.Status)
	require.Zero(t, reached.Load())
}

func TestProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	proxy, viaProxy := receiver(t, ok)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	req := httptest.NewRequest(http.MethodGet, "http://hooks.example.com/", nil)
	would, err := http.ProxyFromEnvironment(req)
	require.NoError(t, err)
	require.NotNil(t, would, "the environment does name a proxy")
	s, reached := receiver(t, ok)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	resolver, _ := names(t, "127.0.0.1")
	_, err = get(t, NewClient(Options{AllowPrivate: true, Resolver: resolver}), "http://hooks.example.com:"+port+"/")
	require.NoError(t, err)
	require.Zero(t, viaProxy.Load())
	require.EqualValues(t, 1, reached.Load())
}

func TestEndlessAnswerIsCut(t *testing.T) {
	gone := make(chan struct{})
	s, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		block := bytes.Repeat([]byte("a"), 4096)
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	r, err := get(t, NewClient(Options{AllowPrivate: true}), s.URL)
	require.NoError(t, err)
	require.Len(t, r.Body, 64<<10)
	select {
	case <-gone: // the connection was closed, not drained
	case <-time.After(5 * time.Second):
		t.Fatal("the answer is still read")
	}
}

func TestSlowAnswersEndInTime(t *testing.T) {
	release := make(chan struct{})
	for name, answer := range map[string]http.HandlerFunc{
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-release },
		"drop by drop": func(w http.ResponseWriter, r *http.Request) {
			for {
				_, err := w.Write([]byte("."))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-release:
					return
				case <-time.After(5 * time.Millisecond):
				}
				if err != nil {
					return
				}
			}
		},
	} {
		s, _ := receiver(t, answer)
		began := time.Now()
		_, err := get(t, NewClient(Options{AllowPrivate: true, Timeout: 150 * time.Millisecond}), s.URL)
		require.ErrorIs(t, err, ErrTimeout, name)
		require.Less(t, time.Since(began), 5*time.Second, name)
	}
	close(release)

	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts nothing, TLS never answers
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()
	_, err = get(t, NewClient(Options{AllowPrivate: true, Timeout: 150 * time.Millisecond}), "https://"+silent.Addr().String())
	require.ErrorIs(t, err, ErrTimeout)

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kairos.ErrConflict)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:9/", nil)
	require.NoError(t, err)
	_, err = NewClient(Options{AllowPrivate: true}).Do(req)
	require.ErrorIs(t, err, kairos.ErrConflict, "the caller's own reason")
}

func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://hooks.example.com/x", "http://[::ffff:127.0.0.1]/", "http://0x7f.1", "http://2130706433", "http://a@b:1", "http://127.0.0.1%2f@x.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckURL(s) != nil {
			return
		}
		u, err := url.Parse(s)
		require.NoError(t, err)
		require.Nil(t, u.User)
		require.NotEmpty(t, u.Hostname())
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
			require.True(t, public(ip))
		}
	})
}
