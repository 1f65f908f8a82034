//go:build !race

package track

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/internal/spool"
)

// A click in the lane costs its token, its destination and, alone in its
// group, what the spool needs for that: 5 as of Go 1.26.
func TestAllocationsOfAClick(t *testing.T) {
	d := open(t, func(_ *Options, so *spool.Options) { so.MaxAge = time.Hour })
	s, v, out := &laneConn{lane: &Lane{c: d.Collector}}, newVisit(), make([]byte, 0, 1<<10)
	raw := []byte(requests(d)["click"].raw)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, ok := parseHead(raw); !ok {
			t.Fatal("not plain")
		}
	}), "the head")
	h, _ := parseHead(raw)
	s.read, s.written = time.Now(), time.Now() // deadlines stay
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		var ok bool
		if out, ok = s.answer(out[:0], v, h); !ok {
			t.Fatal("not answered")
		}
	}), 6.0)
}
