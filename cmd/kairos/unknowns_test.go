package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
)

// TestUnknownsAreSettledByTheProvidersEvents: senders are killed in the middle
// of their calls and calls end without an answer, so that thousands are in
// doubt. The provider's events settle them; the promise is 95 % within ten
// minutes.
func TestUnknownsAreSettledByTheProvidersEvents(t *testing.T) {
	const people, kills = 6000, 2
	grid, err := deliverytest.NewSendGrid(deliverytest.SendGridOptions{APIKey: "SG.key", Seed: 9})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, grid.Close()) })
	w := newWorld(t, map[string]string{
		"KAIROS_EMAIL_PROVIDER": "sendgrid", "KAIROS_SENDGRID_API_KEY": "SG.key",
		"KAIROS_SENDGRID_URL": grid.URL(), "KAIROS_SENDGRID_WEBHOOK_KEY": grid.PublicKey(),
	})
	w.serve(rolesFront)
	w.serve(rolesStage)
	w.audience(people)
	grid.SetFaults(deliverytest.CallFault{Take: true, Close: true, Skip: 1, Times: 1}, deliverytest.CallFault{Delay: 400 * time.Millisecond})
	victim := w.serve(rolesSend)
	id := w.launch(nil)
	for k := range kills {
		eventually(t, time.Minute, func() string {
			if n := w.count(`SELECT count(*) FROM attempts WHERE state = 'sending'`); n == 0 || grid.Calls() < 2*k+1 {
				return fmt.Sprintf("%d in flight, %d calls", n, grid.Calls())
			}
			return ""
		})
		victim.kill()
		victim = w.serve(rolesSend)
	}
	s := w.until(id, "finished", 2*time.Minute).Progress
	require.Equal(t, people, s.Accepted+s.Unknown, "%+v", s)
	require.Zero(t, grid.Duplicates())
	var events []deliverytest.GridEvent
	now := time.Now()
	for i := range people {
		if m, ok := grid.Message(address0(i)); ok {
			events = append(events, grid.Event("processed", m, now))
		}
	}
	// A doubtful message that the provider never took has no event: nobody can
	// tell it from one whose event is late. It waits for an operator, or its age.
	never := people - len(events)
	require.Positive(t, s.Unknown-never, "nothing is in doubt that was taken: this proves nothing")
	began := time.Now()
	require.NoError(t, grid.Post(t.Context(), w.api.Server+"/v1/webhooks/sendgrid", events, deliverytest.PostOptions{Shuffle: true}))
	var took time.Duration
	eventually(t, 10*time.Minute, func() string {
		left := w.status(id).Progress.Unknown
		if took == 0 && left-never <= (s.Unknown-never)*5/100 {
			took = time.Since(began)
		}
		if left > never {
			return fmt.Sprintf("%d are unknown, of which the provider took %d", left, left-never)
		}
		return ""
	})
	t.Logf("%d unknown after %d kills and a call without an answer; of the %d that were taken 95 %% were settled within %s, all within %s; %d were never taken",
		s.Unknown, kills, s.Unknown-never, took.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), never)
	require.Len(t, w.ledger(id, "unknown"), never)
}
