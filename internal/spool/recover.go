package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kairos"
)

const (
	openSuffix   = ".open"
	sealedSuffix = ".seg"
)

func segmentName(number uint64, suffix string) string {
	return fmt.Sprintf("%016d%s", number, suffix)
}

// recover finds the segments of earlier processes and queues them, oldest
// first. Only those that were not sealed are looked through.
func (s *Spool) recover() error {
	entries, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return fmt.Errorf("read spool directory: %w", err)
	}
	set, err := os.ReadDir(filepath.Join(s.opts.Dir, "quarantine"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read quarantine: %w", err)
	}
	s.nextNumber = 1
	for _, e := range set { // their numbers are not used again
		digits, _, _ := strings.Cut(strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), "-")
		if n, err := strconv.ParseUint(digits, 10, 64); err == nil {
			s.nextNumber = max(s.nextNumber, n+1)
		}
	}
	for _, e := range entries {
		suffix := filepath.Ext(e.Name())
		number, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), suffix), 10, 64)
		if err != nil || e.IsDir() || suffix != openSuffix && suffix != sealedSuffix {
			continue
		}
		s.nextNumber = max(s.nextNumber, number+1)
		seg, err := s.adopt(filepath.Join(s.opts.Dir, e.Name()), number)
		if err != nil {
			return fmt.Errorf("look through segment %s: %w", e.Name(), err)
		}
		if seg != nil {
			s.sealed = append(s.sealed, seg)
			s.bytes += seg.size
		}
	}
	slices.SortFunc(s.sealed, func(a, b *Segment) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	return nil
}

// adopt makes a segment of a file, or nil when there is nothing in it.
func (s *Spool) adopt(path string, number uint64) (*Segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	seg := &Segment{spool: s, number: number, path: path, size: st.Size(), began: st.ModTime()}
	h, ok, err := readHeader(f)
	if err != nil || !ok && filepath.Ext(path) == sealedSuffix {
		return seg, nil // Records reports it, or sets it aside
	}
	if ok {
		seg.began = h.begun
	}
	if filepath.Ext(path) == sealedSuffix {
		return seg, nil
	}

	if !ok {
		if st.Size() <= headerLen || onlyZeros(f) {
			return nil, s.disk.remove(path) // died at birth: nothing was acknowledged
		}
		return nil, s.setAside(path)
	}
	end := int64(headerLen)
	sc := &scanner{r: f, size: st.Size(), seed: seedOf(h.salt)}
	err = sc.scan(
		func(to int64, _ kairos.ID, _ []byte) error { end = to; return nil },
		func(int64, int64) error { return nil },
	)
	if err != nil {
		return seg, nil // unreadable in part: left as it is for Records
	}
	if end == headerLen {
		return nil, s.disk.remove(path)
	}
	seg.size = end
	// Cutting, syncing and renaming save work later; what counts is seg.size,
	// and a repetition finds the same end.
	if end < st.Size() && (s.disk.cut(f, end) != nil || s.disk.sync(f) != nil) {
		return seg, nil
	}
	sealed := filepath.Join(s.opts.Dir, segmentName(number, sealedSuffix))
	if s.disk.rename(path, sealed) == nil {
		seg.path = sealed
	}
	return seg, nil
}

func readHeader(f io.ReaderAt) (header, bool, error) {
	b := make([]byte, headerLen)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return header{}, false, fmt.Errorf("read segment: %w", err)
	}
	h, ok := parseHeader(b[:n])
	return h, ok, nil
}

// onlyZeros reports whether a file that a crash left was never written to disk.
func onlyZeros(f *os.File) bool {
	b := make([]byte, 64<<10)
	for off := int64(0); ; off += int64(len(b)) {
		n, err := f.ReadAt(b, off)
		if len(bytes.Trim(b[:n], "\x00")) > 0 {
			return false
		}
		if err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}
