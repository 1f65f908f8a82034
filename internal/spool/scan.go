package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"kairos"
)

// resyncBudget bounds the bytes that are summed in search of the next whole
// record after a damaged one. Only a payload full of plausible lengths comes
// near it.
const resyncBudget = 1 << 30

// scanner walks through the records of one segment in bounded memory: about
// 256 KiB, or one record when that is longer.
type scanner struct {
	r    io.ReaderAt
	size int64
	seed uint32

	buf   []byte // holds the bytes from start on
	start int64
}

// scan calls record for each whole record and bad for each stretch of bytes
// between, from and to being offsets. A payload is valid until record returns.
// The first error of either, or of reading, ends the scan.
func (s *scanner) scan(record func(end int64, id kairos.ID, payload []byte) error, bad func(from, to int64) error) error {
	for off := int64(headerLen); off < s.size; {
		rec, err := s.record(off)
		if err != nil {
			return err
		}
		if rec == nil {
			next, err := s.resync(off)
			if err != nil {
				return err
			}
			if err := bad(off, next); err != nil {
				return err
			}
			off = next
			continue
		}
		off += int64(len(rec))
		if err := record(off, kairos.ID(rec[8:recordLen]), rec[recordLen:]); err != nil {
			return err
		}
	}
	return nil
}

// record returns the whole record at off, nil when there is none.
func (s *scanner) record(off int64) ([]byte, error) {
	n, err := s.claimed(off)
	if n == 0 || err != nil {
		return nil, err
	}
	rec, err := s.at(off, n)
	if err != nil {
		return nil, err
	}
	if recordSum(s.seed, rec) != binary.LittleEndian.Uint32(rec[4:]) || kairos.ID(rec[8:recordLen]).IsZero() {
		return nil, nil
	}
	return rec, nil
}

// claimed returns how long the record at off says it is, 0 when that cannot be.
func (s *scanner) claimed(off int64) (int, error) {
	if off+recordLen > s.size {
		return 0, nil
	}
	b, err := s.at(off, recordLen)
	if err != nil {
		return 0, err
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n > MaxPayload || off+recordLen+n > s.size {
		return 0, nil
	}
	return int(recordLen + n), nil
}

// resync returns the offset of the first whole record after the damaged one at
// off, or the end of the segment.
func (s *scanner) resync(off int64) (int64, error) {
	own, err := s.claimed(off)
	if err != nil {
		return 0, err
	}
	budget := resyncBudget
	for at := off + 1; at+recordLen <= s.size; at++ {
		n, err := s.claimed(at)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			continue
		}
		if budget -= n; budget < 0 {
			// Too dear. Trust the damaged record's own length once.
			if rec, err := s.record(off + int64(own)); own > 0 && rec != nil || err != nil {
				return off + int64(own), err
			}
			return s.size, nil
		}
		if rec, err := s.record(at); rec != nil || err != nil {
			return at, err
		}
	}
	return s.size, nil
}

// at returns n bytes from off on; they must lie inside the segment.
func (s *scanner) at(off int64, n int) ([]byte, error) {
	const ahead = 256 << 10
	if have := s.start + int64(len(s.buf)); off < s.start || off+int64(n) > have {
		want := int(min(int64(n)+ahead, s.size-off))
		kept := 0
		if off >= s.start && off < have {
			kept = copy(s.buf, s.buf[off-s.start:])
		}
		if cap(s.buf) < want {
			s.buf = append(make([]byte, 0, want), s.buf[:kept]...)
		}
		s.buf, s.start = s.buf[:want], off
		if kept < want {
			got, err := s.r.ReadAt(s.buf[kept:], off+int64(kept))
			if got < want-kept {
				s.buf = s.buf[:kept]
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return nil, fmt.Errorf("read segment: %w", err)
			}
		}
	}
	from := int(off - s.start)
	return s.buf[from : from+n : from+n], nil
}
