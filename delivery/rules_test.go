package delivery

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// TestRulesAtTheLastMoment changes something after planning and expects the
// rule that binds at sending to find it.
func TestRulesAtTheLastMoment(t *testing.T) {
	latest := start.Add(time.Hour)
	transactional := func(s *kairos.CampaignSpec) { s.Purpose = "transactional" }
	cases := []struct {
		name   string
		spec   func(*kairos.CampaignSpec)
		change func(w *world, d *Delivery)
		reason kairos.Reason // "": sent
	}{
		{"nothing", nil, func(*world, *Delivery) {}, ""},
		{"contact gone", nil, func(w *world, _ *Delivery) { w.exec(`DELETE FROM contacts`) }, kairos.ReasonNoContact},
		{"erased", nil, func(w *world, _ *Delivery) { w.exec(`UPDATE contacts SET erased_at = now(), email = NULL`) }, kairos.ReasonErased},
		{"address removed", nil, func(w *world, _ *Delivery) { w.exec(`UPDATE contacts SET email = NULL`) }, kairos.ReasonNoAddress},
		{"address smuggles", nil, func(w *world, _ *Delivery) {
			w.exec("UPDATE contacts SET email = E'a@b.example\\r\\nBcc: c@d.example'")
		}, kairos.ReasonBadAddress},
		{"address has a name", nil, func(w *world, _ *Delivery) { w.exec(`UPDATE contacts SET email = 'Ann <a@b.example>'`) }, kairos.ReasonBadAddress},
		{"suppressed by address", nil, suppressed(Suppression{Address: "p0@EXAMPLE.org", Scope: ScopeAll, Reason: Manual}), kairos.ReasonSuppressed},
		{"suppressed by hash", nil, suppressed(Suppression{Hash: addressHash("p0@example.org"), Scope: ScopeAll, Reason: Bounced}), kairos.ReasonSuppressed},
		{"another channel's suppression", nil, suppressed(Suppression{Channel: "sms", Address: "p0@example.org", Scope: ScopeAll}), ""},
		{"unsubscribed", nil, suppressedPerson(ScopeMarketing, Unsubscribed), kairos.ReasonUnsubscribed},
		{"unsubscribed by a link", nil, func(w *world, d *Delivery) {
			suppressed(Suppression{Notification: w.notes[0], Scope: ScopeMarketing, Reason: Unsubscribed})(w, d)
		}, kairos.ReasonUnsubscribed},
		{"complained", nil, suppressedPerson(ScopeAll, Complained), kairos.ReasonSuppressed},
		{"complained and unsubscribed", nil, func(w *world, d *Delivery) {
			suppressedPerson(ScopeMarketing, Unsubscribed)(w, d)
			suppressedPerson(ScopeAll, Complained)(w, d)
		}, kairos.ReasonUnsubscribed},
		{"unsubscribed, then a new address", nil, func(w *world, d *Delivery) {
			suppressedPerson(ScopeMarketing, Unsubscribed)(w, d)
			w.exec(`UPDATE contacts SET email = 'new@example.org', email_key = 'new@example.org'`)
		}, kairos.ReasonUnsubscribed},
		{"bounced, then a new address", nil, func(w *world, d *Delivery) {
			suppressedPerson(ScopeAll, Bounced)(w, d)
			w.exec(`UPDATE contacts SET email = 'new@example.org', email_key = 'new@example.org'`)
		}, ""},
		{"unsubscribed, transactional", transactional, suppressedPerson(ScopeMarketing, Unsubscribed), ""},
		{"complained, transactional", transactional, suppressedPerson(ScopeAll, Complained), kairos.ReasonSuppressed},
		{"unsubscribed and back", nil, func(w *world, d *Delivery) {
			suppressedPerson(ScopeMarketing, Unsubscribed)(w, d)
			require.NoError(w.t, d.Unsuppress(w.ctx, w.people[0], kairos.Email, w.clock.Now()))
		}, ""},
		{"complained and back", nil, func(w *world, d *Delivery) {
			suppressedPerson(ScopeAll, Complained)(w, d)
			require.NoError(w.t, d.Unsuppress(w.ctx, w.people[0], kairos.Email, w.clock.Now()))
		}, kairos.ReasonSuppressed},
		{"channel refused", nil, preferring(`{"channels":{"email":false}}`), kairos.ReasonNoConsent},
		{"channel allowed", nil, preferring(`{"channels":{"email":true},"topics":{"other":false}}`), ""},
		{"topic refused", nil, preferring(`{"topics":{"news":false}}`), kairos.ReasonNoConsent},
		{"channel refused, transactional", transactional, preferring(`{"channels":{"email":false}}`), ""},
		{"past latest", func(s *kairos.CampaignSpec) { s.Latest = &latest }, func(w *world, _ *Delivery) { w.clock.Advance(61 * time.Minute) }, kairos.ReasonLatest},
		{"just before latest", func(s *kairos.CampaignSpec) { s.Latest = &latest }, func(w *world, _ *Delivery) { w.clock.Advance(59 * time.Minute) }, ""},
		{"missed the default window", nil, func(w *world, _ *Delivery) { w.clock.Advance(25 * time.Hour) }, kairos.ReasonMissed},
		{"missed its window", func(s *kairos.CampaignSpec) { s.Schedule.Window = kairos.Duration(time.Hour) }, func(w *world, _ *Delivery) { w.clock.Advance(61 * time.Minute) }, kairos.ReasonMissed},
		{"template fails", nil, func(w *world, _ *Delivery) {
			w.exec(`UPDATE template_versions SET html = '<a href="{{ contact.city }}">x</a>', text = 'x'`)
			w.exec(`UPDATE contacts SET attributes = '{"city":"javascript:alert(1)"}'`)
		}, kairos.ReasonRenderFailed},
		{"template can't be compiled", nil, func(w *world, _ *Delivery) { w.exec(`UPDATE template_versions SET html = '{% include "x" %}'`) }, kairos.ReasonRenderFailed},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := plan(t, 1, 10, func(s *kairos.CampaignSpec) {
				if tc.spec != nil {
					tc.spec(s)
				}
			})
			f := newFake(1, 2)
			d := w.delivery(f)
			tc.change(w, d)
			w.drain(d)
			n, err := d.Notification(w.ctx, w.notes[0])
			require.NoError(t, err)
			require.Equal(t, map[string]int{"done": 1}, w.counts("batches"))
			if tc.reason == "" {
				require.Equal(t, kairos.StateAccepted, n.State)
				require.Equal(t, 1, f.total())
				return
			}
			require.Equal(t, kairos.StateSkipped, n.State)
			require.Equal(t, tc.reason, n.Reason)
			require.NotNil(t, n.DoneAt)
			require.Zero(t, f.total())
			require.Equal(t, map[string]int{kairos.NotificationSkipped: 1}, w.events())
			for _, a := range n.Attempts {
				require.Equal(t, kairos.AttemptNotSent, a.State)
			}
			p, err := d.Progress(w.ctx, w.campaign)
			require.NoError(t, err)
			require.Equal(t, Progress{Planned: 1, Skipped: 1, Total: 1}, p)
		})
	}
}

func suppressed(s Suppression) func(*world, *Delivery) {
	return func(w *world, d *Delivery) { require.NoError(w.t, d.Suppress(w.ctx, s)) }
}

func suppressedPerson(scope, reason string) func(*world, *Delivery) {
	return func(w *world, d *Delivery) {
		require.NoError(w.t, d.Suppress(w.ctx, Suppression{Contact: w.people[0], Scope: scope, Reason: reason}))
	}
}

func preferring(json string) func(*world, *Delivery) {
	return func(w *world, _ *Delivery) { w.exec(`UPDATE contacts SET preferences = $1::jsonb`, json) }
}

func TestSuppressNeedsSomebody(t *testing.T) {
	w := plan(t, 1, 1)
	d := w.delivery(newFake(1, 1))
	require.ErrorIs(t, d.Suppress(w.ctx, Suppression{Scope: ScopeAll}), kairos.ErrInvalid)
	require.ErrorIs(t, d.Suppress(w.ctx, Suppression{Contact: w.people[0], Scope: "some"}), kairos.ErrInvalid)
	require.ErrorIs(t, d.Suppress(w.ctx, Suppression{Notification: kairos.NewID(), Scope: ScopeAll}), kairos.ErrNotFound)
}

func TestOneFailingPersonBlocksNobody(t *testing.T) {
	w := plan(t, 20, 20)
	w.exec(`UPDATE template_versions SET html = '<a href="{{ contact.city }}">x</a>', text = 'x'`)
	w.exec(`UPDATE contacts SET attributes = CASE WHEN id = $1 THEN '{"city":"javascript:alert(1)"}' ELSE '{"city":"https://oslo.example"}' END::jsonb`, w.people[7])
	f := newFake(1000, 1)
	w.drain(w.delivery(f))
	require.Equal(t, map[string]int{"accepted": 19, "skipped": 1}, w.counts("notifications"))
	require.Equal(t, 19, f.total())
}

func TestEarlyNotificationsWait(t *testing.T) {
	w := plan(t, 3, 3)
	w.exec(`UPDATE notifications SET planned_at = $1 WHERE id = $2`, start.Add(time.Hour), w.notes[1])
	f := newFake(1, 1)
	d := w.delivery(f)
	w.drain(d)
	require.Equal(t, map[string]int{"accepted": 2, "planned": 1}, w.counts("notifications"))
	require.Equal(t, map[string]int{"planned": 1}, w.counts("batches"))
	w.clock.Advance(time.Hour)
	w.drain(d)
	require.Equal(t, map[string]int{"accepted": 3}, w.counts("notifications"))
	require.Equal(t, 1, f.most())
}

func TestEarlyDoorbell(t *testing.T) {
	w := plan(t, 1, 1)
	refs := w.due()
	w.exec(`UPDATE batches SET slot = $1`, start.Add(time.Minute))
	f := newFake(1, 1)
	_, err := w.delivery(f).Send(w.ctx, SendTask{refs[0]})
	require.NoError(t, err)
	require.Zero(t, f.total())
	require.Equal(t, map[string]int{"planned": 1}, w.counts("batches"))
}

// TestUnsubscriptionIsAWall: a marking that began before an unsubscription was
// committed either commits first or sees it.
func TestUnsubscriptionIsAWall(t *testing.T) {
	w := plan(t, 2, 2)
	f := newFake(1, 2)
	d := w.delivery(f)
	refs := w.due()

	tx, err := w.pool.Begin(w.ctx)
	require.NoError(t, err)
	require.NoError(t, lockSuppressions(w.ctx, tx))
	require.NoError(t, suppress(w.ctx, tx, []Suppression{{Contact: w.people[0], Scope: ScopeMarketing, Reason: Unsubscribed, At: start}}))
	sent := make(chan error, 1)
	go func() {
		_, err := d.Send(w.ctx, SendTask{refs[0]})
		sent <- err
	}()
	w.eventually("the marking to wait", func() bool {
		var n int
		require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`).Scan(&n))
		return n == 1
	})
	require.NoError(t, tx.Commit(w.ctx))
	require.NoError(t, <-sent)
	require.Equal(t, 1, f.total())
	require.Equal(t, map[string]int{"accepted": 1, "skipped": 1}, w.counts("notifications"))

	// The other way round: a marking under way holds the answer back.
	tx, err = w.pool.Begin(w.ctx)
	require.NoError(t, err)
	_, err = tx.Exec(w.ctx, `SELECT pg_advisory_xact_lock_shared($1)`, int64(suppressionLock))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(w.ctx, 200*time.Millisecond)
	defer cancel()
	require.Error(t, d.Suppress(ctx, Suppression{Contact: w.people[1], Scope: ScopeMarketing, Reason: Unsubscribed}))
	require.NoError(t, tx.Rollback(w.ctx))
	require.NoError(t, d.Suppress(w.ctx, Suppression{Contact: w.people[1], Scope: ScopeMarketing, Reason: Unsubscribed}))
}
