package track

import (
	"time"

	"kairos"
	"kairos/internal/spool"
	"kairos/internal/token"
)

// Opens and clicks wait for the disk, but not for ever. Each one that is
// answered in time earns a hundredth of a long wait: a rare hiccup is waited
// for (the hit is certain when it is answered), a disk that stays slow is not,
// and no more than one hit in a hundred waits beyond Patience. Credit is
// bounded, so that this holds for any 10,000 hits in a row and not only for all.
const (
	longWaitPrice = 100
	maxCredit     = 100 * longWaitPrice
)

// visit is the working memory of one open or click at a time.
type visit struct {
	data, payload, location []byte
	timer                   *time.Timer // stopped between uses
}

func newVisit() *visit {
	v := &visit{data: make([]byte, 0, 256), payload: make([]byte, 0, 512), location: make([]byte, 0, 512), timer: time.NewTimer(time.Hour)}
	v.timer.Stop()
	return v
}

// opened spools an open; false when the token is not ours.
func (c *Collector) opened(v *visit, tok, machine string) bool {
	claims, err := c.opts.Keyring.Open(token.PurposeOpen, tok)
	if err != nil {
		return false
	}
	v.data = appendOpen(v.data[:0], machine)
	c.offer(v, claims, kairos.NotificationOpened)
	return true
}

// clicked spools a click and leaves in v where it leads; false when the token
// is not ours.
func (c *Collector) clicked(v *visit, tok, machine string) bool {
	claims, err := c.opts.Keyring.Open(token.PurposeClick, tok)
	if err != nil || !leadsToWeb(claims.Destination) {
		return false
	}
	v.data = appendClick(v.data[:0], claims.Link, machine, withoutQuery(claims.Destination))
	v.location = c.appendLocation(v.location[:0], claims)
	c.offer(v, claims, kairos.NotificationClicked)
	return true
}

// offer spools an open or a click and returns when it is on disk, refused
// (then it is counted as dropped), or when patience ends. In the last case it
// goes on by itself, and is counted if it is refused then.
func (c *Collector) offer(v *visit, claims token.Claims, kind string) {
	h := c.hitOf(claims, kind, v.data)
	v.payload = spool.AppendHit(v.payload[:0], &h)
	p, err := c.opts.Spool.Begin(kairos.NewID(), v.payload)
	switch {
	case err != nil:
		c.opts.Spool.CountDropped(1) // the spool's own figures say why
	case !c.wait(v.timer, p):
		p.Leave()
	case p.Err() != nil:
		c.opts.Spool.CountDropped(1)
	}
}

// wait reports whether the disk answered while patience lasted.
func (c *Collector) wait(timer *time.Timer, p spool.Pending) bool {
	timer.Reset(c.opts.Patience)
	select {
	case <-p.Done():
		timer.Stop()
		if c.credit.Load() < maxCredit {
			c.credit.Add(1)
		}
		return true
	case <-timer.C:
	}
	if c.credit.Add(-longWaitPrice) < 0 {
		c.credit.Add(longWaitPrice)
		return false
	}
	timer.Reset(c.opts.LongPatience)
	select {
	case <-p.Done():
		timer.Stop()
		return true
	case <-timer.C:
		return false
	}
}
