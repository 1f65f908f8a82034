package email_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/delivery/email"
)

var update = flag.Bool("update", false, "write the golden files")

// trouble is what a scripted server does once, at one phase of one message.
type trouble struct {
	at    string // RSET, MAIL, RCPT, DATA, END
	say   string // a reply, or "hang up", "silence"
	mail  int    // of the connection's MAIL commands, the first is 1
	kept  bool   // a message has travelled over the connection before
	mild  bool   // DATA is answered with 354 whatever was refused
	limit int    // of messages over one connection
}

// script is a server that notes every command, and where the client waits.
type script struct {
	trouble
	chunking, pipelining bool

	wg     sync.WaitGroup
	mu     sync.Mutex
	struck bool
	mails  int
	notes  []*strings.Builder // one for each connection
}

func (s *script) listen(t *testing.T) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			note := new(strings.Builder)
			s.mu.Lock()
			s.notes = append(s.notes, note)
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(c.(*net.TCPConn), note) })
		}
	})
	return ln
}

// strikes tells whether the trouble happens now.
func (s *script) strikes(at string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at == "MAIL" {
		s.mails++
	}
	if s.struck || s.at != at || s.mails < s.mail {
		return false
	}
	s.struck = true
	return true
}

func (s *script) begun() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mails
}

func (s *script) serve(c *net.TCPConn, note *strings.Builder) {
	defer func() { _ = c.Close() }()
	r, w := bufio.NewReaderSize(c, 1<<18), bufio.NewWriter(c)
	_, _ = w.WriteString("220 hi\r\n")
	mailed, named := false, false
	for {
		if r.Buffered() == 0 {
			note.WriteByte(' ')
			if w.Flush() != nil {
				return
			}
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		verb, reply, at := words[0], "250 2.0.0 ok", words[0]
		note.WriteByte(verb[0])
		body := false
		switch verb {
		case "EHLO":
			reply = "250-me\r\n"
			if s.pipelining {
				reply += "250-PIPELINING\r\n"
			}
			if s.chunking {
				reply += "250-CHUNKING\r\n"
			}
			reply += "250 8BITMIME"
		case "QUIT":
			return
		case "RSET":
			note.WriteByte('S')
		case "RCPT":
			if !mailed {
				reply = "503 5.5.1 MAIL first"
			} else if s.at == "RSET" && s.begun() == s.mail {
				reply = "550 5.1.1 unknown" // so that the next begins with RSET
			}
		case "DATA":
			if reply, body = "354 go on", true; !named && !s.mild {
				reply, body = "503 5.5.1 RCPT first", false
			}
		case "BDAT":
			at = "END"
			n, _ := strconv.Atoi(words[1])
			if _, err := r.Discard(n); err != nil {
				return
			}
			if !named {
				reply = "503 5.5.1 RCPT first"
			}
		}
		if s.strikes(at) {
			if reply = s.say; !s.utter(c, w, reply) {
				return
			}
			body = body && reply[0] == '3'
		} else {
			_, _ = w.WriteString(reply + "\r\n")
		}
		ok := reply[0] == '2'
		switch verb {
		case "RSET":
			mailed, named = false, false
		case "MAIL":
			mailed = ok
		case "RCPT":
			named = ok
		case "BDAT":
			mailed, named = false, false
		}
		if !body {
			continue
		}
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		for line != ".\r\n" {
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
		}
		note.WriteByte('.')
		if reply = "250 2.0.0 ok"; !named {
			reply = "554 5.5.1 nobody"
		}
		mailed, named = false, false
		if !s.strikes("END") {
			_, _ = w.WriteString(reply + "\r\n")
		} else if !s.utter(c, w, s.say) {
			return
		}
	}
}

// utter does the trouble; false: the connection is over. Closing waits for the
// client, so that no answer is lost on its way.
func (s *script) utter(c *net.TCPConn, w *bufio.Writer, say string) bool {
	if say != "hang up" && say != "silence" {
		_, _ = w.WriteString(say + "\r\n")
		if !strings.HasPrefix(say, "421") {
			return true
		}
	}
	_ = w.Flush()
	if say != "silence" {
		_ = c.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, c)
	return false
}

// TestPhases pins what each answer at each phase does to a call of four
// messages, by every path: outcomes, the words kept of the one that was struck,
// and what went over each connection (a blank: the client waited).
func TestPhases(t *testing.T) {
	says := []string{
		"450 4.2.0 busy", "550 5.1.1 unknown", "552 5.2.2 full", "502 5.5.1 what", "421 4.3.2 bye",
		"354 go on", "250 2.0.0 fine", "hello there", "hang up", "silence",
	}
	var cases []trouble
	for _, at := range []string{"MAIL", "RCPT", "DATA", "END"} {
		for _, say := range says {
			for mail := 1; mail <= 3; mail++ {
				cases = append(cases, trouble{at: at, say: say, mail: mail})
			}
			cases = append(cases, trouble{at: at, say: say, mail: 2, kept: true})
			cases = append(cases, trouble{at: at, say: say, mail: 2, mild: true})
		}
	}
	for _, say := range says {
		cases = append(cases, trouble{at: "RSET", say: say, mail: 1})
		cases = append(cases, trouble{at: "RSET", say: say, mail: 2, kept: true})
	}
	cases = append(cases, trouble{at: "none", limit: 3}, trouble{at: "none"})
	letter := deliverytest.Letter(t)
	msgs := deliverytest.Messages(t, letter, 0, 5)
	var got [3][]string
	var wg sync.WaitGroup
	room := make(chan struct{}, 24)
	for path, name := range []string{"lock-step", "DATA", "BDAT"} {
		got[path] = make([]string, len(cases))
		for i, c := range cases {
			if name == "BDAT" && c.at == "DATA" {
				continue
			}
			wg.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				got[path][i] = fmt.Sprintf("%s %+v: %s\n", name, c, phaseCase(t, path, c, msgs))
			})
		}
	}
	wg.Wait()
	text := ""
	for _, lines := range got {
		text += strings.Join(lines, "")
	}
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile("testdata/phases.golden", []byte(text), 0o644))
	}
	want, err := os.ReadFile("testdata/phases.golden")
	require.NoError(t, err)
	wants := strings.Split(string(want), "\n")
	for i, line := range strings.Split(text, "\n") {
		require.Less(t, i, len(wants))
		require.Equal(t, wants[i], line)
	}
	require.Len(t, strings.Split(text, "\n"), len(wants))
}

func phaseCase(t *testing.T, path int, c trouble, msgs []*delivery.Message) string {
	s := &script{trouble: c, pipelining: path > 0, chunking: path == 2}
	ln := s.listen(t)
	opts := email.Options{URL: "smtp://" + ln.Addr().String() + "?tls=off", MaxMessages: c.limit, HelloName: "a.example.com"}
	if c.say == "silence" {
		opts.CommandTimeout, opts.DataTimeout = 250*time.Millisecond, 250*time.Millisecond
	}
	p, err := email.New(opts)
	if err != nil {
		return err.Error()
	}
	struck := c.mail - 1
	if c.at == "RSET" {
		struck++
	}
	if c.kept {
		p.Send(t.Context(), msgs[4:])
		struck--
	}
	out := ""
	results := p.Send(t.Context(), msgs[:4])
	for _, r := range results {
		if r.NotBegun {
			out += "-"
		} else {
			out += string("uatpn"[r.Outcome])
		}
	}
	if r := results[max(struck, 0)]; c.at != "none" {
		out += fmt.Sprintf(" %q %q bad=%t", r.Code, r.Detail, r.BadAddress)
	}
	_ = p.Close()
	_ = ln.Close()
	s.wg.Wait()
	for _, note := range s.notes {
		out += " |" + note.String()
	}
	return out
}
