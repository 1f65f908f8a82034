//go:build !race

package spool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestAllocationsOfHits(t *testing.T) {
	h := kairos.Hit{Event: kairos.Event{Kind: kairos.NotificationClicked, Version: 1, OccurredAt: time.Unix(1, 0), Campaign: kairos.NewID(), Data: []byte(`{"link":1}`)}}
	buf, id := make([]byte, 0, 512), kairos.NewID()
	require.Zero(t, testing.AllocsPerRun(100, func() { buf = AppendHit(buf[:0], &h) }), "writing")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := ParseHit(id, buf); err != nil {
			t.Fatal(err)
		}
	}), "reading")
}

// A lone record costs its group and the group's channel; records that share a
// group share these too.
func TestAllocationsOfAppending(t *testing.T) {
	s := open(t, Options{})
	id, payload := kairos.NewID(), make([]byte, 200)
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		p, err := s.Begin(id, payload)
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
	}), 3.0)
}
