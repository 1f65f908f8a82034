package track

import (
	"context"
	"time"

	"kairos"
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

// offer is one open or click on its way to the spool.
type offer struct {
	c       *Collector
	id      kairos.ID
	payload []byte
	done    chan struct{} // holds one: the spool has answered
	timer   *time.Timer   // stopped between uses
}

func newOffer(c *Collector) *offer {
	o := &offer{c: c, payload: make([]byte, 0, 768), done: make(chan struct{}, 1), timer: time.NewTimer(time.Hour)}
	o.timer.Stop()
	return o
}

// offer spools an open or a click and returns when it is on disk, refused
// (then it is counted as dropped), or when patience ends. In the last case it
// goes on by itself, and is counted if it is refused then.
func (c *Collector) offer(claims token.Claims, kind string, data func(dst []byte) []byte) {
	o := c.offers.Get().(*offer)
	o.id = kairos.NewID()
	o.payload = appendHit(o.payload[:0], hit{
		id: o.id, kind: kind, at: c.opts.Clock.Now(), campaign: claims.Campaign, notification: claims.Notification, data: data,
	})
	go o.append()
	if o.wait() {
		c.offers.Put(o)
	}
}

// append hands the hit to the spool. After it sent on done, o may be in use again.
func (o *offer) append() {
	if err := o.c.opts.Spool.Append(context.Background(), o.id, o.payload); err != nil {
		o.c.opts.Spool.CountDropped(1) // the spool's own figures say why
	}
	o.done <- struct{}{}
}

// wait reports whether the spool answered; else o is its goroutine's alone.
func (o *offer) wait() bool {
	credit := &o.c.credit
	o.timer.Reset(o.c.opts.Patience)
	select {
	case <-o.done:
		o.timer.Stop()
		if credit.Load() < maxCredit {
			credit.Add(1)
		}
		return true
	case <-o.timer.C:
	}
	if credit.Add(-longWaitPrice) < 0 {
		credit.Add(longWaitPrice)
		return false
	}
	o.timer.Reset(o.c.opts.LongPatience)
	select {
	case <-o.done:
		o.timer.Stop()
		return true
	case <-o.timer.C:
		return false
	}
}
