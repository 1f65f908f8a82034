package delivery

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// doubtful makes a campaign whose messages are all unknown, and a provider
// that answers from now on.
func doubtful(t *testing.T, n int, purpose string) (*world, *Delivery, *fake) {
	w := plan(t, n, n, func(s *kairos.CampaignSpec) { s.Purpose = purpose })
	f := newFake(1, 1)
	f.answer = func(context.Context, *Message) Result { return Result{Outcome: Unknown, Detail: "EOF"} }
	d := w.delivery(f)
	w.drain(d)
	require.Equal(t, map[string]int{"unknown": n}, w.counts("notifications"))
	f.answer = nil
	return w, d, f
}

func TestOperatorChoices(t *testing.T) {
	w, d, f := doubtful(t, 4, "marketing")
	list, next, err := d.Unknowns(w.ctx, UnknownQuery{Campaign: w.campaign, Limit: 3})
	require.NoError(t, err)
	require.Len(t, list, 3)
	rest, end, err := d.Unknowns(w.ctx, UnknownQuery{After: next})
	require.NoError(t, err)
	require.Len(t, rest, 1)
	require.Empty(t, end)
	list = append(list, rest...)
	require.Equal(t, "EOF", list[0].Detail)

	require.ErrorIs(t, d.Resolve(w.ctx, list[0].Ref, ChooseResend, "eve", ""), kairos.ErrInvalid, "marketing needs a reason")
	require.ErrorIs(t, d.Resolve(w.ctx, list[0].Ref, ChooseResend, "", "why"), kairos.ErrInvalid, "and a name")
	require.ErrorIs(t, d.Resolve(w.ctx, list[0].Ref, "guess", "eve", ""), kairos.ErrInvalid)
	require.ErrorIs(t, d.Resolve(w.ctx, kairos.AttemptRef{Notification: kairos.NewID(), Number: 1}, ChooseAbandon, "eve", ""), kairos.ErrNotFound)

	require.NoError(t, d.Resolve(w.ctx, list[0].Ref, ChooseResend, "eve", "the server lost its disk"))
	require.NoError(t, d.Resolve(w.ctx, list[1].Ref, ChooseAbandon, "eve", ""))
	require.NoError(t, d.Resolve(w.ctx, list[2].Ref, ChooseAccepted, "eve", "seen in the server's log"))
	require.ErrorIs(t, d.Resolve(w.ctx, list[2].Ref, ChooseAbandon, "eve", ""), kairos.ErrConflict)
	w.drain(d)
	require.Equal(t, map[string]int{"accepted": 2, "failed": 1, "unknown": 1}, w.counts("notifications"))
	require.Equal(t, map[string]int{"resend_forced": 1, "abandoned": 1, "accepted": 2, "unknown": 1}, w.counts("attempts"))
	require.Equal(t, 1, f.total())
	require.Equal(t, 3, w.events()[kairos.NotificationResolved])
	var actor, reason, choice string
	require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT data ->> 'actor', data ->> 'reason', data ->> 'choice' FROM events WHERE kind = $1 AND notification = $2`,
		kairos.NotificationResolved, list[0].Ref.Notification).Scan(&actor, &reason, &choice))
	require.Equal(t, []string{"eve", "the server lost its disk", "resend_forced"}, []string{actor, reason, choice})
}

func TestTransactionalUnknownsWaitForAPerson(t *testing.T) {
	w, d, f := doubtful(t, 1, "transactional")
	w.clock.Advance(100 * time.Hour)
	require.NoError(t, d.Reconcile(w.ctx))
	require.Equal(t, map[string]int{"unknown": 1}, w.counts("attempts"))
	list, _, err := d.Unknowns(w.ctx, UnknownQuery{})
	require.NoError(t, err)
	require.NoError(t, d.Resolve(w.ctx, list[0].Ref, ChooseResend, "eve", ""))
	w.exec(`UPDATE notifications SET planned_at = $1`, w.clock.Now()) // its window has passed otherwise
	w.drain(d)
	require.Equal(t, 1, f.total())
	require.Equal(t, map[string]int{"accepted": 1}, w.counts("notifications"))
}
