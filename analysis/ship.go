package analysis

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"kairos"
	"kairos/internal/spool"
)

// Bounds of one transaction of the shipper.
const (
	shipHits  = 2_000
	shipBytes = 4 << 20
)

// The shipper's waits while Postgres is away.
const (
	minWait = 100 * time.Millisecond
	maxWait = 5 * time.Second
)

// Ship moves a collector's spooled hits into the event log, oldest segment
// first, until ctx ends; then it returns nil. A segment is removed only after
// all of its hits are committed, so it is repeated after a crash; what is in
// the log already stays one event. While Postgres is away it waits and tries
// again. A record that can be no event is counted and logged, and its segment
// goes to the spool's quarantine instead, after its good records are in.
func (a *Analysis) Ship(ctx context.Context, sp *spool.Spool) error {
	return a.ShipWith(ctx, sp, ShipOptions{})
}

// ShipWith is Ship for those who want another share of the machine for it.
func (a *Analysis) ShipWith(ctx context.Context, sp *spool.Spool, o ShipOptions) error {
	if err := o.Validate(); err != nil {
		return err
	}
	pace := newPacer(o)
	for {
		seg, err := sp.Next(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was asked for
		}
		if err != nil {
			return fmt.Errorf("ship events: %w", err)
		}
		a.shipUntilDone(ctx, sp, seg, pace)
	}
}

// shipUntilDone repeats a segment until it is gone or ctx ends.
func (a *Analysis) shipUntilDone(ctx context.Context, sp *spool.Spool, seg *spool.Segment, pace *pacer) {
	for wait := minWait; ctx.Err() == nil; wait = min(2*wait, maxWait) {
		began := time.Now()
		err := a.shipSegment(ctx, seg, func() {
			pace.pause(ctx, sp, began)
			began = time.Now()
		})
		if err == nil || ctx.Err() != nil {
			pace.pause(ctx, sp, began)
			return
		}
		a.opts.Log.Warn("shipping waits", "stage", "analysis", "segment", seg.Name(), "wait", wait, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// shipSegment calls rest after each transaction but the last.
func (a *Analysis) shipSegment(ctx context.Context, seg *spool.Segment, rest func()) error {
	hits := make([]kairos.Hit, 0, shipHits)
	length, bad := 0, int64(0)
	flush := func() error {
		if len(hits) == 0 {
			return nil
		}
		resolved := make([]bool, len(hits))
		fresh, refusals, err := a.enter(ctx, hits, resolved)
		if err != nil {
			return err
		}
		for i, err := range refusals {
			a.quarantine(seg, hits[i].Event.ID, err)
		}
		for i, ok := range resolved {
			if _, refused := refusals[i]; !ok && !refused {
				a.unresolved.Add(1)
			}
		}
		bad += int64(len(refusals))
		a.shipped.Add(fresh)
		hits, length = hits[:0], 0
		return nil
	}
	err := seg.Records(func(id kairos.ID, payload []byte) error {
		hit, err := decodeHit(id, payload)
		if err != nil {
			bad++
			a.quarantine(seg, id, err)
			return nil
		}
		hits, length = append(hits, hit), length+len(payload)
		if len(hits) == shipHits || length >= shipBytes {
			if err := flush(); err != nil {
				return err
			}
			rest()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	if bad > 0 {
		return seg.SetAside()
	}
	return seg.Remove()
}

func (a *Analysis) quarantine(seg *spool.Segment, id kairos.ID, err error) {
	a.quarantined.Add(1)
	a.opts.Log.Error("record quarantined", "stage", "analysis", "segment", seg.Name(), "event", id, "err", err)
}

// decodeHit reads a spooled payload; id is the record's and wins.
func decodeHit(id kairos.ID, payload []byte) (hit kairos.Hit, err error) {
	if hit, err = spool.ParseHit(id, payload); err != nil {
		return hit, err
	}
	hit.Event.Data = bytes.Clone(hit.Event.Data) // the payload is the spool's
	if hit.ExternalID != "" && (len(hit.ExternalID) > kairos.MaxKey || !validText(hit.ExternalID)) {
		return hit, kairos.Invalid("external_id", "must be text of at most %d bytes", kairos.MaxKey)
	}
	return hit, check(&hit.Event)
}
