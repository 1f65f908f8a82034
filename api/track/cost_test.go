//go:build !race

package track

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/internal/instructions"
	"kairos/internal/token"
)

// TestInstructionsOfAClick: in the lane, without the wait for the disk. The
// spool is closed, so that it refuses; an answer is given all the same. Opening
// the token has a guard of its own.
func TestInstructionsOfAClick(t *testing.T) {
	d := open(t)
	raw, tok := []byte(requests(d)["click"].raw), d.token(token.PurposeClick)
	require.NoError(t, d.spool.Close())
	instructions.Check(t, "the head of a request", 5825, func() {
		if _, ok := parseHead(raw); !ok {
			panic("not plain")
		}
	})
	s, v, out := &laneConn{lane: &Lane{c: d.Collector}}, newVisit(), make([]byte, 0, 1<<10)
	h, ok := parseHead(raw)
	require.True(t, ok)
	s.read, s.written = time.Now().Add(time.Hour), time.Now().Add(time.Hour) // deadlines stay
	opened := func() {
		if _, err := d.ring.Open(token.PurposeClick, tok); err != nil {
			panic(err)
		}
	}
	instructions.CheckBeside(t, "a click's answer", 11757, opened, func() {
		if out, ok = s.answer(out[:0], v, h); !ok {
			panic("not answered")
		}
	})
}
