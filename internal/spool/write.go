package spool

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// run is the writer: the only goroutine that touches the active segment.
func (s *Spool) run() {
	defer close(s.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		g := s.take()
		if g != nil {
			s.commit(g)
		}
		if s.tend() {
			return
		}
		if g != nil {
			continue // what arrived meanwhile goes out at once
		}
		timer.Reset(s.nextLook())
		select {
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// take returns the group that waits, nil when none does.
func (s *Spool) take() *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.group
	s.group = nil
	if g != nil {
		s.writing = time.Now()
	}
	return g
}

// commit brings a group to disk and tells those who wait for it. When the
// active segment fails, the group gets one more try in a new one.
func (s *Spool) commit(g *group) {
	if s.active != nil && s.active.size > headerLen && s.active.size+int64(len(g.buf)) > s.opts.SegmentBytes {
		s.seal()
	}
	again := s.active != nil
	err := s.write(g.buf)
	if err != nil && again {
		err = s.write(g.buf)
	}
	n := uint64(g.count)

	s.mu.Lock()
	s.writing = time.Time{}
	if err != nil {
		s.bytes -= int64(len(g.buf))
		s.fail(err)
		g.err = s.down
		s.dropped.Add(uint64(g.left))
	} else {
		s.down, s.backoff = nil, 0
	}
	g.over = true
	if cap(g.buf) <= 4<<20 {
		s.spare = g.buf[:0]
	}
	s.mu.Unlock()
	g.buf = nil

	if err != nil {
		s.failed.Add(n)
	} else {
		s.appended.Add(n)
	}
	close(g.done)
}

// fail notes why the spool is down and when to try again; s.mu is held.
func (s *Spool) fail(cause error) {
	s.down = fmt.Errorf("%w: %w", ErrNotDurable, cause)
	s.backoff = min(max(2*s.backoff, minBackoff), maxBackoff)
	s.retryAt = time.Now().Add(s.backoff)
}

// tend does what is due apart from records: a new try after a failure, sealing
// by size, age or request. It reports true when the spool has closed.
func (s *Spool) tend() bool {
	s.mu.Lock()
	down, closed, asked := s.down != nil, s.closed && s.group == nil, s.sealAsked
	due := s.active != nil && (s.active.size >= s.opts.SegmentBytes ||
		len(s.sealed) == 0 && time.Since(s.active.began) >= s.opts.MaxAge)
	s.mu.Unlock()

	if closed || asked || due {
		s.seal()
	}
	if closed {
		s.mu.Lock()
		s.announce()
		s.mu.Unlock()
		return true
	}
	if down && !time.Now().Before(s.retryAt) {
		s.probe()
	}
	return false
}

// probe finds out whether the disk takes files again.
func (s *Spool) probe() {
	s.mu.Lock()
	s.writing = time.Now()
	s.mu.Unlock()
	err := s.write(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = time.Time{}
	if err != nil {
		s.fail(err)
		return
	}
	s.down = nil // the back-off stays until records are on disk again
}

// nextLook returns how long the writer may sleep when nobody wakes it.
func (s *Spool) nextLook() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.down != nil:
		return max(time.Until(s.retryAt), 0)
	case s.active != nil && s.active.size > headerLen && len(s.sealed) == 0:
		return max(s.opts.MaxAge-time.Since(s.active.began), 0)
	}
	return time.Hour
}

// write brings buf to disk at the end of the active segment, or in a new one
// when there is none. After an error there is no active segment.
func (s *Spool) write(buf []byte) error {
	if s.active == nil {
		return s.begin(buf)
	}
	if len(buf) == 0 {
		return nil
	}
	first := s.active.size == headerLen
	err := s.disk.writeAt(s.file, buf, s.active.size)
	if err == nil {
		s.syncs.Add(1)
		err = s.disk.sync(s.file)
	}
	if err != nil {
		s.retire()
		return fmt.Errorf("write segment: %w", err)
	}
	s.mu.Lock()
	s.active.size += int64(len(buf))
	if first {
		s.active.began = time.Now()
	}
	s.mu.Unlock()
	return nil
}

// begin makes a segment that holds buf, on disk together with its name.
func (s *Spool) begin(buf []byte) error {
	s.mu.Lock()
	number := s.nextNumber
	s.nextNumber++
	s.mu.Unlock()

	now := time.Now()
	path := filepath.Join(s.opts.Dir, segmentName(number, openSuffix))
	f, err := s.disk.create(path, os.O_EXCL)
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	whole := append(appendHeader(make([]byte, 0, headerLen+len(buf)), header{s.salt, now}), buf...)
	err = s.disk.writeAt(f, whole, 0)
	if err == nil {
		s.syncs.Add(1)
		err = s.disk.sync(f)
	}
	if err == nil {
		err = s.disk.syncDir(s.opts.Dir)
	}
	if err != nil {
		_ = f.Close()
		_ = s.disk.remove(path) // if it stays, the next Open looks through it
		return fmt.Errorf("begin segment: %w", err)
	}
	s.file = f
	s.mu.Lock()
	s.active = &Segment{spool: s, number: number, path: path, size: int64(len(whole)), began: now}
	s.bytes += headerLen
	s.mu.Unlock()
	return nil
}

// retire gives up the active segment after an error. What was acknowledged in
// it stays to be shipped, what was not is cut off if the disk allows, and the
// file is never synced again: the kernel reports a lost page only once.
func (s *Spool) retire() {
	seg := s.active
	if seg.size > headerLen {
		_ = s.disk.cut(s.file, seg.size) // readers stop at seg.size in any case
	}
	s.finish(seg)
}

// seal ends the active segment, if there is one, and hands it to the shipper.
// An empty one is removed.
func (s *Spool) seal() {
	seg := s.active
	if seg != nil && seg.size > headerLen {
		// The name only saves the next Open a look inside.
		sealed := filepath.Join(s.opts.Dir, segmentName(seg.number, sealedSuffix))
		if s.disk.rename(seg.path, sealed) == nil {
			seg.path = sealed
		}
	}
	if seg != nil {
		s.finish(seg)
	}
	s.mu.Lock()
	s.sealAsked = false
	s.mu.Unlock()
}

// finish closes the active segment's file and puts it in the shipper's queue.
func (s *Spool) finish(seg *Segment) {
	_ = s.file.Close() // all that counts in it has been synced
	s.file = nil
	empty := seg.size == headerLen
	if empty {
		_ = s.disk.remove(seg.path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = nil
	if empty {
		s.bytes -= headerLen
		return
	}
	s.sealed = append(s.sealed, seg)
	s.announce()
}

// announce wakes everyone in Next; s.mu is held.
func (s *Spool) announce() {
	close(s.arrived)
	s.arrived = make(chan struct{})
}
