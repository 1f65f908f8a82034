package delivery

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// BenchmarkFeedback takes in clicks on messages that were accepted long ago:
// what nearly all evidence is.
func BenchmarkFeedback(b *testing.B) {
	const people = 20_000
	w := plan(b, people, people)
	d := w.delivery()
	w.exec(`UPDATE notifications SET state = 'accepted'`)
	w.exec(`INSERT INTO attempts (notification, number, campaign, batch, epoch, provider, state, started_at, ended_at)
		SELECT id, 1, campaign, batch, 1, 'smtp', 'accepted', $1, $1 FROM notifications`, start)
	w.exec(`VACUUM ANALYZE`)
	b.ReportAllocs()
	for round := range b.N {
		b.StopTimer()
		events := make([]kairos.Event, people)
		for i := range events {
			events[i] = kairos.Event{Kind: kairos.NotificationClicked, Key: "a", Notification: w.notes[i], Campaign: w.campaign, Contact: w.people[i],
				OccurredAt: start.AddDate(0, 0, round), Data: json.RawMessage(`{"link": 1, "links": 3, "url": "https://shop.example/"}`)}
		}
		w.append(events...)
		b.StartTimer()
		began := time.Now()
		require.NoError(b, d.Feedback(w.ctx))
		b.ReportMetric(float64(time.Since(began).Microseconds())/people, "µs/event")
	}
	require.Zero(b, w.events()[kairos.NotificationAccepted])
}
