//go:build !race

package email

import (
	"bufio"
	"context"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery"
)

// The limits here are what was measured when they were written and three tenths
// more. Whoever needs more room says why.

// agreeable is a server that answers each transaction as a pipelining one does.
type agreeable struct {
	net.Conn
	says, rest string
}

func (agreeable) SetDeadline(time.Time) error { return nil }
func (agreeable) Write(b []byte) (int, error) { return len(b), nil }
func (c *agreeable) Read(b []byte) (int, error) {
	if c.rest == "" {
		c.rest = c.says
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func TestAllocationsOfATransaction(t *testing.T) {
	const queued = "250 2.0.0 ok: queued as K1\r\n"
	t.Run("DATA", func(t *testing.T) {
		allocationsOf(t, &conn{raw: &agreeable{says: "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n" + queued}, pipeline: true})
	})
	t.Run("BDAT", func(t *testing.T) {
		allocationsOf(t, &conn{raw: &agreeable{says: queued}, pipeline: true, chunking: true})
	})
}

func allocationsOf(t *testing.T, c *conn) {
	const chain = 16
	c.p, c.text = &Provider{opts: Options{MaxMessages: 1 << 30}}, &textproto.Conn{Reader: textproto.Reader{R: bufio.NewReaderSize(c.raw, 4096)}}
	results := make([]delivery.Result, chain)
	letters := make([]letter, chain)
	for i := range letters {
		letters[i] = letter{from: "bounce@example.com", to: "person000017@example.com", body: []byte(strings.Repeat("x", 11<<10) + "\r\n.\r\n"), result: &results[i]}
	}
	ctx := context.Background()
	allocs := testing.AllocsPerRun(100, func() {
		if n, err := c.send(ctx, letters); n != chain || err != nil {
			t.Fatal(n, err)
		}
	}) / chain
	for _, r := range results {
		require.Equal(t, delivery.Result{Outcome: delivery.Accepted, Code: "250 2.0.0", ProviderID: "K1"}, r)
	}
	t.Logf("%.1f allocations a message", allocs)
	require.LessOrEqual(t, allocs, 1.3)
}
