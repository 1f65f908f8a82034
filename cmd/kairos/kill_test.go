package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
)

// inFlight is the most attempts one process has open towards an SMTP server
// that takes each message after a moment, over ten connections.
func inFlight(delay time.Duration) int { return delivery.InFlight(10 / delay.Seconds()) }

// slowSink takes each message after a moment, so that a campaign lasts.
func slowSink(delay time.Duration) deliverytest.SinkOptions {
	return deliverytest.SinkOptions{Faults: []deliverytest.Fault{{At: deliverytest.AtDot, Delay: delay}}}
}

// taken waits until the sink has taken n messages.
func taken(t testing.TB, sink *deliverytest.SMTPSink, n int) {
	t.Helper()
	eventually(t, time.Minute, func() string {
		if got := sink.Total(); got < n {
			return fmt.Sprintf("%d of %d messages", got, n)
		}
		return ""
	})
}

// TestKillSender: a busy sender is killed three times in the middle of a
// campaign, another stays. Counted by the receiving side, nobody gets two and nobody is
// forgotten; what can't be known is called unknown, and that is at most what
// was in flight.
func TestKillSender(t *testing.T) {
	const people, kills, delay = 10_000, 3, 12 * time.Millisecond
	w, sink := newSMTPWorld(t, slowSink(delay))
	w.serve(rolesFront)
	w.serve(rolesStage)
	w.audience(people)
	senders := []*proc{w.serve(rolesSend), w.serve(rolesSend)}
	id := w.launch(nil)

	busy := func(owner string) (n int) {
		err := w.pool.QueryRow(context.Background(), `SELECT count(*) FROM batches WHERE state = 'running' AND owner LIKE $1`, owner).Scan(&n)
		require.NoError(t, err)
		return n
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	takeover := make([]time.Duration, kills)
	for k := range kills {
		taken(t, sink, people*(2*k+1)/8)
		victim, owner := 0, ""
		eventually(t, 30*time.Second, func() string {
			for i := range senders {
				victim, owner = i, fmt.Sprintf("%%:%d:%%", senders[i].pid)
				if busy(owner) > 0 {
					return ""
				}
			}
			return "no sender has anything in flight: its death would prove nothing"
		})
		pid := senders[victim].pid
		senders[victim].kill()
		killed := time.Now()
		t.Logf("kill %d: pid %d held %d batches after %d messages", k+1, pid, busy(owner), sink.Total())
		watching.Go(func() {
			for busy(owner) > 0 && time.Since(killed) < time.Minute {
				time.Sleep(50 * time.Millisecond)
			}
			takeover[k] = time.Since(killed)
		})
		senders[victim] = w.serve(rolesSend)
	}
	s := w.until(id, "finished", 2*time.Minute)
	watching.Wait()
	t.Logf("take-over after %v, %d unknown, %+v", takeover, s.Progress.Unknown, s.Progress)
	for _, took := range takeover {
		require.LessOrEqual(t, took, 15*time.Second, "take-over")
	}
	identity(t, w, sink, id, people, kills*inFlight(delay))
}

// identity asserts what must hold of a campaign to everybody however it was
// disturbed.
func identity(t *testing.T, w *world, sink *deliverytest.SMTPSink, campaign string, people, unknown int) {
	t.Helper()
	require.Zero(t, sink.Duplicates(), "somebody got two")
	got := sink.Recipients()
	p := w.status(campaign).Progress
	require.Equal(t, people, p.Planned)
	require.Equal(t, people, p.Accepted+p.Unknown, "%+v", p)
	require.LessOrEqual(t, p.Unknown, unknown)
	ids := w.addresses()
	known := 0
	for _, r := range w.ledger(campaign, "accepted") {
		require.Equal(t, 1, got[ids[r.Contact]], "accepted, says the ledger, for %s", ids[r.Contact])
		known++
	}
	doubtful := 0
	for _, r := range w.ledger(campaign, "unknown") {
		require.LessOrEqual(t, got[ids[r.Contact]], 1)
		doubtful += got[ids[r.Contact]]
	}
	require.Equal(t, sink.Total(), known+doubtful, "the sink took messages that the ledger knows nothing of")
	require.Zero(t, w.count(`SELECT count(*) FROM attempts WHERE state = 'sending'`))
}

// addresses by contact.
func (w *world) addresses() map[string]string {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `SELECT id::text, email FROM contacts`)
	require.NoError(w.t, err)
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var id, email string
		require.NoError(w.t, rows.Scan(&id, &email))
		all[id] = strings.ToLower(email)
	}
	require.NoError(w.t, rows.Err())
	return all
}

// TestGracefulStop: SIGTERM in the middle of a campaign ends the sender in
// order; its successor does the rest, and nothing is in doubt.
func TestGracefulStop(t *testing.T) {
	const people = 3000
	w, sink := newSMTPWorld(t, slowSink(10*time.Millisecond))
	w.serve(rolesFront)
	w.serve(rolesStage)
	w.audience(people)
	sender := w.serve(rolesSend)
	id := w.launch(nil)
	for k := range 2 {
		taken(t, sink, people*(k+1)/4)
		began := time.Now()
		sender.signal(syscall.SIGTERM)
		require.Zero(t, sender.wait(40*time.Second), "status")
		at := sink.Total()
		t.Logf("stop %d took %s after %d messages", k+1, time.Since(began).Round(time.Millisecond), at)
		require.Less(t, at, people, "the campaign was over: this stop proves nothing")
		require.Zero(t, w.count(`SELECT count(*) FROM attempts WHERE state IN ('sending', 'unknown')`))
		require.Zero(t, w.count(`SELECT count(*) FROM batches WHERE state = 'running' AND kind = 'delivery.send'`))
		sender = w.serve(rolesSend)
	}
	s := w.until(id, "finished", time.Minute)
	require.Equal(t, people, s.Progress.Accepted)
	require.Zero(t, s.Progress.Unknown)
	onceEach(t, sink, people)
}
