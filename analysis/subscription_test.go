package analysis

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/eventlog"
	"kairos/internal/outbound"
)

// The published vector of Standard Webhooks 1.0.
func TestSignatureIsTheStandards(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	one := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	body := []byte(`{"test": 2432232314}`)
	require.Equal(t, one, signature([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body))
	two := strings.Split(signature([][]byte{[]byte("another"), key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body), " ")
	require.Len(t, two, 2)
	require.Equal(t, one, two[1])
	require.NotEqual(t, one, two[0])
}

func TestPausesGrowToAnHour(t *testing.T) {
	id, last := kairos.NewID(), time.Duration(0)
	for n := 1; n < 100; n++ {
		p := pauseAfter(id, n)
		require.Equal(t, p, pauseAfter(id, n), "seeded")
		require.GreaterOrEqual(t, p, 5*time.Second)
		require.LessOrEqual(t, p, time.Hour)
		if n <= 10 {
			require.Greater(t, p, last)
		}
		last = p
	}
	require.Less(t, pauseAfter(id, 1), 7*time.Second)
	require.Greater(t, last, 47*time.Minute)
	require.NotEqual(t, pauseAfter(id, 50), pauseAfter(kairos.NewID(), 50), "not all at once")
}

func TestRedact(t *testing.T) {
	for name, c := range map[string]struct {
		data    string
		classes []string
		want    string
		cut     bool
	}{
		"nothing":            {``, nil, ``, false},
		"plain":              {`{"amount":"12.50","order":17,"big":9007199254740993}`, nil, `{"amount":"12.50","order":17,"big":9007199254740993}`, false},
		"addresses":          {`{"email":"x","Phone":17,"note":"ask ann@example.com","url":"https://s.example/?m=ann%40example.com","a":{"to":"x","ok":1},"l":["b@c.example",2]}`, nil, `{"a":{"ok":1},"l":[null,2]}`, true},
		"a name":             {`{"ann@example.com":1}`, nil, `{}`, true},
		"classified":         {`{"amount":"12.50","currency":"EUR","size":"XXL","channel":{"x":1}}`, []string{"pii"}, `{"amount":"12.50","currency":"EUR"}`, true},
		"classified, plain":  {`{"reason":"suppressed"}`, []string{"gdpr"}, `{"reason":"suppressed"}`, false},
		"classified address": {`{"reason":"ann@example.com refused"}`, []string{"pii"}, `{}`, true},
		"no object":          {`["ann@example.com"]`, nil, ``, true},
	} {
		got, cut := redact(json.RawMessage(c.data), c.classes)
		require.Equal(t, c.cut, cut, name)
		if c.want == "" {
			require.Empty(t, got, name)
			continue
		}
		require.JSONEq(t, c.want, string(got), name)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add(`{"a":["x@y.z",{"b":"c@d"}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		got, _ := redact(json.RawMessage(s), nil)
		if len(got) > 0 {
			require.True(t, json.Valid(got))
			var values map[string]any
			require.NoError(t, json.Unmarshal(got, &values))
			require.False(t, withoutAddresses(values), "something was left")
		}
	})
}

// post is what a receiver got.
type posted struct {
	id, signature, timestamp, path string
	body                           []byte
	payload                        struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
		ID        kairos.ID `json:"id"`
		Data      map[string]any
	}
}

// hooks is a world with a receiver.
type hooks struct {
	*world
	to     *httptest.Server
	mu     sync.Mutex
	got    []posted
	answer atomic.Pointer[http.HandlerFunc] // nil: 204
	logged bytes.Buffer
	root   map[byte][]byte
}

func newHooks(t *testing.T, change ...func(*Options)) *hooks {
	h := &hooks{root: map[byte][]byte{1: bytes.Repeat([]byte{1}, 32)}}
	opts := Options{Hooks: outbound.Options{AllowPrivate: true, Timeout: 5 * time.Second}, SealID: 1}
	opts.SealKey = func(id byte) ([]byte, bool) { k, ok := h.root[id]; return k, ok }
	opts.Log = slog.New(slog.NewTextHandler(&h.logged, nil))
	for _, c := range change {
		c(&opts)
	}
	h.world = newWorld(t, opts)
	h.to = httptest.NewServer(http.HandlerFunc(h.receive))
	t.Cleanup(h.to.Close)
	t.Cleanup(h.a.hooks.Close)
	return h
}

func (h *hooks) receive(w http.ResponseWriter, r *http.Request) {
	p := posted{id: r.Header.Get("webhook-id"), signature: r.Header.Get("webhook-signature"), timestamp: r.Header.Get("webhook-timestamp"), path: r.URL.Path}
	p.body, _ = io.ReadAll(r.Body)
	_ = json.Unmarshal(p.body, &p.payload)
	h.mu.Lock()
	h.got = append(h.got, p)
	h.mu.Unlock()
	if answer := h.answer.Load(); answer != nil {
		(*answer)(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *hooks) answering(f http.HandlerFunc) { h.answer.Store(&f) }

func (h *hooks) status(code int) {
	h.answering(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

func (h *hooks) received() []posted {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]posted(nil), h.got...)
}

func (h *hooks) kinds() (kinds []string) {
	for _, p := range h.received() {
		kinds = append(kinds, p.payload.Type)
	}
	return kinds
}

func (h *hooks) subscribe(path string, kinds ...string) (Subscription, string) {
	h.t.Helper()
	h.settled()
	s, secret, err := h.a.Subscribe(context.Background(), SubscriptionInput{URL: h.to.URL + path, Kinds: kinds, Description: "test"})
	require.NoError(h.t, err)
	return s, secret
}

// due arms and returns the doorbells.
func (h *hooks) due() []kairos.Ref {
	h.t.Helper()
	h.settled()
	require.NoError(h.t, h.a.Arm(context.Background()))
	refs, err := batch.Due(context.Background(), h.pool, kairos.KindDistribute, h.clock.Now(), 64)
	require.NoError(h.t, err)
	return refs
}

// distribute runs as the leader and a worker would, until nothing is due.
func (h *hooks) distribute() {
	h.t.Helper()
	for range 100 {
		refs := h.due()
		if len(refs) == 0 {
			return
		}
		for _, ref := range refs {
			_, err := h.a.Distribute(context.Background(), DistributeTask{ref})
			require.NoError(h.t, err)
		}
	}
	h.t.Fatal("the distribution does not come to an end")
}

func (h *hooks) subscription(id kairos.ID) Subscription {
	h.t.Helper()
	s, err := h.a.Subscription(context.Background(), id)
	require.NoError(h.t, err)
	return s
}

// verified checks a post as a receiver would that knows the secret.
func verified(p posted, secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	unix, err := strconv.ParseInt(p.timestamp, 10, 64)
	if err != nil || time.Since(time.Unix(unix, 0)).Abs() > 5*time.Minute {
		return false
	}
	want := signature([][]byte{key}, p.id, unix, p.body)
	for one := range strings.SplitSeq(p.signature, " ") {
		if one == want {
			return true
		}
	}
	return false
}

func order(n int, data ...any) kairos.Event {
	return kairos.Event{ID: kairos.NewID(), Kind: kairos.PaymentReceived, Key: fmt.Sprint("order-", n), OccurredAt: noon.Add(time.Duration(n) * time.Second),
		Contact: kairos.NewID(), Data: object(data...)}
}

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

// log1 appends each event in a transaction of its own, so that their order in
// the log is this one.
func (h *hooks) log1(events ...kairos.Event) {
	h.t.Helper()
	for _, e := range events {
		h.log(e)
	}
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
