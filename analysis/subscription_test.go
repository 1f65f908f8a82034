package analysis

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
)

func TestEventsArriveInOrderSigned(t *testing.T) {
	h := newHooks(t)
	h.log1(order(0)) // before the subscription: not its business
	s, secret := h.subscribe("/all")
	some, _ := h.subscribe("/some", "notification.*", kairos.PageViewed)
	m := h.message(h.campaign(kairos.CampaignSpec{Classification: []string{"pii"}}), kairos.ID{}, kairos.ArmOptimised)
	events := []kairos.Event{order(1, "amount", "12.50", "currency", "EUR"), m.on(kairos.NotificationSent, 0, "provider", "smtp", "custom", 1)}
	for i := range 5 {
		events = append(events, order(2+i))
	}
	events = append(events, m.on(kairos.PageViewed, time.Minute), m.on("page.viewed_twice", time.Minute))
	h.log1(events...)
	h.distribute()

	var ids []string
	for _, p := range h.received() {
		if p.path != "/all" {
			continue
		}
		ids = append(ids, p.id)
		require.True(t, verified(p, secret))
		require.False(t, verified(p, secret[:len(secret)-4]+"AAA="))
		require.Equal(t, p.id, p.payload.ID.String())
		require.Equal(t, p.payload.Type, p.payload.Data["kind"])
	}
	want := make([]string, len(events))
	for i, e := range events {
		want[i] = e.ID.String()
	}
	require.Equal(t, want, ids)
	byKind := map[string]posted{}
	var few []string
	for _, p := range h.received() {
		byKind[p.payload.Type] = p
		if p.path == "/some" {
			few = append(few, p.payload.Type)
		}
	}
	require.Equal(t, []string{kairos.NotificationSent, kairos.PageViewed}, few)
	sent := byKind[kairos.NotificationSent].payload.Data
	require.Equal(t, map[string]any{"provider": "smtp"}, sent["data"])
	require.Equal(t, []any{"pii"}, sent["classification"])
	require.Equal(t, "marketing", sent["purpose"])
	require.Equal(t, true, sent["redacted"])
	require.Equal(t, m.id.String(), sent["notification"])

	before := len(h.received())
	h.distribute()
	require.Len(t, h.received(), before, "run twice is once")
	list, next, err := h.a.SubscriptionDeliveries(t.Context(), s.ID, 3, "")
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.EqualValues(t, len(events), list[0].Number)
	require.Equal(t, 204, list[0].Status)
	require.Empty(t, list[0].Error)
	list, next, err = h.a.SubscriptionDeliveries(t.Context(), s.ID, 100, next)
	require.NoError(t, err)
	require.Len(t, list, len(events)-3)
	require.Empty(t, next)
	require.Zero(t, h.subscription(some.ID).Failures)
}

func TestFailuresAreRepeatedInOrderAfterAPause(t *testing.T) {
	h := newHooks(t)
	s, secret := h.subscribe("/")
	h.status(http.StatusServiceUnavailable)
	h.log1(order(1), order(2))
	h.distribute()
	require.Len(t, h.received(), 1, "the second waits behind the first")
	now := h.subscription(s.ID)
	require.Equal(t, 1, now.Failures)
	require.Equal(t, h.clock.Now().Add(pauseAfter(s.ID, 1)), now.NextAt)
	require.NotNil(t, now.FailingSince)

	h.clock.Advance(4 * time.Second)
	h.distribute()
	require.Len(t, h.received(), 1)
	h.clock.Advance(3 * time.Second)
	h.answering(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	h.distribute()
	require.Len(t, h.received(), 2)
	require.Equal(t, 2, h.subscription(s.ID).Failures)

	h.answering(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	h.clock.Advance(20 * time.Second)
	h.distribute()
	require.Equal(t, h.clock.Now().Add(10*time.Minute), h.subscription(s.ID).NextAt)

	h.answer.Store(nil)
	h.clock.Advance(10 * time.Minute)
	h.distribute()
	got := h.received()
	require.Len(t, got, 5)
	for _, p := range got[:4] {
		require.Equal(t, got[0].id, p.id)
		require.Equal(t, got[0].body, p.body)
		require.True(t, verified(p, secret))
	}
	require.NotEqual(t, got[0].id, got[4].id)
	now = h.subscription(s.ID)
	require.Zero(t, now.Failures)
	require.Nil(t, now.FailingSince)
	list, _, err := h.a.SubscriptionDeliveries(t.Context(), s.ID, 10, "")
	require.NoError(t, err)
	var errs []string
	for _, d := range list {
		errs = append(errs, d.Error)
	}
	require.Equal(t, []string{"", "", "it answered 429", "it redirects, which is not followed", "it answered 503"}, errs)
}

// The holder dies after the post and before its place in the log has moved.
func TestKilledBetweenPostAndPlaceRepeatsTheSameID(t *testing.T) {
	h := newHooks(t)
	s, _ := h.subscribe("/")
	h.log1(order(1), order(2))
	refs := h.due()
	require.Len(t, refs, 1)
	h.answering(func(w http.ResponseWriter, _ *http.Request) {
		// As the reconciler would for a holder that fell silent during the post.
		h.exec(`UPDATE batches SET lease_until = clock_timestamp() - interval '1 hour' WHERE id = $1`, s.ID)
		require.NoError(t, pgx.BeginFunc(context.Background(), h.pool, func(tx pgx.Tx) error {
			done, err := batch.Reissue(context.Background(), tx, refs[0])
			require.True(t, done)
			return err
		}))
		h.answer.Store(nil)
		w.WriteHeader(http.StatusNoContent)
	})
	_, err := h.a.Distribute(t.Context(), DistributeTask{refs[0]})
	require.NoError(t, err)
	require.Len(t, h.received(), 1, "the former holder is fenced off")
	list, _, err := h.a.SubscriptionDeliveries(t.Context(), s.ID, 10, "")
	require.NoError(t, err)
	require.Empty(t, list)

	h.distribute()
	got := h.received()
	require.Len(t, got, 3)
	require.Equal(t, got[0].id, got[1].id)
	require.Equal(t, got[0].body, got[1].body)
	require.NotEqual(t, got[1].id, got[2].id)
	_, err = h.a.Distribute(t.Context(), DistributeTask{refs[0]}) // a late doorbell
	require.NoError(t, err)
	require.Len(t, h.received(), 3)
}

// A stop in the middle of a post is no failure of the receiver's.
func TestStopDuringAPostGivesTheBatchBack(t *testing.T) {
	h := newHooks(t)
	s, _ := h.subscribe("/")
	h.log1(order(1))
	ctx, stop := context.WithCancel(t.Context())
	h.answering(func(_ http.ResponseWriter, r *http.Request) {
		stop()
		<-r.Context().Done()
	})
	_, err := h.a.Distribute(ctx, DistributeTask{h.due()[0]})
	require.NoError(t, err)
	require.Zero(t, h.subscription(s.ID).Failures)
	h.answer.Store(nil)
	h.distribute()
	require.Len(t, h.received(), 2)
}

func TestPausedSubscriptionGoesOnWhereItStopped(t *testing.T) {
	h := newHooks(t)
	s, _ := h.subscribe("/")
	paused, active := SubscriptionPaused, SubscriptionActive
	_, err := h.a.ChangeSubscription(t.Context(), s.ID, SubscriptionPatch{State: &paused})
	require.NoError(t, err)
	h.log1(order(1))
	h.distribute()
	require.Empty(t, h.received())
	_, err = h.a.ChangeSubscription(t.Context(), s.ID, SubscriptionPatch{State: &active})
	require.NoError(t, err)
	h.log1(order(2), order(3))
	h.answering(func(w http.ResponseWriter, _ *http.Request) { // paused during the second
		if len(h.received()) == 2 {
			_, err := h.a.ChangeSubscription(context.Background(), s.ID, SubscriptionPatch{State: &paused})
			require.NoError(t, err)
		}
		w.WriteHeader(http.StatusOK)
	})
	h.distribute()
	require.Len(t, h.received(), 2)
	h.answer.Store(nil)
	url := h.to.URL + "/new"
	_, err = h.a.ChangeSubscription(t.Context(), s.ID, SubscriptionPatch{State: &active, URL: &url})
	require.NoError(t, err)
	h.distribute()
	got := h.received()
	require.Len(t, got, 3)
	require.Equal(t, "/new", got[2].path)
	require.NoError(t, h.a.Unsubscribe(t.Context(), s.ID))
	h.log1(order(4))
	h.distribute()
	require.Len(t, h.received(), 3)
	require.ErrorIs(t, h.a.Unsubscribe(t.Context(), s.ID), kairos.ErrNotFound)
}

func TestSubscriptionRemovedDuringAPost(t *testing.T) {
	h := newHooks(t)
	s, _ := h.subscribe("/")
	h.log1(order(1), order(2))
	h.answering(func(w http.ResponseWriter, _ *http.Request) {
		require.NoError(t, h.a.Unsubscribe(context.Background(), s.ID))
		w.WriteHeader(http.StatusInternalServerError)
	})
	h.distribute()
	require.Len(t, h.received(), 1)
	require.Equal(t, `{"error": null, "state": "done"}`, h.dump(`SELECT state, error FROM batches WHERE id = $1`, s.ID))
}

func TestReceiverThatIsGoneIsDisabled(t *testing.T) {
	h := newHooks(t)
	s, _ := h.subscribe("/")
	h.status(http.StatusGone)
	h.log1(order(1))
	h.distribute()
	now := h.subscription(s.ID)
	require.Equal(t, SubscriptionDisabled, now.State)
	require.Equal(t, receiverGone, now.Reason)
	require.Contains(t, h.dump(`SELECT data FROM events WHERE kind = $1 AND subject = $2`, subscriptionDisabled, s.ID), "gone")
	h.answer.Store(nil)
	h.clock.Advance(time.Hour)
	h.distribute()
	require.Len(t, h.received(), 1)

	active := SubscriptionActive
	now, err := h.a.ChangeSubscription(t.Context(), s.ID, SubscriptionPatch{State: &active})
	require.NoError(t, err)
	require.Empty(t, now.Reason)
	require.Zero(t, now.Failures)
	h.distribute()
	require.Equal(t, []string{kairos.PaymentReceived, kairos.PaymentReceived, subscriptionDisabled}, h.kinds(), "nothing was lost")
}

func TestReceiverThatFailsForThreeDaysIsDisabled(t *testing.T) {
	h := newHooks(t)
	s, _ := h.subscribe("/")
	h.status(http.StatusInternalServerError)
	h.log1(order(1))
	attempts, began := 0, h.clock.Now()
	for ; attempts < 200 && h.subscription(s.ID).State == SubscriptionActive; attempts++ {
		h.distribute()
		h.clock.Set(h.subscription(s.ID).NextAt)
	}
	now := h.subscription(s.ID)
	require.Equal(t, SubscriptionDisabled, now.State)
	require.Equal(t, receiverFailing, now.Reason)
	require.WithinDuration(t, began.Add(72*time.Hour), now.UpdatedAt, time.Hour)
	require.Greater(t, attempts, 72)
	list, _, err := h.a.SubscriptionDeliveries(t.Context(), s.ID, 1000, "")
	require.NoError(t, err)
	require.LessOrEqual(t, len(list), kept)
	require.Contains(t, h.dump(`SELECT data FROM events WHERE kind = $1`, subscriptionDisabled), "failing")
}
