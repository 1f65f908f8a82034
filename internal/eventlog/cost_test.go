//go:build !race

package eventlog

import (
	"testing"
	"time"

	"kairos"
	"kairos/internal/instructions"
)

func TestInstructionsOfARow(t *testing.T) {
	e := kairos.Event{ID: kairos.NewID(), Kind: kairos.NotificationAccepted, Key: "1", OccurredAt: time.Now(), Campaign: kairos.NewID(),
		Contact: kairos.NewID(), Notification: kairos.NewID(), Ticket: kairos.NewID(), Data: []byte(`{"provider":"smtp"}`)}
	b := make([]byte, 0, 1024)
	instructions.Check(t, "a row for COPY", 768, func() { b = appendRow(b[:0], &e) })
	id, number := make([]byte, 16), make([]byte, 8)
	raw := [][]byte{id, []byte("notification.sent"), {0, 1}, id, []byte("1"), number, number, id, id, id, nil, []byte(`{"provider": "smtp"}`), number, number}
	d := decoder{kinds: map[string]string{}}
	instructions.Check(t, "reading a row", 782, func() { d.event(&e, raw) })
}
