package email

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"kairos/delivery"
)

// dot ends a message (RFC 5321, 4.1.1.4).
const dot = ".\r\n"

// send carries letters over the connection, one transaction after the other, and
// returns how many have a result. After an error the connection is broken, and
// of the letters without a result no byte was written.
func (c *conn) send(ctx context.Context, letters []letter) (done int, err error) {
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { _ = c.raw.SetDeadline(time.Unix(1, 0)) })
		defer func() { c.broken = c.broken || !stop() }()
	}
	// Words that nobody asked for would be taken for the next answers.
	defer func() { c.broken = c.broken || err != nil || c.text.R.Buffered() > 0 }()
	if c.mayGroup() {
		return c.sendGroups(ctx, letters)
	}
	announced := false // the commands of this letter are on their way
	for i := range letters {
		l := &letters[i]
		if i > 0 && !announced {
			if !delivery.MayBegin(ctx) {
				return done + notBegun(letters[i:]), nil
			}
			if c.messages >= c.p.opts.MaxMessages {
				return done, nil
			}
		}
		if c.limit > 0 && l.size > c.limit {
			*l.result = delivery.Result{Outcome: delivery.RejectedPerm, Code: "552", Detail: "message exceeds the server's limit"}
			done++
			continue
		}
		goOn, err := c.open(ctx, l, announced)
		announced = false
		if err != nil {
			return done + answered(l, err), err
		}
		if !goOn {
			done++
			continue
		}
		out := l.body
		if next := i + 1; c.pipeline && next < len(letters) && (c.limit == 0 || letters[next].size <= c.limit) &&
			c.messages < c.p.opts.MaxMessages && delivery.MayBegin(ctx) {
			// RFC 2920, 3.1: what follows the final dot may travel with it.
			out, announced = c.appendCommands(l.body, &letters[next]), true
		}
		err = c.finish(ctx, l, out)
		done++
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// notBegun gives these letters their result and returns how many they are.
func notBegun(letters []letter) int {
	for i := range letters {
		*letters[i].result = delivery.Result{Outcome: delivery.NotSent, NotBegun: true}
	}
	return len(letters)
}

// within sets the deadline of the next replies. It fails when ctx has ended: the
// deadline that said so may just have been overwritten.
func (c *conn) within(ctx context.Context, d time.Duration) error {
	if err := c.raw.SetDeadline(time.Now().Add(d)); err != nil {
		return err
	}
	return ctx.Err()
}

// appendCommands appends the group that begins a transaction.
func (c *conn) appendCommands(b []byte, l *letter) []byte {
	return append(c.appendEnvelope(b, l, c.dirty), "DATA\r\n"...)
}

// open begins a transaction. It returns true when the server waits for the
// message; false when the letter has its result.
func (c *conn) open(ctx context.Context, l *letter, announced bool) (bool, error) {
	fresh := c.messages > 0 && !announced
	c.messages++
	if err := c.within(ctx, c.p.opts.CommandTimeout); err != nil {
		return false, err
	}
	var group []byte // what is still to be written, one command at a time
	if !announced {
		c.out = c.appendCommands(c.out[:0], l)
		group = c.out
	}
	if !announced && c.pipeline {
		if _, err := c.write(group); err != nil {
			return false, c.stale(ctx, fresh, fmt.Errorf("begin: %w", err))
		}
		group = nil
	}
	lockStep := group != nil
	t := begin(c.dirty && !announced, false, fresh)
	for t.next < phaseDot && !(lockStep && t.refused) {
		if lockStep {
			end := bytes.IndexByte(group, '\n') + 1
			if _, err := c.write(group[:end]); err != nil {
				return false, c.stale(ctx, t.fresh, fmt.Errorf("begin: %w", err))
			}
			group = group[end:]
		}
		if err := c.hear(ctx, &t, l); err != nil {
			return false, fmt.Errorf("begin: %w", err)
		}
	}
	if t.wanted && !t.refused {
		return true, nil
	}
	*l.result = t.refusal
	if t.wanted { // no recipient was taken, so nobody gets the empty message
		return false, c.abandon()
	}
	c.dirty = t.taken
	return false, nil
}

// abandon ends a transaction that wants a message but has no recipient.
func (c *conn) abandon() error {
	if _, err := c.write([]byte(dot)); err != nil {
		return fmt.Errorf("end: %w", errors.Join(errClosing, err))
	}
	if _, err := c.reply(); err != nil {
		return fmt.Errorf("end: %w", errors.Join(errClosing, err))
	}
	return nil
}

// finish writes the message with its final dot and reads the answer. The letter
// has its result afterwards, error or not.
func (c *conn) finish(ctx context.Context, l *letter, out []byte) error {
	if err := c.within(ctx, c.p.opts.DataTimeout); err != nil {
		*l.result = notSent(err)
		return err
	}
	n, err := c.write(out)
	if err != nil && n < len(l.body) {
		c.cutOff(ctx, l, phaseDot, err)
		return fmt.Errorf("send message: %w", err)
	}
	if err == nil {
		t := transaction{next: phaseDot}
		if err = c.hear(ctx, &t, l); err == nil || errors.Is(err, errClosing) {
			return err
		}
	}
	*l.result = delivery.Result{Outcome: delivery.Unknown, Detail: "no answer to the message: " + describe(ctx, err)}
	return fmt.Errorf("read answer: %w", err)
}
