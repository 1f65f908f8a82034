package analysis

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/eventlog"
	"kairos/internal/outbound"
)

// A receiver that never answers holds up nobody else: neither the fold nor
// another subscription.
func TestDeadReceiverBlocksNobody(t *testing.T) {
	h := newHooks(t)
	release := make(chan struct{})
	arrived := make(chan struct{}, 10)
	dead, _ := h.subscribe("/dead")
	alive, _ := h.subscribe("/alive")
	h.answering(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/dead" {
			arrived <- struct{}{}
			<-release
		}
		w.WriteHeader(http.StatusOK)
	})
	m := h.message(h.campaign(kairos.CampaignSpec{}), kairos.ID{}, kairos.ArmOptimised)
	h.log(m.sent(0)...)
	refs := h.due()
	require.Len(t, refs, 2)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(release)
	done := make(chan error, 1)
	for _, ref := range refs {
		if ref.Batch == dead.ID {
			wg.Go(func() { _, _ = h.a.Distribute(context.Background(), DistributeTask{ref}) })
			<-arrived
		}
	}
	for _, ref := range refs {
		if ref.Batch == alive.ID {
			wg.Go(func() {
				_, err := h.a.Distribute(context.Background(), DistributeTask{ref})
				done <- err
			})
		}
	}
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the other subscription waits")
	}
	h.fold() // waits for open transactions: there is none behind the post
	require.Equal(t, "1/1", h.steps(m.campaign)["sent"])
}

func TestTurnIsBounded(t *testing.T) {
	h := newHooks(t, func(o *Options) { o.Turn = time.Nanosecond })
	s, _ := h.subscribe("/")
	h.log1(order(1))
	_, err := h.a.Distribute(t.Context(), DistributeTask{h.due()[0]})
	require.NoError(t, err)
	require.Empty(t, h.received())
	require.Equal(t, `{"state": "planned"}`, h.dump(`SELECT state FROM batches WHERE id = $1`, s.ID), "goes on at once")
}

func TestSecretsAreSealedAndSurviveARotationOfTheRootKey(t *testing.T) {
	h := newHooks(t)
	s, first := h.subscribe("/")
	require.Len(t, strings.TrimPrefix(first, "whsec_"), 44)
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(first, "whsec_"))
	require.NoError(t, err)
	require.NotContains(t, h.dump(`SELECT encode(secret, 'base64'), * FROM subscriptions`), strings.TrimPrefix(first, "whsec_"))
	require.False(t, bytes.Contains(h.subscription(s.ID).secret, key))
	_, err = h.a.unseal(kairos.NewID(), h.subscription(s.ID).secret)
	require.ErrorIs(t, err, errSealed, "bound to its subscription")

	h.root[2] = bytes.Repeat([]byte{2}, 32) // a new root key in front
	h.a.opts.SealID = 2
	_, second, err := h.a.RotateSecret(t.Context(), s.ID)
	require.NoError(t, err)
	require.NotEqual(t, first, second)
	h.log1(order(1))
	h.distribute()
	p := h.received()[0]
	require.True(t, verified(p, first) && verified(p, second), "both sign for a day")
	h.clock.Advance(overlap)
	h.log1(order(2))
	h.distribute()
	p = h.received()[1]
	require.True(t, !verified(p, first) && verified(p, second))

	delete(h.root, 2) // lost
	h.log1(order(3))
	h.distribute()
	require.Len(t, h.received(), 2)
	d, err := h.a.TestSubscription(t.Context(), s.ID, kairos.Ticket{})
	require.NoError(t, err)
	require.Equal(t, errSealed.Error(), d.Error)
	for _, secret := range []string{first, second} {
		require.NotContains(t, h.logged.String(), strings.TrimPrefix(secret, "whsec_"))
	}
	_, _, err = New(h.pool, h.clock, Options{}).Subscribe(t.Context(), SubscriptionInput{URL: "https://hooks.example.com"})
	require.ErrorIs(t, err, kairos.ErrUnavailable)
}

func TestPrivateReceiversAreRefused(t *testing.T) {
	h := newHooks(t, func(o *Options) { o.Hooks = outbound.Options{} })
	_, _, err := h.a.Subscribe(t.Context(), SubscriptionInput{URL: h.to.URL})
	require.ErrorIs(t, err, kairos.ErrInvalid)
	s, _, err := h.a.Subscribe(t.Context(), SubscriptionInput{URL: "https://hooks.example.com"})
	require.NoError(t, err)
	h.exec(`UPDATE subscriptions SET url = $2 WHERE id = $1`, s.ID, h.to.URL+"/?token=s3cret") // as if the name's address had changed
	h.log1(order(1))
	h.distribute()
	require.Empty(t, h.received())
	list, _, err := h.a.SubscriptionDeliveries(t.Context(), s.ID, 10, "")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Contains(t, list[0].Error, "private")
	require.NotContains(t, list[0].Error+h.logged.String(), "s3cret")
}

func TestTestEvent(t *testing.T) {
	h := newHooks(t)
	s, secret := h.subscribe("/")
	h.status(http.StatusTeapot)
	d, err := h.a.TestSubscription(t.Context(), s.ID, kairos.Ticket{})
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, d.Status)
	require.Equal(t, "it answered 418", d.Error)
	require.Zero(t, h.subscription(s.ID).Failures)
	p := h.received()[0]
	require.True(t, verified(p, secret))
	require.Equal(t, subscriptionTest, p.payload.Type)
	require.Equal(t, d.Event.String(), p.id)
	_, err = h.a.TestSubscription(t.Context(), kairos.NewID(), kairos.Ticket{})
	require.ErrorIs(t, err, kairos.ErrNotFound)
	h.to.CloseClientConnections()
	h.to.Close()
	d, err = h.a.TestSubscription(t.Context(), s.ID, kairos.Ticket{})
	require.NoError(t, err)
	require.Equal(t, "it refuses connections", d.Error)
}

func TestNewSubscriptionBeginsAtTheHead(t *testing.T) {
	h := newHooks(t)
	h.log1(order(1))
	s, _ := h.subscribe("/")
	head, err := eventlog.Head(t.Context(), h.pool)
	require.NoError(t, err)
	require.Equal(t, head, s.cursor)
	require.Empty(t, h.due())
}
