//go:build !race

package eventlog

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestAllocationsOfARow(t *testing.T) {
	e := kairos.Event{ID: kairos.NewID(), Kind: kairos.NotificationAccepted, Key: "1", OccurredAt: time.Now(), Campaign: kairos.NewID(),
		Contact: kairos.NewID(), Notification: kairos.NewID(), Ticket: kairos.NewID(), Data: []byte(`{"provider":"smtp"}`)}
	b := make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() { b = appendRow(b[:0], &e) }))
}
