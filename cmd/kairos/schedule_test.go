package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/delivery/deliverytest"
)

// TestScheduled: a moment ahead, a wall-clock time in each person's zone, and
// moments that came too late.
func TestScheduled(t *testing.T) {
	w, sink := newSMTPWorld(t, deliverytest.SinkOptions{})
	w.serve(rolesFront)
	w.serve(rolesStage)
	w.serve(rolesSend)
	zones := []string{"Pacific/Kiritimati", "Asia/Kolkata", "Europe/Lisbon", "America/New_York"}
	const people = 40
	var b strings.Builder
	b.WriteString("external_id,email,timezone\n")
	for i := range people {
		fmt.Fprintf(&b, "p%d,%s,%s\n", i, address0(i), zones[i%len(zones)])
	}
	require.Equal(t, int64(people), w.load(strings.NewReader(b.String())).Created)

	at := time.Now().Add(4 * time.Second)
	id := w.launch(map[string]any{"schedule": map[string]any{"mode": "at", "at": at}})
	require.Equal(t, "scheduled", w.status(id).State)
	require.ErrorContains(t, w.api.post(t.Context(), "/v1/campaigns", map[string]any{
		"name": "Late", "template": w.template(), "audience": map[string]any{"all": true},
		"schedule": map[string]any{"mode": "now"}, "latest": time.Now().Add(-time.Second),
	}, nil), "latest")
	for time.Now().Before(at) {
		n := sink.Total()
		if time.Now().Before(at) {
			require.Zero(t, n, "sent before its time")
		}
		time.Sleep(10 * time.Millisecond)
	}
	taken(t, sink, people)
	late := time.Since(at)
	t.Logf("all sent %s after the moment", late)
	require.Less(t, late, 10*time.Second)
	require.Equal(t, people, w.until(id, "finished", 30*time.Second).Progress.Accepted)
	onceEach(t, sink, people)

	// Local: soon in the zone where the day begins first, later in the others.
	// Latest lies between them.
	first, err := time.LoadLocation(zones[0])
	require.NoError(t, err)
	when := time.Now().Add(3 * time.Minute).In(first)
	latest := time.Now().Add(time.Hour)
	id = w.launch(map[string]any{
		"schedule": map[string]any{"mode": "local", "local_time": when.Format("15:04")},
		"latest":   latest,
	})
	eventually(t, 30*time.Second, func() string {
		if n := len(w.ledger(id, "")); n < people {
			return fmt.Sprintf("%d of %d are planned", n, people)
		}
		return ""
	})
	zoneOf := w.zones()
	states := map[string]int{}
	for _, r := range w.ledger(id, "") {
		zone := zoneOf[r.Contact]
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		states[r.State+" "+r.Reason]++
		if zone != zones[0] {
			require.Equal(t, []string{"skipped", string(kairos.ReasonLatest)}, []string{r.State, r.Reason}, zone)
			continue
		}
		require.Equal(t, "planned", r.State, "%s %s", zone, r.Reason)
		require.Equal(t, when.Format("15:04"), r.PlannedAt.In(loc).Format("15:04"), zone)
		require.WithinDuration(t, when, r.PlannedAt, time.Minute)
	}
	t.Logf("local: %v", states)
	require.Equal(t, "cancelled", w.act(id, "cancel").State)

	// A moment that is missed by more than the window is skipped, not late.
	id = w.launch(map[string]any{"schedule": map[string]any{"mode": "at", "at": time.Now().Add(2 * time.Second), "window": "1s"}})
	w.act(id, "pause")
	time.Sleep(4 * time.Second)
	w.act(id, "resume")
	p := w.until(id, "finished", 30*time.Second).Progress
	require.Equal(t, people, p.Skipped, "%+v", p)
	require.Equal(t, string(kairos.ReasonMissed), w.ledger(id, "skipped")[0].Reason)
	require.Equal(t, people, sink.Total())
}

// zones by contact.
func (w *world) zones() map[string]string {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `SELECT id::text, timezone FROM contacts`)
	require.NoError(w.t, err)
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var id, zone string
		require.NoError(w.t, rows.Scan(&id, &zone))
		all[id] = zone
	}
	require.NoError(w.t, rows.Err())
	return all
}
