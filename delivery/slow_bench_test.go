package delivery

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// slow takes a while for each message, like a relay that writes it to a disk,
// and adds up for how long it was at work.
type slow struct {
	*fake
	takes       time.Duration
	busy        atomic.Int64 // ns over all connections
	first, last atomic.Int64
}

func (s *slow) Limits() Limits {
	l := s.fake.Limits()
	l.Chain = 16
	return l
}

func (s *slow) Send(ctx context.Context, msgs []*Message) []Result {
	out := make([]Result, len(msgs))
	for i := range out {
		began := time.Now()
		s.first.CompareAndSwap(0, began.UnixNano())
		time.Sleep(s.takes)
		s.busy.Add(int64(time.Since(began)))
		s.last.Store(time.Now().UnixNano())
		out[i].Outcome = Accepted
	}
	return out
}

// BenchmarkSlowProvider reports which part of its connections' time a provider
// was kept busy that takes 5 ms a message.
func BenchmarkSlowProvider(b *testing.B) {
	for _, workers := range []int{1, 4} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			w := plan(b, b.N, 1000)
			w.exec(`ANALYZE`)
			p := &slow{fake: newFake(1, 10), takes: 5 * time.Millisecond}
			d := w.deliveryWith(Options{Providers: []Provider{p}})
			refs := w.due()
			b.ResetTimer()
			var wg sync.WaitGroup
			next := make(chan int)
			for range workers {
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
			b.ReportMetric(100*float64(p.busy.Load())/float64(10*(p.last.Load()-p.first.Load())), "%busy")
			b.ReportMetric(float64(b.N)/(float64(p.last.Load()-p.first.Load())/1e9), "messages/s")
		})
	}
}
