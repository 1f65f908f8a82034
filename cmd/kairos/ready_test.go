package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
)

// TestReadinessIsOfTheRoles: a collector needs its spool alone, everybody else
// Postgres; whoever stops is not ready, and answers until nothing is in flight.
func TestReadinessIsOfTheRoles(t *testing.T) {
	const people = 40
	w, sink := newSMTPWorld(t, deliverytest.SinkOptions{Keep: people})
	front := w.serve("api,track")
	stages := w.serve(rolesStage)
	collector := w.serve("track", "KAIROS_LISTEN", "127.0.0.1:0")
	both := w.serve("track,delivery", "KAIROS_LISTEN", "127.0.0.1:0")
	want := func(p *proc, status int, parts ...string) {
		t.Helper()
		eventually(t, 20*time.Second, func() string {
			got, checks := w.readiness(p)
			if got != status {
				return fmt.Sprintf("%s answers %d", p.name, got)
			}
			for _, part := range parts {
				if checks[part] != "ready" {
					return fmt.Sprintf("%s: %v", p.name, checks)
				}
			}
			return ""
		})
	}
	ready := func() {
		t.Helper()
		want(front, 200, "postgres", "spool")
		want(stages, 200, "postgres")
		want(collector, 200, "spool")
		want(both, 200, "postgres", "spool")
	}
	ready()
	_, checks := w.readiness(collector)
	require.NotContains(t, checks, "postgres")
	_, checks = w.readiness(stages)
	require.NotContains(t, checks, "spool")

	require.NoError(t, w.postgres.Stop(true))
	want(front, 503)
	want(stages, 503)
	want(collector, 200, "spool")
	want(both, 503)
	require.NoError(t, w.postgres.Start(t.Context()))
	ready()

	w.audience(people)
	id := w.launch(nil)
	w.until(id, "finished", time.Minute)
	link := letters(t, sink)[0].links[0]

	// A sender that also collects is stopped while a message is in flight.
	sink.SetFaults(deliverytest.Fault{At: deliverytest.AtDot, Delay: 3 * time.Second})
	again := w.launch(nil)
	eventually(t, time.Minute, func() string {
		if w.count(`SELECT count(*) FROM attempts WHERE state = 'sending'`) == 0 {
			return "nothing is in flight"
		}
		return ""
	})
	both.signal(syscall.SIGTERM)
	want(both, 503)
	click := &person{t, visitors(), both.url}
	click.click(both.url+link[len(w.api.Server):], agentPerson)
	require.Zero(t, both.wait(time.Minute), "status")
	require.Equal(t, 1, w.count(`SELECT count(*) FROM events WHERE kind = 'notification.clicked' AND campaign = $1`, id), "the click is in the log when the process is gone")
	require.Zero(t, w.count(`SELECT count(*) FROM attempts WHERE state IN ('sending', 'unknown')`))
	require.Zero(t, w.count(`SELECT count(*) FROM batches WHERE state = 'running' AND kind = 'delivery.send'`))
	sink.SetFaults()
	w.serve("delivery")
	require.Equal(t, people, w.until(again, "finished", time.Minute).Progress.Accepted)
	require.Equal(t, 2*people, sink.Total())

	// One without work ends at once.
	began := time.Now()
	collector.signal(syscall.SIGTERM)
	require.Zero(t, collector.wait(20*time.Second), "status")
	require.Less(t, time.Since(began), 10*time.Second)
}
