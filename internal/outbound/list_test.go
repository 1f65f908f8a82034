package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEverySpellingOfAPrivateAddress is refused where the receiver is named,
// and where the connection is made the address behind it is, whoever named it.
func TestEverySpellingOfAPrivateAddress(t *testing.T) {
	for what, c := range map[string]struct {
		hosts []string // as a client may write it
		ips   []string // what a dial would be made to
	}{
		"this machine":   {[]string{"127.0.0.1", "127.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.1", "localhost", "[::1]"}, []string{"127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "::"}},
		"private":        {[]string{"10.0.0.1", "0xa.1", "167772161", "192.168.0.1", "172.16.0.1"}, []string{"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.255.255", "fc00::1", "fd00::1"}},
		"link-local":     {[]string{"169.254.169.254", "0xa9fea9fe", "2852039166", "[fe80::1]"}, []string{"169.254.0.1", "169.254.169.254", "fe80::1", "febf::1", "fd00:ec2::254"}},
		"carrier's":      {[]string{"100.64.0.1", "100.127.255.255"}, []string{"100.64.0.1", "100.127.255.255"}},
		"Azure's host":   {[]string{"168.63.129.16", "0xa83f8110", "2822734096"}, []string{"168.63.129.16"}},
		"assignments":    {[]string{"192.0.0.1", "192.0.0.192"}, []string{"192.0.0.0", "192.0.0.255"}},
		"reserved":       {[]string{"240.0.0.1", "255.255.255.255"}, []string{"240.0.0.1", "255.255.255.255", "224.0.0.1"}},
		"mapped":         {[]string{"[::ffff:10.0.0.1]", "[::ffff:a00:1]", "[::ffff:169.254.169.254]", "[::ffff:127.0.0.1]"}, []string{"::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:168.63.129.16"}},
		"NAT64":          {[]string{"[64:ff9b::10.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]"}, []string{"64:ff9b::a00:1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1"}},
		"6to4, Teredo":   {[]string{"[2002:a00:1::]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]"}, []string{"2002:a00:1::", "2002:7f00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"}},
		"old compatible": {[]string{"[::127.0.0.1]", "[::a00:1]"}, []string{"::127.0.0.1", "::a00:1"}},
	} {
		for _, host := range c.hosts {
			require.Error(t, CheckURL("http://"+host+"/"), "%s: %s", what, host)
			require.Error(t, CheckURL("https://"+host+":8443/x"), "%s: %s", what, host)
		}
		for _, ip := range c.ips {
			for _, network := range []string{"tcp", "tcp4", "tcp6"} {
				require.ErrorIs(t, refuse(network, net.JoinHostPort(ip, "443")), ErrRefused, "%s: %s", what, ip)
			}
		}
	}
}

// TestDialOfEveryForm: the transport itself, without the check of the words.
func TestDialOfEveryForm(t *testing.T) {
	c := NewClient(Options{})
	t.Cleanup(c.Close)
	dial := c.http.Transport.(*http.Transport).DialContext
	for _, at := range []string{"127.0.0.1:9", "[::1]:9", "[::ffff:127.0.0.1]:9", "[64:ff9b::7f00:1]:9", "10.0.0.1:9", "169.254.169.254:80", "168.63.129.16:80", "100.64.0.1:80", "192.0.0.192:80", "240.0.0.1:80"} {
		conn, err := dial(context.Background(), "tcp", at)
		require.Nil(t, conn)
		if errors.Is(err, syscall.EAFNOSUPPORT) {
			continue // this machine has no IPv6; the kernel says so before anybody is asked
		}
		require.ErrorIs(t, err, ErrRefused, at)
	}
}
