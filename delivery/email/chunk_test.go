package email_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/delivery/email"
)

// TestChunkingSaysTheSame: a message is the same by BDAT and by DATA.
func TestChunkingSaysTheSame(t *testing.T) {
	letter := deliverytest.Letter(t)
	msgs := deliverytest.Messages(t, letter, 0, 11)
	var kept [2][]deliverytest.Mail
	for i, chunking := range []bool{false, true} {
		s := newSink(t, deliverytest.SinkOptions{Chunking: chunking, Keep: 20})
		p := newProvider(t, email.Options{URL: s.URL()})
		for _, r := range send(t, p, msgs...) {
			require.Equal(t, delivery.Accepted, r.Outcome, "%+v", r)
			require.NotEmpty(t, r.ProviderID)
		}
		kept[i] = s.Kept()
	}
	require.Len(t, kept[0], 11)
	require.Equal(t, kept[0], kept[1])
}

// TestChunkingFaults: what befalls one message of a call leaves the others
// alone, but for those that had left with it when the connection broke.
func TestChunkingFaults(t *testing.T) {
	letter := deliverytest.Letter(t)
	for name, c := range map[string]struct {
		fault deliverytest.Fault
		want  string // a letter for each of six messages
	}{
		"temporary":          {deliverytest.Fault{At: deliverytest.AtRcpt, Reply: "450 4.2.0 busy"}, "aataaa"},
		"bad address":        {deliverytest.Fault{At: deliverytest.AtRcpt, Reply: "550 5.1.1 unknown"}, "aapaaa"},
		"refused at BDAT":    {deliverytest.Fault{At: deliverytest.AtDot, Reply: "554 5.6.0 no"}, "aapaaa"},
		"421 at RCPT":        {deliverytest.Fault{At: deliverytest.AtRcpt, Reply: "421 4.3.2 going down"}, "aanaaa"},
		"421 afterwards":     {deliverytest.Fault{At: deliverytest.AtDot, Reply: "421 4.3.2 going down"}, "aanaaa"},
		"does not know BDAT": {deliverytest.Fault{At: deliverytest.AtDot, Reply: "502 5.5.1 what"}, "aanuaa"},
		"lost":               {deliverytest.Fault{At: deliverytest.AtDot, Close: true}, "aauu--"},
		"taken, then lost":   {deliverytest.Fault{At: deliverytest.AtDot, Close: true, Take: true}, "aauu--"},
	} {
		t.Run(name, func(t *testing.T) {
			c.fault.To = deliverytest.Recipient(2)
			s := newSink(t, deliverytest.SinkOptions{Chunking: true, Faults: []deliverytest.Fault{c.fault}})
			p := newProvider(t, email.Options{URL: s.URL()})
			got := ""
			for i, r := range send(t, p, deliverytest.Messages(t, letter, 0, 6)...) {
				n := s.Accepted(deliverytest.Recipient(i))
				switch r.Outcome {
				case delivery.Accepted:
					require.Equal(t, 1, n)
				case delivery.Unknown:
					require.LessOrEqual(t, n, 1)
				default:
					require.Zero(t, n)
				}
				if r.NotBegun {
					got += "-"
				} else {
					got += string("uatpn"[r.Outcome])
				}
			}
			require.Equal(t, c.want, got)
			require.Zero(t, s.Duplicates())
			s.SetFaults()
			for _, r := range send(t, p, deliverytest.Messages(t, letter, 10, 6)...) {
				require.Equal(t, delivery.Accepted, r.Outcome, "%+v", r)
			}
		})
	}
}

// TestChunkingKeptConnections: a connection that was closed while nobody looked
// costs nobody a message.
func TestChunkingKeptConnections(t *testing.T) {
	letter := deliverytest.Letter(t)
	s := newSink(t, deliverytest.SinkOptions{Chunking: true})
	p := newProvider(t, email.Options{URL: s.URL()})
	for i := range 5 {
		for _, r := range send(t, p, deliverytest.Messages(t, letter, 10*i, 6)...) {
			require.Equal(t, delivery.Accepted, r.Outcome, "%+v", r)
		}
		s.Drop()
		require.Eventually(t, func() bool { _, open := s.Connections(); return open == 0 }, 5*time.Second, time.Millisecond)
	}
	ever, _ := s.Connections()
	require.Equal(t, 5, ever)
	require.Equal(t, 30, s.Total())
	require.Zero(t, s.Duplicates())
}

// TestChunkingDistrust: a server that hangs up after so many messages without a
// word costs some once, and none once DATA is used.
func TestChunkingDistrust(t *testing.T) {
	addr := fewAtATime(t, 7)
	p := newProvider(t, email.Options{URL: "smtp://" + addr + "?tls=off"})
	letter := deliverytest.Letter(t)
	unknown := 0
	for i := range 10 {
		for _, r := range send(t, p, deliverytest.Messages(t, letter, 10*i, 10)...) {
			if r.Outcome == delivery.Unknown {
				unknown++
				continue
			}
			require.True(t, r.Outcome == delivery.Accepted || r.NotBegun, "%+v", r)
		}
	}
	require.Equal(t, 1, unknown) // the eighth, which left with three before it
}

// fewAtATime is a server that takes n messages over a connection and hangs up.
func fewAtATime(t *testing.T, n int) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go takeSome(c, n)
		}
	}()
	return ln.Addr().String()
}

func takeSome(c net.Conn, n int) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	say := func(s string) { _, _ = io.WriteString(c, s+"\r\n") }
	say("220 hello")
	for taken := 0; taken < n; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch words := strings.Fields(line); words[0] {
		case "EHLO":
			say("250-me\r\n250-PIPELINING\r\n250 CHUNKING")
		case "BDAT":
			size, _ := strconv.Atoi(words[1])
			if _, err := r.Discard(size); err != nil {
				return
			}
			taken++
			say(fmt.Sprintf("250 2.0.0 ok %d", taken))
		case "DATA":
			say("354 go on")
			for line != ".\r\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
			}
			taken++
			say(fmt.Sprintf("250 2.0.0 ok %d", taken))
		default:
			say("250 2.0.0 ok")
		}
	}
}
