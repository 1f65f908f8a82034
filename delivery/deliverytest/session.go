package deliverytest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// session is one client of an SMTPSink. Replies are flushed when the client has
// nothing more under way, which is what makes pipelining pay.
type session struct {
	sink *SMTPSink
	conn net.Conn
	r    *bufio.Reader
	w    *bufio.Writer

	authed bool
	from   string
	mailed bool
	to     []string
	body   []byte // the message, when it is kept
	tail   [4]byte
	queued int64
	dead   bool // a fault hung up
}

func newSession(s *SMTPSink, c net.Conn) *session {
	return &session{
		sink: s, conn: c, authed: s.opts.User == "",
		r: bufio.NewReaderSize(c, 64<<10), w: bufio.NewWriterSize(c, 4<<10),
	}
}

// run serves the client until it leaves or a fault ends it.
func (s *session) run() {
	if s.fault(AtConnect, "") {
		_ = s.w.Flush()
		return
	}
	s.say("220 sink ESMTP")
	for {
		if s.r.Buffered() == 0 && s.w.Flush() != nil {
			return
		}
		line, err := s.r.ReadSlice('\n')
		if err != nil {
			return
		}
		if !s.command(bytes.TrimRight(line, "\r\n")) {
			_ = s.w.Flush()
			return
		}
	}
}

func (s *session) say(reply string) {
	_, _ = s.w.WriteString(reply)
	_, _ = s.w.WriteString("\r\n")
}

// command answers one line; false ends the session.
func (s *session) command(line []byte) bool {
	verb := line
	if i := bytes.IndexByte(line, ' '); i >= 0 {
		verb = line[:i]
	}
	switch {
	case is(verb, "MAIL"):
		if !s.authed {
			s.say("530 5.7.0 authentication required")
			return true
		}
		from, ok := path(line, "MAIL FROM:")
		if !ok {
			s.say("501 5.5.4 syntax: MAIL FROM:<address>")
			return true
		}
		if s.mailed {
			s.say("503 5.5.1 nested MAIL")
			return true
		}
		if s.fault(AtMail, "") {
			return !s.dead
		}
		if s.mailed, s.to = true, s.to[:0]; s.sink.opts.Keep > 0 {
			s.from = string(from)
		}
		s.say("250 2.1.0 ok")
	case is(verb, "RCPT"):
		to, ok := path(line, "RCPT TO:")
		switch {
		case !s.mailed:
			s.say("503 5.5.1 MAIL first")
		case !ok || len(to) == 0:
			s.say("501 5.5.4 syntax: RCPT TO:<address>")
		default:
			to := string(to)
			if s.fault(AtRcpt, to) {
				return !s.dead
			}
			s.to = append(s.to, to)
			s.say("250 2.1.5 ok")
		}
	case is(verb, "DATA"):
		if !s.mailed || len(s.to) == 0 {
			s.say("503 5.5.1 RCPT first")
			return true
		}
		if s.fault(AtData, s.to[0]) {
			return !s.dead
		}
		s.say("354 go on")
		return s.message()
	case is(verb, "BDAT") && s.sink.opts.Chunking:
		return s.chunk(string(line))
	case is(verb, "RSET"):
		s.mailed, s.to = false, s.to[:0]
		s.say("250 2.0.0 ok")
	case is(verb, "NOOP"):
		s.say("250 2.0.0 ok")
	case is(verb, "EHLO"):
		s.hello()
	case is(verb, "HELO"):
		s.say("250 sink")
	case is(verb, "AUTH"):
		return s.auth(string(line))
	case is(verb, "STARTTLS") && s.sink.opts.TLS != nil:
		s.say("220 2.0.0 go on")
		_ = s.w.Flush()
		t := tls.Server(s.conn, s.sink.opts.TLS)
		s.conn = t
		s.r.Reset(t)
		s.w.Reset(t)
	case is(verb, "QUIT"):
		s.say("221 2.0.0 bye")
		return false
	default:
		s.say("502 5.5.1 unknown command")
	}
	return true
}

func (s *session) hello() {
	lines := []string{"sink", "8BITMIME", "ENHANCEDSTATUSCODES"}
	if !s.sink.opts.NoPipelining {
		lines = append(lines, "PIPELINING")
	}
	if s.sink.opts.Chunking {
		lines = append(lines, "CHUNKING")
	}
	if s.sink.opts.Size > 0 {
		lines = append(lines, "SIZE "+strconv.Itoa(s.sink.opts.Size))
	}
	if _, secure := s.conn.(*tls.Conn); s.sink.opts.TLS != nil && !secure {
		lines = append(lines, "STARTTLS")
	}
	if s.sink.opts.User != "" {
		lines = append(lines, "AUTH PLAIN LOGIN")
	}
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		s.say("250" + sep + l)
	}
}

// fault lets the script strike; true when it spoke in the sink's place.
func (s *session) fault(at Phase, to string) bool {
	if !s.sink.faulty.Load() {
		return false
	}
	f, ok := s.sink.script.strike(at, to)
	return ok && s.act(f)
}

// act does what a fault says; false when the session goes on as usual.
func (s *session) act(f Fault) bool {
	if f.Delay > 0 {
		_ = s.w.Flush()
		time.Sleep(f.Delay)
	}
	switch {
	case f.Reply != "":
		s.say(f.Reply)
		s.dead = strings.HasPrefix(f.Reply, "421")
	case f.Close:
		s.dead = true
	case f.Hang:
		_ = s.w.Flush()
		_, _ = io.Copy(io.Discard, s.r)
		s.dead = true
	default:
		return false
	}
	return true
}

func (s *session) auth(line string) bool {
	_ = s.w.Flush()
	words := strings.Fields(line)
	ok := false
	switch {
	case len(words) == 3 && strings.EqualFold(words[1], "PLAIN"):
		b, _ := base64.StdEncoding.DecodeString(words[2])
		ok = string(b) == "\x00"+s.sink.opts.User+"\x00"+s.sink.opts.Pass
	case len(words) >= 2 && strings.EqualFold(words[1], "LOGIN"):
		var got [2]string
		for i, prompt := range []string{"Username:", "Password:"} {
			s.say("334 " + base64.StdEncoding.EncodeToString([]byte(prompt)))
			_ = s.w.Flush()
			answer, err := s.r.ReadString('\n')
			if err != nil {
				return false
			}
			b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(answer))
			got[i] = string(b)
		}
		ok = got == [2]string{s.sink.opts.User, s.sink.opts.Pass}
	}
	if s.authed = ok; !ok {
		s.say("535 5.7.8 credentials refused")
		return true
	}
	s.say("235 2.7.0 welcome")
	return true
}

// is compares a verb without regard to case.
func is(verb []byte, upper string) bool {
	if len(verb) != len(upper) {
		return false
	}
	for i, c := range verb {
		if c&^0x20 != upper[i] {
			return false
		}
	}
	return true
}

// path returns the address of MAIL FROM:<a> or RCPT TO:<a>.
func path(line []byte, prefix string) ([]byte, bool) {
	if len(line) < len(prefix)+2 || !strings.EqualFold(string(line[:len(prefix)]), prefix) {
		return nil, false
	}
	rest := bytes.TrimLeft(line[len(prefix):], " ")
	end := bytes.IndexByte(rest, '>')
	if len(rest) == 0 || rest[0] != '<' || end < 0 {
		return nil, false
	}
	return rest[1:end], true
}
