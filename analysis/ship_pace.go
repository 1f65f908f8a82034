package analysis

import (
	"context"
	"time"

	"kairos"
	"kairos/internal/spool"
)

// ShipOptions say how much of its time a shipper may work. What it does costs
// Postgres and the fold as much again, on the cores that answer hits as well.
//
// While few hits come it works as soon as there is something. While they come
// densely it works for Share of its time, so that answers come first. Should
// the oldest hit become older than Lag all the same, and still older, the
// share grows, by a third every second and never beyond MaxShare; when the
// shipper has caught up, it shrinks again. A backlog that an outage left grows
// no older once Postgres is back, so it is shipped at the share that stands.
type ShipOptions struct {
	// Dense is the number of hits a second from which the shipper holds back.
	// Default 2,000. Negative: never.
	Dense int
	// Share of its time for which it works then, between 0 and 1. Default 0.25.
	Share float64
	// MaxShare is the share at which it works off a backlog at the most.
	// Default 0.8.
	MaxShare float64
	// Lag is the age of the oldest hit from which more than Share is taken.
	// Default 2 s.
	Lag time.Duration
}

// Validate names the first option that makes no sense.
func (o ShipOptions) Validate() error {
	switch {
	case o.Share < 0 || o.Share > 1:
		return kairos.Invalid("ship.share", "is not between 0 and 1")
	case o.MaxShare < 0 || o.MaxShare > 1:
		return kairos.Invalid("ship.max_share", "is not between 0 and 1")
	case o.Lag < 0:
		return kairos.Invalid("ship.lag", "is negative")
	}
	return nil
}

const (
	paceEvery = 250 * time.Millisecond // the rate of hits is measured over this
	paceStep  = time.Second            // the share changes no more often
	paceGrow  = 4.0 / 3
	longRest  = time.Second // between two chunks, at most
)

// pacer decides how long a shipper rests after each chunk. For one goroutine.
type pacer struct {
	opts  ShipOptions
	share float64

	began  time.Time // of the span whose hits are being counted
	hits   uint64    // at its begin
	dense  bool      // by the last span
	judged time.Time // when the share was last looked at
	age    time.Duration
}

func newPacer(o ShipOptions) *pacer {
	if o.Dense == 0 {
		o.Dense = 2_000
	}
	if o.Share == 0 {
		o.Share = 0.25
	}
	if o.MaxShare == 0 {
		o.MaxShare = 0.8
	}
	if o.Lag == 0 {
		o.Lag = 2 * time.Second
	}
	o.MaxShare = max(o.MaxShare, o.Share)
	return &pacer{opts: o, share: o.Share}
}

// rest returns how long to rest after work of that length. st are the spool's
// figures at the time now.
func (p *pacer) rest(now time.Time, st spool.Stats, worked time.Duration) time.Duration {
	if span := now.Sub(p.began); span >= paceEvery {
		came := st.Appended - p.hits
		p.dense = p.opts.Dense >= 0 && !p.began.IsZero() && float64(came) >= float64(p.opts.Dense)*span.Seconds()
		p.began, p.hits = now, st.Appended
	}
	if now.Sub(p.judged) >= paceStep {
		behind := st.OldestSegmentAge > p.opts.Lag
		switch {
		case behind && st.OldestSegmentAge > p.age:
			p.share = min(p.share*paceGrow, p.opts.MaxShare)
		case !behind:
			p.share = max(p.share/paceGrow, p.opts.Share)
		}
		p.judged, p.age = now, st.OldestSegmentAge
	}
	share := p.share
	switch {
	case p.dense:
	case st.OldestSegmentAge > p.opts.Lag && p.opts.Dense >= 0:
		share = p.opts.MaxShare // few hits, much to do: still with pauses for them
	default:
		return 0
	}
	return min(time.Duration(float64(worked)*(1-share)/share), longRest)
}

// pause rests after a chunk that was begun at that time.
func (p *pacer) pause(ctx context.Context, sp *spool.Spool, began time.Time) {
	now := time.Now()
	rest(ctx, p.rest(now, sp.Stats(), now.Sub(began)))
}
