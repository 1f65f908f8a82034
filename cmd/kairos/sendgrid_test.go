package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/delivery/deliverytest"
)

// TestSendGridEndToEnd: a campaign over SendGrid's format. One call is taken
// and answered with an error, so that its people are in doubt; the signed
// events that come back tell that they got it, and who bounced.
func TestSendGridEndToEnd(t *testing.T) {
	const people, bounces = 2500, 30
	grid, err := deliverytest.NewSendGrid(deliverytest.SendGridOptions{APIKey: "SG.key", Seed: 5})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, grid.Close()) })
	w := newWorld(t, map[string]string{
		"KAIROS_EMAIL_PROVIDER": "sendgrid", "KAIROS_SENDGRID_API_KEY": "SG.key",
		"KAIROS_SENDGRID_URL": grid.URL(), "KAIROS_SENDGRID_WEBHOOK_KEY": grid.PublicKey(),
	})
	w.serve(rolesFront)
	w.serve(rolesStage)
	w.serve(rolesSend)
	w.audience(people)
	grid.SetFaults(deliverytest.CallFault{To: address0(7), Times: 1, Take: true, Status: 500})
	id := w.launch(nil)
	s := w.until(id, "finished", time.Minute).Progress
	t.Logf("%d calls: %+v", grid.Calls(), s)
	require.Equal(t, people, grid.Total())
	require.Zero(t, grid.Duplicates())
	require.Positive(t, s.Unknown)
	require.Less(t, s.Unknown, people)
	require.Equal(t, people, s.Accepted+s.Unknown)
	who := w.addresses()
	doubtful := w.ledger(id, "unknown")
	require.Len(t, doubtful, s.Unknown)
	require.True(t, containsAddress(doubtful, who, address0(7)))

	// Delivered is what SendGrid says is delivered: nothing yet.
	require.Zero(t, w.funnel(id)["delivered"])

	hook := w.api.Server + "/v1/webhooks/sendgrid"
	var events []deliverytest.GridEvent
	now := time.Now()
	var bounced []string
	for i := range people {
		m, ok := grid.Message(address0(i))
		require.True(t, ok)
		events = append(events, grid.Event("processed", m, now))
		if i < bounces { // person 7, who is in doubt, among them
			events = append(events, grid.Event("bounce", m, now.Add(time.Second)))
			bounced = append(bounced, address0(i))
		} else {
			events = append(events, grid.Event("delivered", m, now.Add(time.Second)))
		}
	}
	require.ErrorContains(t, grid.Post(t.Context(), hook, events[:10], deliverytest.PostOptions{Spoil: true}), "answered 4", "a bad signature")
	require.NoError(t, grid.Post(t.Context(), hook, events, deliverytest.PostOptions{Times: 3, Shuffle: true, Batch: 500}))

	eventually(t, 30*time.Second, func() string {
		if p := w.status(id).Progress; p.Unknown > 0 || p.Accepted+p.Failed != people {
			return fmt.Sprintf("%+v", p)
		}
		if f := w.funnel(id); f["delivered"] != people-bounces {
			return fmt.Sprintf("funnel %v", f)
		}
		return ""
	})
	f := w.funnel(id)
	t.Logf("funnel %v, %+v", f, w.status(id).Progress)
	require.Equal(t, []int64{people, people}, []int64{f["planned"], f["sent"]})
	var n recipient
	w.get("/v1/notifications/"+doubtful[len(doubtful)-1].ID, &n)
	require.Len(t, n.Attempts, 1, "evidence resolves an attempt, it makes none")
	require.NotEmpty(t, n.Attempts[0].Evidence)

	// Who bounced is not written to again.
	next := w.launch(nil)
	s = w.until(next, "finished", time.Minute).Progress
	require.Equal(t, []int{people - bounces, bounces}, []int{s.Planned, s.Skipped}, "%+v", s)
	var skipped []string
	for _, r := range w.ledger(next, "skipped") {
		require.Equal(t, string(kairos.ReasonSuppressed), r.Reason)
		skipped = append(skipped, who[r.Contact])
	}
	require.ElementsMatch(t, bounced, skipped)
	require.Equal(t, 2*people-bounces, grid.Total())
}

func containsAddress(rs []recipient, people map[string]string, address string) bool {
	for _, r := range rs {
		if people[r.Contact] == address {
			return true
		}
	}
	return false
}

// funnel returns the unique people by step.
func (w *world) funnel(campaign string) map[string]int64 {
	w.t.Helper()
	var f funnelAnswer
	w.get("/v1/reports/funnel?campaign="+campaign, &f)
	steps := map[string]int64{}
	for _, s := range f.Steps {
		steps[s.Step] = s.Unique
	}
	return steps
}
