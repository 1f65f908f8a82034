package deliverytest

import (
	"io"
	"strconv"
	"strings"
)

// chunk takes a message by BDAT (RFC 3030); one chunk is the whole of it.
func (s *session) chunk(line string) bool {
	words := strings.Fields(line)
	n, err := -1, error(nil)
	if len(words) == 3 && strings.EqualFold(words[2], "LAST") {
		n, err = strconv.Atoi(words[1])
	}
	if err != nil || n < 0 {
		s.say("501 5.5.4 syntax: BDAT size LAST")
		return false // where the message ends isn't known
	}
	if !s.mailed || len(s.to) == 0 {
		if _, err := s.r.Discard(n); err != nil {
			return false
		}
		s.say("503 5.5.1 RCPT first")
		return true
	}
	to := s.to[0]
	if s.sink.faulty.Load() {
		if f, ok := s.sink.script.strike(AtData, to); ok && s.act(f) {
			if s.dead {
				return false
			}
			_, err := s.r.Discard(n)
			return err == nil
		}
		if f, ok := s.sink.script.strike(AtBody, to); ok && (f.Close || f.Hang || f.Reply != "") {
			_, _ = s.r.Peek(1) // the message has begun
			s.act(f)
			return false
		}
	}
	if s.body = s.body[:0]; s.sink.opts.Keep > 0 {
		s.body = append(s.body, make([]byte, n)...)
		_, err = io.ReadFull(s.r, s.body)
	} else {
		_, err = s.r.Discard(n)
	}
	if err != nil {
		return false
	}
	return s.judge(to, n, func() []byte { return s.body })
}
