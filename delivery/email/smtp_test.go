package email_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/delivery/email"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSink(tb testing.TB, opts deliverytest.SinkOptions) *deliverytest.SMTPSink {
	tb.Helper()
	s, err := deliverytest.NewSMTPSink(opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Close()) })
	return s
}

func newProvider(tb testing.TB, opts email.Options) *email.Provider {
	tb.Helper()
	opts.HelloName = "kairos.example.com"
	p, err := email.New(opts)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

func TestConformance(t *testing.T) {
	for name, c := range map[string]struct {
		sink deliverytest.SinkOptions
		opts email.Options
	}{
		"pipelined":          {},
		"lock-step":          {opts: email.Options{LockStep: true}},
		"without PIPELINING": {sink: deliverytest.SinkOptions{NoPipelining: true, Size: 1 << 20}},
		"batches":            {opts: email.Options{Batch: 10}},
		"chunking":           {sink: deliverytest.SinkOptions{Chunking: true, Size: 1 << 20}},
		"chunking, batches":  {sink: deliverytest.SinkOptions{Chunking: true}, opts: email.Options{Batch: 10}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deliverytest.Conformance(t, func(tb testing.TB) deliverytest.Backend {
				s := newSink(tb, c.sink)
				return deliverytest.SMTPBackend(s, func(tb testing.TB) delivery.Provider {
					opts := c.opts
					opts.URL = s.URL() + "?connections=4"
					return newProvider(tb, opts)
				})
			})
		})
	}
}
