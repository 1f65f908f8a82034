package sim

import (
	"fmt"
	"testing"

	"kairos/dto"
)

func BenchmarkLevel(b *testing.B) {
	w := World{Kind: Null, People: 600}
	for i := range b.N {
		w.Level(uint64(i))
	}
}

// BenchmarkFit fits a whole model with its tests: the target is a million people
// in 15 s on two cores. Sizes above 100k are for long runs.
func BenchmarkFit(b *testing.B) {
	for _, people := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(people), func(b *testing.B) {
			d := World{Kind: Clusters, Effect: .3, People: people}.Draw(1).Data
			b.ReportAllocs()
			for b.Loop() {
				if _, err := dto.Fit(d, dto.Options{Seed: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkScore chooses everybody's slot anew, as is done every day.
func BenchmarkScore(b *testing.B) {
	const people = 1_000_000
	w := World{Kind: Clusters, Effect: .3, People: 10_000}
	m, err := dto.Fit(w.Draw(1).Data, dto.Options{Seed: 1})
	if err != nil {
		b.Fatal(err)
	}
	w.People, w.Deliveries = people, 1
	a := w.Draw(2).Data.Activity
	slots, clusters := make([]int16, people), make([]int16, people)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Score(slots, clusters, a, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKMeans clusters rhythms into 8: the targets are .5 s for 1M x 24 (16
// iterations) and 8.9 s for 1M x 168 (100 iterations).
func BenchmarkKMeans(b *testing.B) {
	for _, c := range []struct{ people, slots int }{{100_000, 24}, {1_000_000, 24}, {1_000_000, 168}} {
		run := func(name string, o dto.KMeansOptions) {
			b.Run(fmt.Sprintf("%dx%d/%s", c.people, c.slots, name), func(b *testing.B) {
				x, w := Rhythms(c.people, c.slots, 12, 1)
				b.ResetTimer()
				for b.Loop() {
					got, err := dto.KMeans(x, w, 8, o)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(got.Iterations), "iterations")
					b.ReportMetric(got.Inertia, "inertia")
				}
			})
		}
		run("as in Fit", dto.KMeansOptions{Seed: 1})
		run("one start on everybody", dto.KMeansOptions{Seed: 1, Starts: 1, Sample: c.people, Iterations: 16})
	}
}

// BenchmarkTable is no benchmark of time: it prints the table of figures at
// full length (minutes). Run it once: -bench Table -benchtime 1x -timeout 60m.
func BenchmarkTable(b *testing.B) {
	days := realDays(b)
	for b.Loop() {
		figures, err := Table(b.Context(), TableOptions{Days: days})
		if err != nil {
			b.Fatal(err)
		}
		for _, f := range figures {
			b.Logf("%-75s %7.4f  reference %-14s target %-12s reached %-5t %s", f.Name, f.Value, f.Reference, f.Target, f.Reached, f.Note)
		}
	}
}
