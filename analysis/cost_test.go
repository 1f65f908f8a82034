//go:build !race

package analysis

import (
	"testing"
	"time"

	"kairos"
	"kairos/internal/instructions"
)

// What the fold does for each event and journey beside the driver's work.
func TestInstructionsOfTheFold(t *testing.T) {
	f := facts{Slot: 1772452800000000, Start: 1772452800000000, Planned: true, Attempts: []attempt{{Number: 1, At: 1772452800000000, Sent: true, Accepted: true}},
		Clicks: []click{{At: 1772452800000000, Link: "1"}}}
	raw := f.appendJSON(nil)
	buf := make([]byte, 0, 4096)
	instructions.Check(t, "writing a journey's facts", 2410, func() { buf = f.appendJSON(buf[:0]) })
	instructions.Check(t, "reading a journey's facts", 10975, func() {
		if _, err := parseFacts(raw); err != nil {
			panic(err)
		}
	})
	e := kairos.Event{Data: []byte(`{"provider": "smtp", "links": 3, "link": 1, "url": "https://shop.example/", "code": "250"}`)}
	instructions.Check(t, "reading an event's data", 2548, func() { detailOf(&e) })
	j := journey{rules: &rules{window: time.Hour, fast: time.Second, burst: time.Second}, facts: facts{Slot: 1, Start: 1, Planned: true}}
	instructions.Check(t, "a journey's row for COPY", 1243, func() { j.read = false; buf = j.appendRow(buf[:0]) })
}
