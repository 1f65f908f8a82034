package sendgrid_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/delivery/deliverytest"
	"kairos/delivery/sendgrid"
)

// log collects events, each key once, as the event log does.
type log struct {
	mu     sync.Mutex
	events []kairos.Event
	seen   map[string]bool
	fail   error
	calls  int
}

func (l *log) record(_ context.Context, events []kairos.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if l.fail != nil {
		return l.fail
	}
	for _, e := range events {
		k := e.About().String() + e.Kind + e.Key
		if !l.seen[k] {
			l.seen[k] = true
			l.events = append(l.events, e)
		}
	}
	return nil
}

func (l *log) kinds() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]int{}
	for _, e := range l.events {
		out[e.Kind]++
	}
	return out
}

// hooked is a fake SendGrid that took n messages, and a web hook for its events.
func hooked(t *testing.T, n int) (*deliverytest.SendGrid, *log, *sendgrid.Webhook, string) {
	t.Helper()
	s := newGrid(t, deliverytest.SendGridOptions{Seed: 1})
	send(t, newProvider(t, s, sendgrid.Options{}), deliverytest.Messages(t, deliverytest.Letter(t), 0, n))
	l := &log{seen: map[string]bool{}}
	h, err := sendgrid.WebhookHandler(sendgrid.WebhookOptions{PublicKey: s.PublicKey()}, l.record)
	require.NoError(t, err)
	srv := httptest.NewServer(h)
	t.Cleanup(func() {
		srv.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return s, l, h, srv.URL
}

var everyKind = []string{
	"processed", "delivered", "deferred", "bounce", "blocked", "dropped", "open", "click", "spamreport", "unsubscribe",
}

func TestEventsAreTranslated(t *testing.T) {
	s, l, h, url := hooked(t, 1)
	at := time.Now().Add(-time.Hour).Truncate(time.Second).UTC()
	require.NoError(t, s.Post(context.Background(), url, s.Events(at, everyKind...), deliverytest.PostOptions{}))
	m := s.Messages()[0]
	want := []struct{ kind, part string }{
		{kairos.ProviderProcessed, `"sg_message_id":"sg1.recvd-1"`},
		{kairos.NotificationDelivered, `"reason":"250 2.0.0 OK"`},
		{kairos.NotificationDeferred, `"reason":"400 try again later"`},
		{kairos.NotificationBounced, `"class":"hard"`},
		{kairos.NotificationBounced, `"class":"soft"`},
		{kairos.NotificationDropped, `"class":"hard"`},
		{kairos.ProviderOpened, `"source":"sendgrid"`},
		{kairos.ProviderClicked, `"source":"sendgrid"`},
		{kairos.NotificationComplained, `"source":"sendgrid"`},
		{kairos.ContactUnsubscribed, `"source":"sendgrid"`},
	}
	require.Len(t, l.events, len(want))
	for i, e := range l.events {
		require.Equal(t, want[i].kind, e.Kind)
		require.Contains(t, string(e.Data), want[i].part)
		require.Contains(t, string(e.Data), `"attempt":"`+m.Args["attempt"]+`"`, "a deferred event too")
		require.NotContains(t, string(e.Data), "@")
		require.Equal(t, m.Args["notification"], e.Notification.String())
		require.Equal(t, m.Args["campaign"], e.Campaign.String())
		require.Equal(t, m.Args["ticket"], e.Ticket.String())
		require.Equal(t, at.Add(time.Duration(i)*time.Second), e.OccurredAt)
		require.Len(t, e.Key, 32)
		require.False(t, e.ID.IsZero())
	}
	recorded, ignored, refused := h.Counts()
	require.Equal(t, [3]int64{10, 0, 0}, [3]int64{recorded, ignored, refused})
}

func TestRepeatsAreOneEvent(t *testing.T) {
	s, l, _, url := hooked(t, 5)
	events := s.Events(time.Now().Add(-time.Hour), everyKind...)
	require.NoError(t, s.Post(context.Background(), url, events, deliverytest.PostOptions{Times: 46, Shuffle: true, Batch: 97}))
	require.Equal(t, map[string]int{
		kairos.ProviderProcessed: 5, kairos.NotificationDelivered: 5, kairos.NotificationDeferred: 5,
		kairos.NotificationBounced: 10, kairos.NotificationDropped: 5, kairos.ProviderOpened: 5,
		kairos.ProviderClicked: 5, kairos.NotificationComplained: 5, kairos.ContactUnsubscribed: 5,
	}, l.kinds())
}

func TestUnrecordedEventsAreNotAcknowledged(t *testing.T) {
	s, l, h, url := hooked(t, 1)
	l.fail = errors.New("no database")
	events := s.Events(time.Now(), "delivered")
	require.ErrorContains(t, s.Post(context.Background(), url, events, deliverytest.PostOptions{}), "503")
	l.mu.Lock()
	l.fail = nil
	l.mu.Unlock()
	require.NoError(t, s.Post(context.Background(), url, events, deliverytest.PostOptions{}))
	require.Len(t, l.events, 1)
	recorded, _, _ := h.Counts()
	require.EqualValues(t, 1, recorded)
}

func TestForeignEventsAreIgnored(t *testing.T) {
	s, l, h, url := hooked(t, 1)
	foreign := deliverytest.GridEvent{"event": "delivered", "email": "x@example.com", "timestamp": time.Now().Unix()}
	unknown := s.Events(time.Now(), "group_resubscribe")[0]
	old := s.Events(time.Now(), "delivered")[0]
	old["timestamp"] = "never"
	odd := s.Events(time.Now(), "delivered")[0]
	odd["reason"] = []int{1}
	text := s.Events(time.Now(), "delivered")[0]
	text["timestamp"] = "1767225600"
	events := []deliverytest.GridEvent{foreign, unknown, old, odd, text}
	require.NoError(t, s.Post(context.Background(), url, events, deliverytest.PostOptions{}))
	require.Len(t, l.events, 1)
	_, ignored, _ := h.Counts()
	require.EqualValues(t, 4, ignored)

	calls := l.calls
	require.NoError(t, s.Post(context.Background(), url, events[:1], deliverytest.PostOptions{}))
	require.Equal(t, calls, l.calls, "nothing to record")
}

func TestUnsignedEventsAreRefused(t *testing.T) {
	s, l, h, url := hooked(t, 1)
	events := s.Events(time.Now(), "delivered")
	ctx := context.Background()
	require.ErrorContains(t, s.Post(ctx, url, events, deliverytest.PostOptions{Spoil: true}), "403")
	require.ErrorContains(t, s.Post(ctx, url, events, deliverytest.PostOptions{At: time.Now().Add(-26 * time.Hour)}), "403")
	require.ErrorContains(t, s.Post(ctx, url, events, deliverytest.PostOptions{At: time.Now().Add(time.Hour)}), "403")
	other := newGrid(t, deliverytest.SendGridOptions{})
	require.ErrorContains(t, other.Post(ctx, url, events, deliverytest.PostOptions{}), "403")
	require.NoError(t, s.Post(ctx, url, events, deliverytest.PostOptions{At: time.Now().Add(-23 * time.Hour)}))
	require.Len(t, l.events, 1)
	_, _, refused := h.Counts()
	require.EqualValues(t, 4, refused)
}

func TestOddRequests(t *testing.T) {
	s, l, h, _ := hooked(t, 1)
	stamp := "1767225600"
	small, err := sendgrid.WebhookHandler(sendgrid.WebhookOptions{
		PublicKey: s.PublicKey(), MaxBody: 100, Now: func() time.Time { return time.Unix(1767225600, 0) },
	}, l.record)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		h      *sendgrid.Webhook
		method string
		body   string
		edit   func(http.Header)
		want   int
	}{
		"GET":                {h, http.MethodGet, "", nil, http.StatusMethodNotAllowed},
		"too large":          {small, http.MethodPost, strings.Repeat(" ", 101), nil, http.StatusRequestEntityTooLarge},
		"no signature":       {small, http.MethodPost, "[]", func(h http.Header) { h.Del("X-Twilio-Email-Event-Webhook-Signature") }, http.StatusForbidden},
		"no time":            {small, http.MethodPost, "[]", func(h http.Header) { h.Del("X-Twilio-Email-Event-Webhook-Timestamp") }, http.StatusForbidden},
		"signature is noise": {small, http.MethodPost, "[]", func(h http.Header) { h.Set("X-Twilio-Email-Event-Webhook-Signature", "AAAA") }, http.StatusForbidden},
		"not an array":       {small, http.MethodPost, "{}", nil, http.StatusBadRequest},
		"empty array":        {small, http.MethodPost, "[]", nil, http.StatusNoContent},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "/", strings.NewReader(c.body))
			sig, err := s.Sign(stamp, []byte(c.body))
			require.NoError(t, err)
			r.Header.Set("X-Twilio-Email-Event-Webhook-Signature", sig)
			r.Header.Set("X-Twilio-Email-Event-Webhook-Timestamp", stamp)
			if c.edit != nil {
				c.edit(r.Header)
			}
			w := httptest.NewRecorder()
			c.h.ServeHTTP(w, r)
			require.Equal(t, c.want, w.Code)
		})
	}
	require.Zero(t, l.calls)
}

func TestWebhookKeys(t *testing.T) {
	for _, k := range []string{"", "x", "AAAA", "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="} {
		_, err := sendgrid.WebhookHandler(sendgrid.WebhookOptions{PublicKey: k}, nil)
		require.ErrorIs(t, err, kairos.ErrInvalid)
	}
}
