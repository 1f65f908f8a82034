package email

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"kairos/delivery"
)

// Where the server offers CHUNKING (RFC 3030) a message is not led in by a
// question, so several travel in one write and are answered in one piece. What a
// connection that breaks then leaves unknown is bounded here.
const (
	maxGroup      = 4         // messages
	maxGroupBytes = 128 << 10 // but always one message
)

// distrustFor is how long DATA is used after a server has broken off among
// several messages without a word: one that hangs up after so many messages
// would leave some unknown each time.
const distrustFor = time.Hour

// mayGroup reports whether messages go out in groups.
func (c *conn) mayGroup() bool {
	return c.chunking && time.Now().UnixNano() >= c.p.distrusted.Load()
}

// suspect keeps CHUNKING from being used for a while.
func (p *Provider) suspect() { p.distrusted.Store(time.Now().Add(p.distrust).UnixNano()) }

// sendGroups is send for servers that take BDAT.
func (c *conn) sendGroups(ctx context.Context, letters []letter) (done int, err error) {
	first := true
	for done < len(letters) {
		if !first && !delivery.MayBegin(ctx) {
			return done + notBegun(letters[done:]), nil
		}
		if l := &letters[done]; c.limit > 0 && l.size > c.limit {
			*l.result = delivery.Result{Outcome: delivery.RejectedPerm, Code: "552", Detail: "message exceeds the server's limit"}
			done++
			continue
		}
		n := c.group(letters[done:])
		if n == 0 {
			return done, nil
		}
		n, err = c.exchange(ctx, letters[done:done+n], first)
		first = false
		if done += n; err != nil {
			return done, err
		}
	}
	return done, nil
}

// group returns how many of the letters go out together.
func (c *conn) group(letters []letter) (n int) {
	bytes := 0
	for n < min(len(letters), maxGroup, max(c.p.opts.MaxMessages-c.messages, 0)) {
		l := &letters[n]
		bytes += len(l.body)
		if n > 0 && (bytes > maxGroupBytes || c.limit > 0 && l.size > c.limit) {
			break
		}
		n++
	}
	return n
}

// exchange sends letters together and reads what becomes of each. As with send,
// letters without a result can have reached nobody. With probe the envelope of
// the first goes ahead: a kept connection may be closed, a new one be silent,
// and its first answer tells, before a message is risked.
func (c *conn) exchange(ctx context.Context, letters []letter, probe bool) (done int, err error) {
	if err := c.within(ctx, c.p.opts.DataTimeout); err != nil {
		return 0, err
	}
	var ends, asked [maxGroup]int // of the heads: where MAIL and RCPT end, where all of it
	out, reset := c.out[:0], c.dirty
	for i := range letters {
		out = c.appendEnvelope(out, &letters[i], i > 0 || reset)
		asked[i] = len(out)
		out = strconv.AppendInt(append(out, "BDAT "...), int64(len(letters[i].body)-len(dot)), 10)
		out = append(out, " LAST\r\n"...)
		ends[i] = len(out)
	}
	c.out = out
	start, fresh := 0, probe && c.messages > 0
	c.messages += len(letters)
	t := begin(reset, true, fresh)
	if probe {
		if _, err := c.write(out[:asked[0]]); err != nil {
			return 0, c.stale(ctx, fresh, fmt.Errorf("begin: %w", err))
		}
		if err := c.hearUntil(ctx, &t, &letters[0], phaseDot); err != nil {
			return answered(&letters[0], err), err
		}
		if t.refused {
			*letters[0].result, c.dirty = t.refusal, true
			c.messages -= len(letters) - 1
			return 1, nil
		}
		start = asked[0]
	}
	bufs, total := c.room[:0], 0
	var whole [maxGroup]int // bytes up to the end of each
	for i := range letters {
		body := letters[i].body[:len(letters[i].body)-len(dot)]
		bufs = append(bufs, out[start:ends[i]], body)
		total += ends[i] - start + len(body)
		start, whole[i] = ends[i], total
	}
	n, werr := c.writeAll(bufs, total)
	sent := len(letters) // of which all bytes are out: only these may arrive
	if werr != nil {
		for sent > 0 && whole[sent-1] > n {
			sent--
		}
	}
	for i := range letters[:sent] {
		l := &letters[i]
		wait := c.p.opts.DataTimeout
		if werr != nil { // the server may have said why it hung up
			wait = lastWords
		}
		if err := c.within(ctx, wait); err != nil {
			return done + unanswered(ctx, letters[i:sent], err), fmt.Errorf("read answer: %w", err)
		}
		if i > 0 {
			t = begin(true, true, false)
		}
		err := c.hearUntil(ctx, &t, l, phaseDone)
		switch {
		case err == nil:
			done++
		case errors.Is(err, errClosing): // nothing after it is taken
			return done + answered(l, err), err
		case errors.Is(err, errUnable): // what else it says can't be matched with what was sent
			c.p.suspect()
			return done + 1 + unanswered(ctx, letters[i+1:sent], err), errClosing
		default:
			if len(letters) > 1 && ctx.Err() == nil {
				c.p.suspect()
			}
			return done + unanswered(ctx, letters[i:sent], err), fmt.Errorf("read answer: %w", err)
		}
	}
	if werr == nil {
		return done, nil
	}
	c.cutOff(ctx, &letters[sent], phaseMail, werr)
	return done + 1, fmt.Errorf("send message: %w", werr)
}

// writeAll sends pieces of so many bytes in one call where it can; see write.
func (c *conn) writeAll(pieces [][]byte, total int) (int, error) {
	if !c.secure {
		c.pieces = pieces
		n, err := c.pieces.WriteTo(c.raw)
		return int(n), err
	}
	for _, p := range pieces {
		if _, err := c.text.W.Write(p); err != nil {
			return total, err
		}
	}
	return total, c.text.W.Flush()
}
