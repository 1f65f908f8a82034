package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/pg"
)

// permutations of 0..n-1.
func permutations(n int) [][]int {
	if n == 0 {
		return [][]int{{}}
	}
	var all [][]int
	for _, p := range permutations(n - 1) {
		for i := range n {
			q := append(append(append([]int{}, p[:i]...), n-1), p[i:]...)
			all = append(all, q)
		}
	}
	return all
}

// TestEveryOrderOfEventsEndsTheSame gives each permutation of a set of events
// a person of its own, in a random mix of calls, and compares the rows.
func TestEveryOrderOfEventsEndsTheSame(t *testing.T) {
	type ev struct {
		kind string
		data string
		at   time.Duration
	}
	hard := fmt.Sprintf(`{"class":"hard","address_hash":"%x"}`, addressHash("old@example.org"))
	sets := map[string]struct {
		events []ev
		want   map[string]bool // suppression reasons that are left
	}{
		"delivered and read": {[]ev{{kairos.NotificationDeferred, "", 1}, {kairos.NotificationDelivered, `{"attempt":"REF"}`, 2}, {kairos.NotificationOpened, "", 3}, {kairos.NotificationClicked, "", 4}, {kairos.ContactUnsubscribed, "", 5}},
			map[string]bool{Unsubscribed: true}},
		"bounced": {[]ev{{kairos.NotificationDeferred, "", 1}, {kairos.NotificationBounced, `{"class":"soft"}`, 2}, {kairos.NotificationBounced, hard, 3}, {kairos.NotificationDropped, "", 4}, {kairos.NotificationComplained, "", 5}},
			map[string]bool{Bounced: true, Complained: true}},
		"undecided": {[]ev{{kairos.ContactUnsubscribed, "", 1}, {kairos.ContactResubscribed, "", 2}, {kairos.ContactUnsubscribed, "", 3}, {kairos.ContactResubscribed, "", 4}, {kairos.NotificationOpened, `{"machine":"proxy"}`, 2}},
			map[string]bool{}},
		"undecided, then gone": {[]ev{{kairos.ContactUnsubscribed, "", 1}, {kairos.ContactResubscribed, "", 2}, {kairos.ContactUnsubscribed, "", 3}, {kairos.ContactUnsubscribed, "", 4}, {kairos.NotificationComplained, "", 5}},
			map[string]bool{Unsubscribed: true, Complained: true}},
	}
	for name, set := range sets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			orders := permutations(len(set.events))
			w := plan(t, len(orders), len(orders))
			d := w.delivery(newFake(1, 1))
			win := w.open(d, len(orders))
			tries := make([]try, len(win.open))
			for i := range tries {
				tries[i].started = i%2 == 0 // unknown by its own finding
			}
			e := win.endings(tries, false)
			half := e.all[:0]
			for i, end := range e.all { // every other one is still "sending"
				if i%2 == 0 {
					half = append(half, end)
				}
			}
			e.all = half
			require.NoError(t, d.settle(w.ctx, e))
			for step := range set.events {
				var events []kairos.Event
				for i, order := range orders {
					x := set.events[order[step]]
					data := json.RawMessage(x.data)
					if x.data == `{"attempt":"REF"}` {
						data = json.RawMessage(fmt.Sprintf(`{"attempt":"%s.1"}`, w.notes[i]))
					}
					event := kairos.Event{Kind: x.kind, Notification: w.notes[i], Campaign: w.campaign, Contact: w.people[i], OccurredAt: start.Add(x.at * time.Minute), Key: fmt.Sprint(x.at), Data: data}
					if i%3 == 0 {
						event.Contact = kairos.ID{} // a collector may not know it
						if x.kind == kairos.ContactUnsubscribed || x.kind == kairos.ContactResubscribed {
							event.Contact = w.people[i]
						}
					}
					events = append(events, event, event) // and told twice
				}
				w.append(events...)
				w.clock.Advance(time.Hour)
				w.feedback(d)
			}
			// One signature for each person, without what differs by construction.
			rows, err := w.pool.Query(w.ctx, `
				SELECT n.state || '|' || a.state || '|' || a.evidence || '|' || coalesce((
					SELECT string_agg(s.scope || ' ' || s.reason || ' ' || s.created_at || ' ' || (s.contact IS NULL) || ' ' || (s.notification = n.id), ',' ORDER BY s.scope, s.reason, s.contact IS NULL, s.address = sha256(convert_to(lower(c.email), 'UTF8')))
					FROM suppressions s WHERE s.contact = n.contact OR s.address = sha256(convert_to(lower(c.email), 'UTF8'))), '')
				FROM notifications n JOIN attempts a ON a.notification = n.id JOIN contacts c ON c.id = n.contact`)
			require.NoError(t, err)
			ends, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			require.Len(t, ends, len(orders))
			for _, end := range ends {
				require.Equal(t, ends[0], end)
			}
			require.Contains(t, ends[0], "accepted|accepted|notification.")
			rows, err = w.pool.Query(w.ctx, `SELECT DISTINCT reason FROM suppressions`)
			require.NoError(t, err)
			reasons, err := pgx.CollectRows(rows, pgx.RowTo[string])
			require.NoError(t, err)
			got := map[string]bool{}
			for _, r := range reasons {
				got[r] = true
			}
			require.Equal(t, set.want, got)
			require.Equal(t, len(orders), w.events()[kairos.NotificationAccepted], "told once each")
		})
	}
}

// TestBounceAfterAcceptedLeavesTheLedger: the provider did accept it.
func TestBounceAfterAcceptedLeavesTheLedger(t *testing.T) {
	w := plan(t, 1, 1)
	d := w.delivery(newFake(1, 1))
	w.drain(d)
	w.append(kairos.Event{Kind: kairos.NotificationBounced, Notification: w.notes[0], Campaign: w.campaign, OccurredAt: start, Data: json.RawMessage(`{"class":"hard"}`)})
	w.feedback(d)
	require.Equal(t, map[string]int{"accepted": 1}, w.counts("attempts"))
	var reason string
	var contact *string
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT reason, contact::text FROM suppressions WHERE address = $1`, addressHash("p0@example.org")).Scan(&reason, &contact))
	require.Equal(t, Bounced, reason)
	require.Nil(t, contact, "the mailbox, not the person")
}

// TestEvidenceForAnotherAttempt says nothing about this one.
func TestEvidenceForAnotherAttempt(t *testing.T) {
	w := plan(t, 1, 1)
	f := newFake(1, 1)
	f.answer = func(_ context.Context, m *Message) Result {
		if m.Ref.Number == 1 {
			return Result{Outcome: RejectedTemp}
		}
		return Result{Outcome: Unknown}
	}
	d := w.delivery(f)
	w.drain(d)
	w.clock.Advance(time.Minute)
	w.drain(d)
	told := func(data string) {
		w.append(kairos.Event{Kind: kairos.NotificationDeferred, Key: data, Notification: w.notes[0], Campaign: w.campaign, OccurredAt: start, Data: json.RawMessage(data)})
		w.feedback(d)
	}
	told(fmt.Sprintf(`{"attempt":"%s.1"}`, w.notes[0]))
	require.Equal(t, map[string]int{"unknown": 1}, w.counts("notifications"))
	told(fmt.Sprintf(`{"attempt":"%s.2"}`, w.notes[0]))
	require.Equal(t, map[string]int{"accepted": 1}, w.counts("notifications"))
}

func TestFeedbackSurvivesStrangeData(t *testing.T) {
	w := plan(t, 1, 1)
	d := w.delivery(newFake(1, 1))
	for i, data := range []string{`{}`, `{"attempt":7}`, `{"attempt":"x"}`, `{"class":["hard"]}`, `{"address_hash":"zz","class":"hard"}`, ``} {
		for _, kind := range append(evidence, kairos.ContactUnsubscribed) {
			w.append(kairos.Event{Kind: kind, Key: fmt.Sprint(i), Subject: kairos.NewID(), Notification: kairos.NewID(), OccurredAt: start, Data: json.RawMessage(data)},
				kairos.Event{Kind: kind, Key: fmt.Sprint(i), Subject: kairos.NewID(), OccurredAt: start, Data: json.RawMessage(data)})
		}
	}
	w.feedback(d)
	var n int
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT count(*) FROM suppressions`).Scan(&n))
	require.Zero(t, n)
}

func TestMergedSuppressionKeepsEveryPerson(t *testing.T) {
	w := plan(t, 2, 2)
	d := w.delivery()
	w.exec(`UPDATE contacts SET email = 'shared@example.org', email_key = NULL`)
	for _, p := range w.people {
		require.NoError(t, d.Suppress(w.ctx, Suppression{Contact: p, Scope: ScopeMarketing, Reason: Unsubscribed}))
	}
	w.exec(`UPDATE contacts SET email = 'new-' || id || '@example.org'`)
	f := newFake(1, 1)
	w.drain(w.delivery(f))
	require.Zero(t, f.total())
	require.NoError(t, pg.InTx(w.ctx, w.pool, func(tx pgx.Tx) error {
		return unsuppress(w.ctx, tx, w.people, []string{"email", "email"}, []time.Time{start, start})
	}))
	var n int
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT count(*) FROM suppressions`).Scan(&n))
	require.Zero(t, n)
}
