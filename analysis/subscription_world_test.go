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

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/outbound"
)

// posted is what a receiver got.
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
	bells, err := batch.Due(context.Background(), h.pool, kairos.KindDistribute, h.clock.Now(), 64)
	refs := batch.Refs(bells)
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

// log1 appends each event in a transaction of its own, so that their order in
// the log is this one.
func (h *hooks) log1(events ...kairos.Event) {
	h.t.Helper()
	for _, e := range events {
		h.log(e)
	}
}
