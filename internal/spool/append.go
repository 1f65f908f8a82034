package spool

import (
	"context"
	"fmt"

	"kairos"
)

// Record is one event: the id by which its receiver deduplicates, and its bytes.
type Record struct {
	ID      kairos.ID
	Payload []byte // at most MaxPayload
}

// group is what goes to disk in one write and one sync. All who wait for it
// share one channel.
type group struct {
	buf   []byte
	count int
	done  chan struct{} // closed when err stands
	err   error
	left  int // whose callers went away before err stood; guarded by Spool.mu
	over  bool
}

// Append returns nil once the record is on disk. On any error the record is
// not acknowledged, though it may still reach the log: a disk that refused, a
// full or closed spool (kairos.ErrUnavailable), an empty id or a payload that
// is too long (kairos.ErrInvalid), or ctx ending first. The payload is copied.
//
// Records that arrive while the disk is busy with the last ones go out
// together in the next write; a lone record never waits for company.
func (s *Spool) Append(ctx context.Context, id kairos.ID, payload []byte) error {
	rec := [1]Record{{id, payload}}
	return s.AppendMany(ctx, rec[:])
}

// AppendMany is Append for several records in the same sync: nil means that all
// of them are on disk, an error that none is acknowledged.
func (s *Spool) AppendMany(ctx context.Context, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	g, err := s.join(records)
	if err != nil {
		s.failed.Add(uint64(len(records)))
		return err
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return fmt.Errorf("wait for spool: %w", context.Cause(ctx))
	}
}

// Pending is a record on its way to disk.
type Pending struct {
	s *Spool
	g *group
}

// Begin is the first half of Append: the record is copied and goes to disk
// with the next write, whoever waits for it. Errors as of Append.
func (s *Spool) Begin(id kairos.ID, payload []byte) (Pending, error) {
	rec := [1]Record{{id, payload}}
	g, err := s.join(rec[:])
	if err != nil {
		s.failed.Add(1)
	}
	return Pending{s, g}, err
}

// Done is closed when the disk has answered.
func (p Pending) Done() <-chan struct{} { return p.g.done }

// Err is what Append would return: nil when the record is on disk. Only once
// Done is closed.
func (p Pending) Err() error { return p.g.err }

// Leave is for a caller who has answered without waiting for Done: should the
// disk refuse the record, it is counted as dropped.
func (p Pending) Leave() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	switch {
	case !p.g.over:
		p.g.left++
	case p.g.err != nil:
		p.s.dropped.Add(1)
	}
}

// join puts records into the group that goes to disk next.
func (s *Spool) join(records []Record) (*group, error) {
	var need int64
	for i := range records {
		if records[i].ID.IsZero() {
			return nil, kairos.Invalid("id", "is empty")
		}
		if len(records[i].Payload) > MaxPayload {
			return nil, kairos.Invalid("payload", "is longer than %d bytes", MaxPayload)
		}
		need += recordLen + int64(len(records[i].Payload))
	}
	if need > maxPending {
		return nil, kairos.Invalid("records", "are longer than %d bytes together", maxPending)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, ErrClosed
	case s.down != nil:
		return nil, s.down
	case s.bytes+need > s.opts.MaxBytes:
		return nil, ErrFull
	case s.group != nil && int64(len(s.group.buf))+need > maxPending:
		return nil, ErrFull
	}
	if s.group == nil {
		s.group = &group{buf: s.spare[:0], done: make(chan struct{})}
		s.spare = nil
		s.nudge()
	}
	g := s.group
	for i := range records {
		g.buf = appendRecord(g.buf, s.seed, records[i].ID, records[i].Payload)
	}
	g.count += len(records)
	s.bytes += need
	return g, nil
}
