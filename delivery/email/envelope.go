package email

import (
	"context"
	"errors"
	"strconv"
	"time"

	"kairos/delivery"
)

// errClosing: the server said 421 and ends the connection.
var errClosing = errors.New("server closes the connection")

// errUnable: the server offers CHUNKING and does not know BDAT.
var errUnable = errors.New("server refuses BDAT")

// transaction follows the answers to one letter's commands: to RSET where one
// goes ahead, MAIL, RCPT, DATA unless the message goes by BDAT, and the message.
// Whoever sends decides when; what an answer means is decided in judge alone.
// (The letter is no member: it would have to live on the heap.)
type transaction struct {
	next    phase // what the next answer is to
	chunked bool  // by BDAT
	fresh   bool  // a kept connection from which nothing has been heard yet
	taken   bool  // the server took MAIL or RCPT
	wanted  bool  // it waits for the message
	refused bool
	refusal delivery.Result // where refused: the first
}

// begin expects the answers to the commands of a letter.
func begin(reset, chunked, fresh bool) transaction {
	t := transaction{next: phaseMail, chunked: chunked, fresh: fresh}
	if reset {
		t.next = phaseReset
	}
	return t
}

// hear reads the next answer. After an error the connection is broken; the
// letter has its result if answered says so.
func (c *conn) hear(ctx context.Context, t *transaction, l *letter) error {
	r, err := c.reply()
	if err != nil {
		return c.stale(ctx, t.fresh, err)
	}
	return c.judge(t, l, r)
}

// hearUntil reads the answers before that to at.
func (c *conn) hearUntil(ctx context.Context, t *transaction, l *letter, at phase) error {
	for t.next < at {
		if err := c.hear(ctx, t, l); err != nil {
			return err
		}
	}
	return nil
}

// judge takes an answer.
func (c *conn) judge(t *transaction, l *letter, r reply) error {
	at := t.next
	if t.next++; t.chunked && at == phaseRcpt {
		t.next = phaseDot
	}
	if at == phaseDot {
		return c.judgeMessage(t, l, r)
	}
	if r.code == 421 {
		if t.fresh {
			return errStale
		}
		*l.result = r.result(at, l)
		return errClosing
	}
	t.fresh = false
	switch {
	case at == phaseReset:
		c.dirty = false
	case at == phaseData && r.code == 354:
		t.wanted = true
	case at != phaseData && r.code/100 == 2:
		t.taken = true
	case r.code < 400:
		*l.result = delivery.Result{Outcome: delivery.NotSent, Code: strconv.Itoa(r.code), Detail: "answers are out of order"}
		return errClosing
	case !t.refused:
		t.refused, t.refusal = true, r.result(at, l)
	}
	return nil
}

// judgeMessage takes the answer to the message itself.
func (c *conn) judgeMessage(t *transaction, l *letter, r reply) error {
	if t.chunked {
		c.dirty = t.refused || r.code/100 != 2
	}
	if t.refused { // nobody gets the message, whatever is said to its bytes
		*l.result = t.refusal
	} else {
		*l.result = r.result(phaseDot, l)
	}
	switch {
	case r.code == 421, !t.refused && l.result.Outcome == delivery.Unknown:
		return errClosing
	case t.chunked && !t.refused && r.code >= 500 && r.code <= 504 && r.code != 501:
		return errUnable
	}
	return nil
}

// cutOff is the end of a letter that didn't leave whole: without its last byte
// no server may deliver it. The server may have said why it hung up.
func (c *conn) cutOff(ctx context.Context, l *letter, at phase, err error) {
	*l.result = delivery.Result{Outcome: delivery.NotSent, Detail: describe(ctx, err)}
	if c.within(ctx, lastWords) == nil {
		if r, err := c.reply(); err == nil && r.code >= 400 {
			*l.result = r.result(at, l)
		}
	}
}

// lastWords is how long a server that hung up is listened to.
const lastWords = 200 * time.Millisecond

// unanswered gives letters that may have arrived their result.
func unanswered(ctx context.Context, letters []letter, err error) int {
	for i := range letters {
		*letters[i].result = delivery.Result{Outcome: delivery.Unknown, Detail: "no answer to the message: " + describe(ctx, err)}
	}
	return len(letters)
}

// answered is 1 for a letter that an error left with the server's words.
func answered(l *letter, err error) int {
	if errors.Is(err, errClosing) && l.result.Code != "" {
		return 1
	}
	return 0
}

// stale turns an error before the first reply on a kept connection into
// errStale.
func (c *conn) stale(ctx context.Context, fresh bool, err error) error {
	if fresh && ctx.Err() == nil && !isTimeout(err) {
		return errStale
	}
	return err
}

// appendEnvelope appends the commands that name sender and recipient.
func (c *conn) appendEnvelope(b []byte, l *letter, reset bool) []byte {
	if reset {
		b = append(b, "RSET\r\n"...)
	}
	b = append(append(append(b, "MAIL FROM:<"...), l.from...), '>')
	if c.limit > 0 {
		b = strconv.AppendInt(append(b, " SIZE="...), int64(l.size), 10)
	}
	return append(append(append(b, "\r\nRCPT TO:<"...), l.to...), ">\r\n"...)
}
