package spool

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"kairos"
)

// BenchmarkAppend measures durable appends of 200 bytes on the disk of the
// test's temporary directory (TMPDIR chooses another).
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := open(b, Options{})
			payload := make([]byte, 200)
			took := make([][]time.Duration, callers)
			ids := make([]kairos.ID, callers)
			for i := range ids {
				took[i] = make([]time.Duration, 0, b.N/callers+1)
				ids[i] = kairos.NewID()
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for g := range callers {
				wg.Go(func() {
					for n := g; n < b.N; n += callers {
						began := time.Now()
						if err := s.Append(b.Context(), ids[g], payload); err != nil {
							b.Error(err)
							return
						}
						took[g] = append(took[g], time.Since(began))
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Concat(took...)
			slices.Sort(all)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(s.Stats().Syncs)/b.Elapsed().Seconds(), "syncs/s")
		})
	}
}

// BenchmarkRecords measures how fast a shipper reads.
func BenchmarkRecords(b *testing.B) {
	s := open(b, Options{MaxAge: time.Hour})
	batch := make([]Record, 1000)
	for i := range batch {
		batch[i] = Record{kairos.NewID(), make([]byte, 200)}
	}
	for range 100 {
		if err := s.AppendMany(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	s.Seal()
	seg, err := s.Next(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(seg.Bytes())
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		if err := seg.Records(func(kairos.ID, []byte) error { n++; return nil }); err != nil || n != 100_000 {
			b.Fatal(n, err)
		}
	}
}
