// Package spool keeps tracking events on local disk until they are in the
// event log, so that a hit can be acknowledged with the database away.
//
// Takes: an event id and its payload, from any number of goroutines. What a
// payload says is its writer's affair; AppendHit and ParseHit are the form in
// which collectors write hits and the shipper reads them.
//
// Gives: Append returns when the record is on disk, Begin before; Next hands
// out the oldest sealed segment to whoever ships it; Remove forgets it once it
// is committed.
//
// Owns: one directory (mode 0700), locked against a second process:
//
//	lock                     flock, holds the owner's pid
//	0000000000000001.open    the segment being written, or left by a crash
//	0000000000000001.seg     a sealed segment, waiting to be shipped
//	quarantine/              what could not be read, for a person to look at
//
// A segment is a header (twice, so that no single flipped byte loses it) and
// records `len u32 | crc32c u32 | event id 16 | payload`, little endian, where
// len counts the payload. The checksum starts from a random salt of the
// segment, so no payload can be made to look like a record from outside.
//
// Promises: an acknowledged record is handed out at least once, whole, even
// after kill -9 or a crash of the machine; a record that was never appended is
// never handed out; unacknowledged records may be handed out. Receivers
// deduplicate by event id. After an fsync error the file is never synced
// again: it is retired with what was acknowledged in it, and writing goes on
// in a new one. A damaged record costs that record alone.
//
// Fails: every append that is not durable returns an error that is a
// kairos.ErrUnavailable; a spool that failed tries again by itself, at least
// once a second, and Writable says how it stands.
package spool

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"kairos"
)

// The ways in which an append is refused; each is a kairos.ErrUnavailable.
var (
	ErrClosed = fmt.Errorf("spool is closed: %w", kairos.ErrUnavailable)
	// ErrFull says that MaxBytes wait to be shipped, or that the disk has
	// fallen so far behind that maxPending bytes wait to be written.
	ErrFull = fmt.Errorf("spool is full: %w", kairos.ErrUnavailable)
	// ErrNotDurable says that the disk refused; the cause is wrapped beside it.
	ErrNotDurable = fmt.Errorf("spool is not durable: %w", kairos.ErrUnavailable)
	// ErrInUse says that another process holds the directory.
	ErrInUse = errors.New("spool directory is in use")
)

const (
	maxPending = 32 << 20 // bytes that may wait for the disk
	stallAfter = 5 * time.Second
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// Options say where a spool lives and when it seals and refuses.
type Options struct {
	// Dir is made when it is missing. Put it on a local disk: fdatasync must
	// mean what it says.
	Dir string
	// SegmentBytes is the size at which a segment is sealed. A segment may
	// exceed it by one group of records. Default 64 MiB.
	SegmentBytes int64
	// MaxAge is the age at which a non-empty segment is sealed while no other
	// waits to be shipped. Behind a slow shipper segments grow to SegmentBytes
	// instead of becoming many. Default 1 s.
	MaxAge time.Duration
	// MaxBytes is how much may wait to be shipped; appends beyond are refused.
	// Default 4 GiB.
	MaxBytes int64
	// Fault is for tests: called before each file operation, it may return an
	// error in its place, or block. Nil in production.
	Fault func(op Op, path string) error
}

// Validate reports the first option that makes no sense.
func (o Options) Validate() error {
	switch {
	case o.Dir == "":
		return kairos.Invalid("spool.dir", "is empty")
	case o.SegmentBytes < 0:
		return kairos.Invalid("spool.segment_bytes", "is negative")
	case o.MaxAge < 0:
		return kairos.Invalid("spool.max_age", "is negative")
	case o.MaxBytes < 0:
		return kairos.Invalid("spool.max_bytes", "is negative")
	}
	return nil
}

// Spool is an open directory of segments. Safe for concurrent use.
type Spool struct {
	opts Options
	disk disk
	lock *os.File
	salt uint64
	seed uint32 // checksum of salt, where every record's checksum starts

	wake chan struct{} // tells the writer to look around; holds one
	done chan struct{} // closed when the writer has ended

	mu         sync.Mutex
	group      *group        // filling, nil when nothing waits
	spare      []byte        // a buffer for the next group
	active     *Segment      // being written, nil when none
	sealed     []*Segment    // oldest first
	arrived    chan struct{} // closed and replaced when sealed grows or the spool closes
	bytes      int64         // in segments and in group
	down       error         // why the last write failed, nil while all is well
	writing    time.Time     // when the write under way began, zero when none is
	sealAsked  bool
	closed     bool
	nextNumber uint64

	// Owned by the writer.
	file    *os.File // of active
	backoff time.Duration
	retryAt time.Time

	appended, failed, syncs, dropped, quarantined atomic.Uint64
}

// Open takes the directory, mends what a crash left in it and starts the
// writer. It returns ErrInUse when another process has the directory. Damage
// is never fatal: a torn tail is cut, the rest waits for Next.
func Open(opts Options) (*Spool, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	if opts.SegmentBytes == 0 {
		opts.SegmentBytes = 64 << 20
	}
	if opts.MaxAge == 0 {
		opts.MaxAge = time.Second
	}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = 4 << 30
	}
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("create spool directory: %w", err)
	}
	lock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{
		opts: opts, disk: disk{opts.Fault}, lock: lock, salt: newSalt(),
		wake: make(chan struct{}, 1), done: make(chan struct{}), arrived: make(chan struct{}),
	}
	s.seed = seedOf(s.salt)
	if err := s.recover(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	go s.run()
	return s, nil
}

// Close refuses further appends, writes what waits, seals the current segment
// and gives the directory free. What is sealed is found by the next Open.
// A second Close does nothing.
func (s *Spool) Close() error {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	s.mu.Unlock()
	s.nudge()
	<-s.done
	if already {
		return nil
	}
	if err := s.lock.Close(); err != nil {
		return fmt.Errorf("release spool lock: %w", err)
	}
	return nil
}

// Writable reports whether an append would be tried now: the last write went
// well, none hangs, there is room below MaxBytes and the spool is open. It is
// the collector's part of /readyz.
func (s *Spool) Writable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	margin := min(64<<10, s.opts.MaxBytes/16)
	stalled := !s.writing.IsZero() && time.Since(s.writing) > stallAfter
	return !s.closed && s.down == nil && !stalled && s.bytes+margin <= s.opts.MaxBytes
}

// CountDropped adds n to Stats.Dropped: hits that were answered though the
// spool refused them.
func (s *Spool) CountDropped(n int) { s.dropped.Add(uint64(n)) }

// Stats are figures since Open, except the first three, which are of now.
type Stats struct {
	Bytes            int64         // on disk and not shipped, or waiting for the disk
	Segments         int           // that hold records and are not shipped
	OldestSegmentAge time.Duration // since the oldest of them was begun, 0 when there is none
	Appended         uint64        // records acknowledged
	Failed           uint64        // records refused or not made durable
	Syncs            uint64        // fdatasync calls of records
	Dropped          uint64        // see CountDropped
	Quarantined      uint64        // damaged stretches and files set aside
}

// Stats returns the figures of this moment.
func (s *Spool) Stats() Stats {
	st := Stats{
		Appended: s.appended.Load(), Failed: s.failed.Load(), Syncs: s.syncs.Load(),
		Dropped: s.dropped.Load(), Quarantined: s.quarantined.Load(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Bytes, st.Segments = s.bytes, len(s.sealed)
	oldest := s.active
	if oldest != nil && oldest.size == headerLen {
		oldest = nil
	}
	if oldest != nil {
		st.Segments++
	}
	if len(s.sealed) > 0 {
		oldest = s.sealed[0]
	}
	if oldest != nil {
		st.OldestSegmentAge = max(time.Since(oldest.began), 0)
	}
	return st
}

// nudge makes the writer look around soon.
func (s *Spool) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
