package email

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"

	"kairos/delivery"
)

// phase is what a reply answers.
type phase uint8

const (
	phaseReset phase = iota
	phaseMail
	phaseRcpt
	phaseData
	phaseDot
	phaseDone
)

// reply of the server; text is valid until the next one.
type reply struct {
	code     int
	enhanced string // "5.1.1" or ""
	text     []byte // of the last line, without codes
}

const maxReplyLines = 64

var errReply = errors.New("answer is no SMTP reply")

// reply reads one, of any number of lines.
func (c *conn) reply() (reply, error) {
	var r reply
	for range maxReplyLines {
		line, err := c.text.R.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return r, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return r, errReply
		}
		code := 0
		for _, d := range line[:3] {
			if d < '0' || d > '9' {
				return r, errReply
			}
			code = code*10 + int(d-'0')
		}
		if r.code != 0 && code != r.code || code < 200 || code > 599 {
			return r, errReply
		}
		r.code = code
		if len(line) > 4 {
			r.text = line[4:]
			if n := enhancedLen(r.text); n > 0 {
				r.enhanced = enhancedCode(r.text[:n])
				r.text = bytes.TrimLeft(r.text[n:], " ")
			}
		} else {
			r.text = nil
		}
		if len(line) == 3 || line[3] == ' ' {
			return r, nil
		}
	}
	return r, errReply
}

// enhancedLen returns the length of an enhanced status code (RFC 3463) that s
// begins with, or 0.
func enhancedLen(s []byte) int {
	if len(s) < 5 || s[0] != '2' && s[0] != '4' && s[0] != '5' || s[1] != '.' {
		return 0
	}
	dots, n := 1, 2
	for n < len(s) && n < 9 {
		switch c := s[n]; {
		case c >= '0' && c <= '9':
		case c == '.' && dots == 1 && s[n-1] != '.':
			dots++
		case c == ' ' && dots == 2 && s[n-1] != '.':
			return n
		default:
			return 0
		}
		n++
	}
	if n == len(s) && dots == 2 && s[n-1] != '.' {
		return n
	}
	return 0
}

// enhancedCode returns the code as a string, made only where it is rare.
func enhancedCode(b []byte) string {
	for _, usual := range [...]string{"2.0.0", "2.1.0", "2.1.5"} {
		if string(b) == usual {
			return usual
		}
	}
	return string(b)
}

// result says what a reply means for the letter.
func (r reply) result(at phase, l *letter) delivery.Result {
	code := "250 2.0.0"
	if r.code != 250 || r.enhanced != "2.0.0" {
		code = strings.TrimSuffix(strconv.Itoa(r.code)+" "+r.enhanced, " ")
	}
	if at == phaseDot && r.code/100 == 2 {
		return delivery.Result{Outcome: delivery.Accepted, Code: code, ProviderID: queueID(redact(r.text, l, 200))}
	}
	res := delivery.Result{Code: code, Detail: redact(r.text, l, 120)}
	switch {
	case r.code == 421, r.aboutUs():
		res.Outcome = delivery.NotSent
	case r.code/100 == 4, at == phaseRcpt && r.code == 552 && (r.enhanced == "" || r.enhanced == "5.2.2" || r.enhanced == "5.5.3"):
		// RFC 5321, 4.5.3.1.10: 552 to RCPT is to be taken for 452.
		res.Outcome = delivery.RejectedTemp
	case r.code/100 == 5:
		res.Outcome = delivery.RejectedPerm
		res.BadAddress = at >= phaseRcpt && at != phaseData && r.badAddress()
	case at == phaseDot:
		res.Outcome = delivery.Unknown // 3xx: no answer to a message
	default:
		res.Outcome = delivery.NotSent
	}
	return res
}

// aboutUs tells replies that blame the caller or its account, not the message:
// another one would fare the same.
func (r reply) aboutUs() bool {
	switch r.code {
	case 454, 500, 502, 503, 504, 530, 534, 535, 538:
		return true
	}
	return false
}

// badAddress tells permanent replies that say the mailbox doesn't exist
// (RFC 3463, 3.2; RFC 7505 for 5.1.10). Without an enhanced code the text decides.
func (r reply) badAddress() bool {
	switch r.enhanced {
	case "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1":
		return true
	case "", "5.0.0":
	default:
		return false
	}
	if r.code != 550 && r.code != 551 && r.code != 553 {
		return false
	}
	text := strings.ToLower(string(r.text))
	for _, s := range [...]string{
		"user unknown", "unknown user", "no such user", "no such recipient", "no such mailbox", "does not exist",
		"doesn't exist", "unknown recipient", "recipient unknown", "mailbox not found", "user not found",
		"unknown mailbox", "invalid recipient", "recipient not found", "mailbox unavailable", "no mailbox",
	} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// redact returns at most n bytes of printable text without any address.
func redact(text []byte, l *letter, n int) string {
	local, _, _ := strings.Cut(l.to, "@")
	if isTame(text, local) {
		return string(text[:min(len(text), n)])
	}
	words := strings.FieldsFunc(string(text), func(r rune) bool { return r <= ' ' || r >= 0x7f })
	for i, w := range words {
		if strings.Contains(w, "@") || len(local) > 2 && strings.Contains(strings.ToLower(w), strings.ToLower(local)) {
			words[i] = "<address>"
		}
	}
	s := strings.Join(words, " ")
	return s[:min(len(s), n)]
}

// isTame tells printable text of single words that names no address, nor the
// local part of one.
func isTame(text []byte, local string) bool {
	last := byte(' ')
	for i, c := range text {
		if c < ' ' || c >= 0x7f || c == '@' || c == ' ' && last == ' ' ||
			len(local) > 2 && len(text)-i >= len(local) && c|0x20 == local[0]|0x20 && bytes.EqualFold(text[i:i+len(local)], []byte(local)) {
			return false
		}
		last = c
	}
	return last != ' '
}

// queueID finds the server's name for the message in its answer: what follows
// "queued as" (Postfix) or "id=" (Exim), else the text.
func queueID(text string) string {
	for _, mark := range [...]string{"queued as ", "id="} {
		if _, after, ok := strings.Cut(text, mark); ok {
			text, _, _ = strings.Cut(after, " ")
			break
		}
	}
	if text = strings.TrimRight(text[:min(len(text), 64)], ".,;"); text == "" {
		return "accepted"
	}
	return text
}

// notSent is the result for trouble before the message.
func notSent(err error) delivery.Result {
	r := delivery.Result{Outcome: delivery.NotSent, Detail: describe(context.Background(), err)}
	var proto *textproto.Error
	if errors.As(err, &proto) && proto.Code > 0 {
		r.Code = strconv.Itoa(proto.Code)
	}
	return r
}

// describe says in a few words what went wrong, without addresses.
func describe(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	step, _, _ := strings.Cut(err.Error(), ":")
	var proto *textproto.Error
	var op *net.OpError
	switch {
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case isTimeout(err):
		return "timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	case errors.As(err, &proto):
		return step + ": refused by the server"
	case errors.As(err, &op) && op.Op == "dial":
		return "can't connect"
	case errors.As(err, &op):
		return "connection lost"
	}
	if s := err.Error(); len(s) <= 120 && !strings.Contains(s, "@") {
		return s
	}
	return step
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}
