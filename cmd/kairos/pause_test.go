package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
)

// settled waits until the sink takes nothing more and returns how much it has:
// what was in flight takes far less than the second that must pass in silence.
func settled(t testing.TB, sink *deliverytest.SMTPSink) int {
	t.Helper()
	last, since := sink.Total(), time.Now()
	eventually(t, 30*time.Second, func() string {
		if n := sink.Total(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) < time.Second {
			return "messages still come"
		}
		return ""
	})
	return last
}

// TestPauseResumeCancel: once a pause or a cancellation has been answered, at
// most what was in flight still goes out; resuming sends nobody twice.
func TestPauseResumeCancel(t *testing.T) {
	const people, delay = 5000, 20 * time.Millisecond
	w, sink := newSMTPWorld(t, slowSink(delay))
	w.serve(rolesFront)
	w.serve(rolesStage)
	w.serve(rolesSend)
	w.audience(people)
	id := w.launch(nil)
	for i := range 2 {
		taken(t, sink, people/4*(i+1))
		s := w.act(id, "pause")
		at := sink.Total() // after the answer
		require.Equal(t, "paused", s.State)
		after := settled(t, sink)
		t.Logf("pause %d after %d messages: %d more", i+1, at, after-at)
		require.LessOrEqual(t, after-at, inFlight(delay))
		require.Less(t, after, people, "the campaign was over: nothing was proved")
		p := w.status(id).Progress
		require.Equal(t, []int{after, people - after, 0}, []int{p.Accepted, p.Pending, p.Unknown})
		require.Equal(t, "running", w.act(id, "resume").State)
	}
	taken(t, sink, people*3/4)
	require.Equal(t, "cancelled", w.act(id, "cancel").State)
	at := sink.Total()
	after := settled(t, sink)
	t.Logf("cancelled after %d messages: %d more", at, after-at)
	require.LessOrEqual(t, after-at, inFlight(delay))
	require.Less(t, after, people)
	eventually(t, 30*time.Second, func() string {
		if w.status(id).Progress.Pending > 0 {
			return "some are still to be sent"
		}
		return ""
	})
	p := w.status(id).Progress
	require.Equal(t, []int{people, after, people - after, 0}, []int{p.Planned, p.Accepted, p.Cancelled, p.Unknown}, "%+v", p)
	require.Zero(t, sink.Duplicates())
	require.Len(t, w.ledger(id, "cancelled"), people-after)
	require.Error(t, w.api.post(t.Context(), "/v1/campaigns/"+id+"/resume", nil, nil), "what is cancelled stays so")
	time.Sleep(2 * time.Second) // longer than any tick: does anything go on?
	require.Equal(t, after, sink.Total())
}
