package inbox_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/delivery/inbox"
)

// catcher counts what it keeps.
type catcher struct {
	mu   sync.Mutex
	n    map[string]int
	raw  []byte
	from string
}

func (c *catcher) deliver(from string, to []string, raw []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range to {
		c.n[t]++
	}
	c.from, c.raw = from, raw
	return nil
}

func TestConformance(t *testing.T) {
	deliverytest.Conformance(t, func(testing.TB) deliverytest.Backend {
		c := &catcher{n: map[string]int{}}
		count := func(to string) int {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.n[to]
		}
		return deliverytest.Backend{
			New:      func(testing.TB) delivery.Provider { return inbox.New(c.deliver) },
			Behave:   func(as deliverytest.Behaviour) bool { return as == deliverytest.Accept },
			Accepted: count,
			Attempts: func() int { return len(c.n) },
		}
	})
}

func TestFullInbox(t *testing.T) {
	p := inbox.New(func(string, []string, []byte) error { return errors.New("full") })
	rs := p.Send(context.Background(), deliverytest.Messages(t, deliverytest.Letter(t), 0, 2))
	for _, r := range rs {
		require.Equal(t, delivery.NotSent, r.Outcome)
		require.NotEmpty(t, r.Detail)
	}
}

func TestEnvelope(t *testing.T) {
	c := &catcher{n: map[string]int{}}
	m := deliverytest.Message(t, deliverytest.Letter(t), 0)
	require.Equal(t, delivery.Accepted, inbox.New(c.deliver).Send(context.Background(), []*delivery.Message{m})[0].Outcome)
	require.Equal(t, m.ReturnPath, c.from)
	require.Contains(t, string(c.raw), "To: ")
}
