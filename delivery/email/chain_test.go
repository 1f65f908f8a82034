package email_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/delivery/email"
)

// TestChainStops: after a stop no further message of the call begins, but for
// the one whose commands are on their way.
func TestChainStops(t *testing.T) {
	letter := deliverytest.Letter(t)
	for name, lockStep := range map[string]bool{"pipelined": false, "lock-step": true} {
		t.Run(name, func(t *testing.T) {
			s := newSink(t, deliverytest.SinkOptions{})
			p := newProvider(t, email.Options{URL: s.URL(), LockStep: lockStep})
			ctx := delivery.WithMayBegin(t.Context(), func() bool { return s.Total() < 3 })
			taken := 0
			for i, r := range p.Send(ctx, deliverytest.Messages(t, letter, 0, 8)) {
				require.Equal(t, s.Accepted(deliverytest.Recipient(i)) == 1, r.Outcome == delivery.Accepted)
				if r.Outcome == delivery.Accepted {
					taken++
					continue
				}
				require.Equal(t, delivery.Result{Outcome: delivery.NotSent, NotBegun: true}, r)
			}
			require.GreaterOrEqual(t, taken, 3)
			require.LessOrEqual(t, taken, 4)
			require.Equal(t, delivery.Accepted, send(t, p, deliverytest.Message(t, letter, 9))[0].Outcome, "the connection is in order")
		})
	}
}

// TestChainLeavesASilentServer: two messages without an answer are enough.
func TestChainLeavesASilentServer(t *testing.T) {
	s := newSink(t, deliverytest.SinkOptions{Faults: []deliverytest.Fault{{At: deliverytest.AtDot, Close: true, Take: true}}})
	p := newProvider(t, email.Options{URL: s.URL()})
	for i, r := range send(t, p, deliverytest.Messages(t, deliverytest.Letter(t), 0, 8)...) {
		if i < 2 {
			require.Equal(t, delivery.Unknown, r.Outcome)
			continue
		}
		require.Equal(t, delivery.Result{Outcome: delivery.NotSent, NotBegun: true}, r)
	}
	require.Equal(t, 2, s.Total())
}

// TestChainChangesConnections: MaxMessages holds inside a call too.
func TestChainChangesConnections(t *testing.T) {
	s := newSink(t, deliverytest.SinkOptions{})
	p := newProvider(t, email.Options{URL: s.URL(), MaxMessages: 3})
	for _, r := range send(t, p, deliverytest.Messages(t, deliverytest.Letter(t), 0, 8)...) {
		require.Equal(t, delivery.Accepted, r.Outcome, "%+v", r)
	}
	ever, _ := s.Connections()
	require.Equal(t, 3, ever)
	require.Zero(t, s.Duplicates())
}
