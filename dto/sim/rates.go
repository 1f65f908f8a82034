package sim

import (
	"runtime"
	"sync"
	"sync/atomic"

	"kairos/dto"
)

// Named is a world under a name a reader understands.
type Named struct {
	Name  string
	World World
	Main  bool // the main test's null is true as well as the interaction's
}

// TrueNulls returns the worlds in which a rejection is false: those of the table
// of error rates. In all of them people do not differ in their curves; where
// Main is set the hour is irrelevant too.
func TrueNulls(people int) []Named {
	var out []Named
	for _, kind := range []Kind{Null, Global} {
		base := World{Kind: kind, People: people, Effect: 0.3}
		name := "time irrelevant"
		if kind == Global {
			name = "same curve for all"
		}
		add := func(suffix string, change func(*World)) {
			w := base
			change(&w)
			out = append(out, Named{Name: name + suffix, World: w, Main: kind == Null})
		}
		add("", func(*World) {})
		add(", exposure skewed", func(w *World) { w.Skewed = true })
		add(", tied to base rate", func(w *World) { w.Tied = true })
		add(", adaptive logs", func(w *World) { w.Adaptive = true })
		add(", bursty people", func(w *World) { w.Bursty = true })
	}
	return out
}

// Rates are shares of replications that reject at alpha, unadjusted.
type Rates struct {
	Replications      int
	Main, Interaction float64
	Any               float64 // either, after Holm
}

// Rates runs both tests in replications draws of the world, with seeds from
// seed on, on all cores.
func (w World) Rates(seed uint64, replications int, alpha float64) Rates {
	var main, interaction, either, next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(replications) {
					return
				}
				m, p := w.Level(seed + uint64(i))
				if m < alpha {
					main.Add(1)
				}
				if p < alpha {
					interaction.Add(1)
				}
				var holm [2]float64
				dto.Holm(holm[:], []float64{m, p})
				if min(holm[0], holm[1]) < alpha {
					either.Add(1)
				}
			}
		})
	}
	wg.Wait()
	n := float64(replications)
	return Rates{
		Replications: replications, Main: float64(main.Load()) / n,
		Interaction: float64(interaction.Load()) / n, Any: float64(either.Load()) / n,
	}
}
