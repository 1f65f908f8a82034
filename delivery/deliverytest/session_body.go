package deliverytest

import (
	"bytes"
	"strconv"
	"time"
)

// message reads up to the final dot and answers.
func (s *session) message() bool {
	to := s.to[0]
	if s.w.Flush() != nil {
		return false
	}
	var slow time.Duration
	if s.sink.faulty.Load() {
		if f, ok := s.sink.script.strike(AtBody, to); ok {
			if f.Close || f.Hang || f.Reply != "" {
				_, _ = s.r.Peek(1) // the message has begun
				s.act(f)
				return false
			}
			slow = f.Delay
		}
	}
	s.body = s.body[:0]
	n, err := s.readBody(slow)
	if err != nil {
		return false
	}
	return s.judge(to, n, s.unstuffed)
}

// judge answers a message of n bytes that is here as a whole.
func (s *session) judge(to string, n int, raw func() []byte) bool {
	s.sink.attempts.Add(1)
	m := Mail{From: s.from, To: s.to}
	s.mailed = false
	if s.sink.opts.Size > 0 && n > s.sink.opts.Size {
		s.say("552 5.3.4 message too big")
		return true
	}
	if s.sink.faulty.Load() {
		if f, ok := s.sink.script.strike(AtDot, to); ok {
			if f.Take {
				s.sink.take(m, raw())
			}
			if s.act(f) {
				return !s.dead
			}
			if f.Take {
				s.say("250 2.0.0 ok")
				return true
			}
		}
	}
	s.sink.take(m, raw())
	s.queued++
	_, _ = s.w.WriteString("250 2.0.0 ok: queued as K")
	_, _ = s.w.Write(strconv.AppendInt(s.w.AvailableBuffer(), s.queued, 36))
	_, _ = s.w.WriteString("\r\n")
	return true
}

var endOfMessage = []byte("\r\n.\r\n")

// readBody consumes a message with its final dot and returns its length without
// it. Bytes are kept only when the sink keeps messages.
func (s *session) readBody(slow time.Duration) (int, error) {
	n := 0
	tail := append(s.tail[:0], "\r\n"...) // what came before, for a mark that is split
	keep := s.sink.opts.Keep > 0
	for {
		if _, err := s.r.Peek(1); err != nil {
			return n, err
		}
		time.Sleep(slow)
		buf, _ := s.r.Peek(s.r.Buffered())
		if slow > 0 && len(buf) > 16<<10 {
			buf = buf[:16<<10]
		}
		end := -1 // bytes of buf up to and with the final dot
		if len(tail) > 0 {
			var joint [8]byte
			head := buf[:min(len(buf), 4)]
			b := append(append(joint[:0], tail...), head...)
			if i := bytes.Index(b, endOfMessage); i >= 0 {
				end = i + len(endOfMessage) - len(tail)
			}
		}
		if end < 0 {
			if i := bytes.Index(buf, endOfMessage); i >= 0 {
				end = i + len(endOfMessage)
			}
		}
		size := len(buf)
		if end >= 0 {
			size = end
		}
		if keep {
			s.body = append(s.body, buf[:size]...)
		}
		n += size
		if end < 0 {
			if size >= 4 {
				tail = append(s.tail[:0], buf[size-4:]...)
			} else {
				var joint [8]byte
				b := append(append(joint[:0], tail...), buf...)
				tail = append(s.tail[:0], b[max(0, len(b)-4):]...)
			}
		}
		if _, err := s.r.Discard(size); err != nil {
			return n, err
		}
		if end >= 0 {
			if keep {
				s.body = s.body[:len(s.body)-3]
			}
			return n - 3, nil
		}
	}
}

// unstuffed returns the kept message as it was before the transport.
func (s *session) unstuffed() []byte {
	if len(s.body) == 0 {
		return nil
	}
	b := bytes.ReplaceAll(s.body, []byte("\r\n.."), []byte("\r\n."))
	return bytes.TrimPrefix(b, []byte("."))
}
