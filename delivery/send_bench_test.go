package delivery

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// void accepts everything at once.
type void struct{ *fake }

func (v void) Send(_ context.Context, msgs []*Message) []Result {
	out := make([]Result, len(msgs))
	for i := range out {
		out[i].Outcome = Accepted
	}
	return out
}

// BenchmarkSend sends batches of 1,000 through providers that cost nothing:
// what is left is the ledger, the log and the rendering. Reports messages/s.
func BenchmarkSend(b *testing.B) {
	for _, c := range []struct{ batch, concurrency, window, workers int }{
		{1, 16, 64, 1}, {1, 16, 64, 4}, {1, 64, 1024, 4}, {1000, 4, 0, 1}, {1000, 4, 0, 4},
	} {
		b.Run(fmt.Sprintf("batch=%d/window=%d/workers=%d", c.batch, c.window, c.workers), func(b *testing.B) {
			w := plan(b, b.N, 1000)
			w.exec(`ANALYZE`)
			d := w.deliveryWith(Options{Providers: []Provider{void{newFake(c.batch, c.concurrency)}}, Window: c.window})
			refs := w.due()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			next := make(chan int)
			for range c.workers {
				wg.Go(func() {
					for i := range next {
						if _, err := d.Send(w.ctx, SendTask{refs[i]}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := range refs {
				next <- i
			}
			close(next)
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
			require.Equal(b, map[string]int{"accepted": b.N}, w.counts("notifications"))
		})
	}
}
