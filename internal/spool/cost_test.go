//go:build !race

package spool

import (
	"testing"
	"time"

	"kairos"
	"kairos/internal/instructions"
)

func TestInstructionsOfHits(t *testing.T) {
	h := kairos.Hit{Event: kairos.Event{Kind: kairos.NotificationClicked, Version: 1, OccurredAt: time.Unix(1, 0), Campaign: kairos.NewID(),
		Notification: kairos.NewID(), Data: []byte(`{"link":1,"url":"https://shop.example.com/offer"}`)}}
	buf, id := make([]byte, 0, 512), kairos.NewID()
	instructions.Check(t, "writing a hit", 287, func() { buf = AppendHit(buf[:0], &h) })
	instructions.Check(t, "reading a hit", 291, func() {
		if _, err := ParseHit(id, buf); err != nil {
			panic(err)
		}
	})
}
