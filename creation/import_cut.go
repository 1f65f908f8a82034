package creation

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// Bounds of an import.
const (
	maxRow    = 1 << 20  // bytes of one row
	maxHeader = 64 << 10 // bytes of the header row
	readBlock = 256 << 10
)

// Rows that can't be carried over as they are become one byte, which no row of a
// person can be.
const (
	rowTooLong   = 0x01
	rowUnclosed  = 0x02
	reasonLong   = "is longer than 1 MiB"
	reasonQuotes = "has a quote that isn't closed"
)

// rowEnd finds the end of the row at the start of b: the index after its line
// end, or -1 when b ends first. open: b ends inside quotes.
type rowEnd func(b []byte) (end int, open bool)

// cutter cuts a body into chunks of whole rows in bounded memory: at most a
// chunk, a row and a block.
type cutter struct {
	body  io.Reader
	end   rowEnd
	limit int    // bytes of one row
	block int    // bytes read at once
	buf   []byte // read, not yet cut; begins at a row
	atEOF bool
	err   error // of body, other than io.EOF
}

func newCutter(body io.Reader, end rowEnd) *cutter {
	return &cutter{body: body, end: end, limit: maxRow, block: readBlock}
}

// fill reads one more block.
func (c *cutter) fill() {
	at := len(c.buf)
	c.buf = slices.Grow(c.buf, c.block)[:at+c.block]
	for idle := 0; at < len(c.buf) && !c.atEOF; {
		n, err := c.body.Read(c.buf[at:])
		at += n
		if idle++; n > 0 {
			idle = 0
		}
		if idle > 100 {
			err = io.ErrNoProgress
		}
		if c.atEOF = err != nil; c.atEOF && !errors.Is(err, io.EOF) {
			c.err = err
		}
	}
	c.buf = c.buf[:at]
}

// next returns whole rows of about size bytes and how many they are (blank
// lines aren't rows); zero bytes at the end of the body. After an error of the
// body the rows before it have been returned, the one it cut through has not.
func (c *cutter) next(size int) (chunk []byte, rows int64) {
	for len(chunk) < size {
		start, end, open := 0, 0, false
		for start < len(c.buf) && len(chunk)+start < size {
			if end, open = c.end(c.buf[start:min(start+c.limit, len(c.buf))]); end < 0 {
				break
			}
			if !blank(c.buf[start : start+end]) {
				rows++
			}
			start += end
		}
		chunk = append(chunk, c.buf[:start]...)
		c.buf = c.buf[:copy(c.buf, c.buf[start:])]
		switch {
		case len(chunk) >= size:
		case len(c.buf) >= c.limit:
			chunk = append(chunk, c.skip(open), '\n')
			rows++
		case !c.atEOF:
			c.fill()
		case len(c.buf) == 0 || c.err != nil:
			return chunk, rows
		case open:
			chunk = append(chunk, c.skip(open), '\n')
			rows++
		default: // the last row has no line end
			if !blank(c.buf) {
				rows++
			}
			chunk, c.buf = append(chunk, c.buf...), c.buf[:0]
		}
	}
	return chunk, rows
}

// skip drops the line at the start of the buffer, which begins a row that can't
// be carried over, and returns what stands for it. The row is taken to end with
// its first line, so that one stray quote costs one row.
func (c *cutter) skip(open bool) byte {
	for {
		if i := bytes.IndexByte(c.buf, '\n'); i >= 0 {
			c.buf = c.buf[:copy(c.buf, c.buf[i+1:])]
			break
		}
		c.buf = c.buf[:0]
		if c.atEOF {
			break
		}
		c.fill()
	}
	if open {
		return rowUnclosed
	}
	return rowTooLong
}

func blank(line []byte) bool {
	for _, b := range line {
		if b != '\n' && b != '\r' {
			return false
		}
	}
	return true
}

// lineEnd is rowEnd for formats whose rows are lines.
func lineEnd(b []byte) (int, bool) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1, false
	}
	return -1, false
}
