package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"kairos"
)

// Segment is a sealed file of records. It is for one goroutine at a time.
type Segment struct {
	spool  *Spool
	number uint64
	path   string
	size   int64     // of what counts: the header and all that was acknowledged
	began  time.Time // machine time of its first record

	bad  map[int64]bool // offsets of damage that is in quarantine already
	keep bool           // quarantine could not take the damage: keep the file
}

// Next waits for the oldest segment that is sealed and not removed. Without a
// Remove between it returns the same segment again, which is how a shipper
// repeats. One shipper at a time. After Close it returns ErrClosed.
func (s *Spool) Next(ctx context.Context) (*Segment, error) {
	for {
		s.mu.Lock()
		arrived, closed := s.arrived, s.closed
		var seg *Segment
		if len(s.sealed) > 0 {
			seg = s.sealed[0]
		}
		s.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case seg != nil:
			return seg, nil
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for segment: %w", context.Cause(ctx))
		}
	}
}

// Seal asks the writer to seal the current segment now, whatever its age. It
// returns at once; Next sees the segment soon.
func (s *Spool) Seal() {
	s.mu.Lock()
	s.sealAsked = true
	s.mu.Unlock()
	s.nudge()
}

// Name is the segment's file name, for logs.
func (g *Segment) Name() string { return filepath.Base(g.path) }

// Bytes is the segment's size on disk.
func (g *Segment) Bytes() int64 { return g.size }

// Records calls fn for each record in the order of appending, in bounded
// memory; a payload is valid until fn returns. An error of fn ends the walk
// and is returned as it is. Damaged stretches are copied into quarantine and
// skipped. Any other error is the disk's: try again, and when that does not
// help, SetAside. Calling Records again starts from the beginning.
func (g *Segment) Records(fn func(id kairos.ID, payload []byte) error) error {
	f, err := os.Open(g.path)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer func() { _ = f.Close() }()
	h, ok, err := readHeader(f)
	if err != nil {
		return err
	}
	if !ok {
		g.keep = true // nothing in it can be told from chance
		return nil
	}
	size := g.size
	if st, err := f.Stat(); err == nil {
		size = min(size, st.Size())
	}
	sc := &scanner{r: f, size: size, seed: seedOf(h.salt)}
	return sc.scan(
		func(_ int64, id kairos.ID, payload []byte) error { return fn(id, payload) },
		func(from, to int64) error { g.quarantine(f, from, to); return nil },
	)
}

// Remove deletes the segment after its records were committed elsewhere. A
// second Remove does nothing. When it fails the segment stays, and is shipped
// again.
func (g *Segment) Remove() error {
	if g.keep {
		return g.SetAside()
	}
	return g.leave(func() error {
		if err := g.spool.disk.remove(g.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove segment: %w", err)
		}
		return nil
	})
}

// SetAside moves the whole segment into quarantine, for one that cannot be
// read or shipped and must not hold up the others.
func (g *Segment) SetAside() error {
	return g.leave(func() error { return g.spool.setAside(g.path) })
}

// leave takes the segment out of the queue if gone succeeds.
func (g *Segment) leave(gone func() error) error {
	s := g.spool
	s.mu.Lock()
	at := -1
	for i, other := range s.sealed {
		if other == g {
			at = i
		}
	}
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return ErrClosed // the directory may be another's by now
	case at < 0:
		return nil
	}
	if err := gone(); err != nil {
		return err
	}
	s.mu.Lock()
	for i, other := range s.sealed {
		if other == g {
			s.sealed = append(s.sealed[:i:i], s.sealed[i+1:]...)
			s.bytes -= g.size
			break
		}
	}
	s.mu.Unlock()
	s.nudge() // the next segment may have come of age meanwhile
	return nil
}

// quarantine copies the bytes between from and to out of the segment. The
// copy's name says where they were, so doing it twice leaves one copy.
func (g *Segment) quarantine(f io.ReaderAt, from, to int64) {
	if g.bad[from] {
		return
	}
	s := g.spool
	name := fmt.Sprintf("%016d-%d.bad", g.number, from)
	if err := s.copyAside(name, io.NewSectionReader(f, from, to-from)); err != nil {
		g.keep = true
	}
	if g.bad == nil {
		g.bad = map[int64]bool{}
	}
	g.bad[from] = true
	s.quarantined.Add(1)
}

func (s *Spool) quarantineDir() (string, error) {
	dir := filepath.Join(s.opts.Dir, "quarantine")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("create quarantine: %w", err)
	}
	return dir, nil
}

func (s *Spool) copyAside(name string, from io.Reader) error {
	dir, err := s.quarantineDir()
	if err != nil {
		return err
	}
	f, err := s.disk.create(filepath.Join(dir, name), os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("create quarantine file: %w", err)
	}
	_, err = io.Copy(f, from)
	if err == nil {
		err = s.disk.sync(f)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.disk.syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write quarantine file: %w", err)
	}
	return nil
}

// setAside moves a whole segment file into quarantine and counts it.
func (s *Spool) setAside(path string) error {
	dir, err := s.quarantineDir()
	if err != nil {
		return err
	}
	if err := s.disk.rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
		return fmt.Errorf("set segment aside: %w", err)
	}
	s.quarantined.Add(1)
	return nil
}
