package sendgrid_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/delivery"
	"kairos/delivery/deliverytest"
	"kairos/delivery/sendgrid"
)

// BenchmarkSend sends 1,000 recipients a request to a server in the same
// process, which counts only (fast) or checks every field (strict).
func BenchmarkSend(b *testing.B) {
	msgs := deliverytest.Messages(b, deliverytest.Letter(b), 0, 1000)
	for name, fast := range map[string]bool{"fast": true, "strict": false} {
		b.Run(name, func(b *testing.B) {
			s := newGrid(b, deliverytest.SendGridOptions{Fast: fast})
			p := newProvider(b, s, sendgrid.Options{})
			b.ReportAllocs()
			calls := 0
			for b.Loop() {
				calls++
				for _, r := range p.Send(context.Background(), msgs) {
					if r.Outcome != delivery.Accepted {
						b.Fatalf("result %+v", r)
					}
				}
			}
			require.Equal(b, calls*len(msgs), s.Total())
			b.ReportMetric(float64(s.Total())/b.Elapsed().Seconds(), "recipients/s")
		})
	}
}
