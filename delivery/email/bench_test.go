package email_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/delivery/email"
)

// BenchmarkCompose writes a message of about 5 KB HTML with three links and a
// pixel.
func BenchmarkCompose(b *testing.B) {
	m := deliverytest.Message(b, deliverytest.Letter(b), 1)
	buf, err := email.AppendMessage(nil, m)
	require.NoError(b, err)
	b.Run("composer", func(b *testing.B) {
		var c email.Composer
		b.ReportAllocs()
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			if buf, err = c.AppendMessage(buf[:0], m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("without memory", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(buf)))
		for b.Loop() {
			if buf, err = email.AppendMessage(buf[:0], m); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSMTP sends over 32 connections to the sink, which runs in the same
// process and so takes its share of the machine.
func BenchmarkSMTP(b *testing.B) {
	letter := deliverytest.Letter(b)
	msgs := deliverytest.Messages(b, letter, 0, 4096)
	for _, c := range []struct {
		name string
		opts email.Options
	}{
		{"lock-step", email.Options{LockStep: true}},
		{"pipelined", email.Options{}},
		{"pipelined in batches of 16", email.Options{Batch: 16}},
		{"chunking in batches of 16", email.Options{Batch: 16}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newSink(b, deliverytest.SinkOptions{Chunking: strings.HasPrefix(c.name, "chunking")})
			opts := c.opts
			opts.URL, opts.MaxMessages = s.URL()+"?connections=32", 100_000
			p := newProvider(b, opts)
			size := p.Limits().Batch
			var next, sent atomic.Int64
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range 32 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					for {
						from := int(next.Add(int64(size))) - size
						if from >= b.N {
							return
						}
						at := from % (len(msgs) - size)
						batch := msgs[at : at+min(size, b.N-from)]
						for _, r := range p.Send(context.Background(), batch) {
							if r.Outcome != delivery.Accepted {
								b.Errorf("result %+v", r)
								return
							}
							sent.Add(1)
						}
					}
				}()
			}
			wg.Wait()
			b.StopTimer()
			require.EqualValues(b, b.N, sent.Load())
			require.Equal(b, b.N, s.Total())
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
