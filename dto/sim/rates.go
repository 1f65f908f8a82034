package sim

import (
	"context"
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
	r, _ := w.rates(context.Background(), seed, replications, alpha, func() {}) // a background never ends
	return r
}

// rates is Rates with an end before its time, and a call after each
// replication, from any goroutine.
func (w World) rates(ctx context.Context, seed uint64, replications int, alpha float64, each func()) (Rates, error) {
	var main, interaction, either, next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(replications) || ctx.Err() != nil {
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
				each()
			}
		})
	}
	wg.Wait()
	n := float64(replications)
	return Rates{
		Replications: replications, Main: float64(main.Load()) / n,
		Interaction: float64(interaction.Load()) / n, Any: float64(either.Load()) / n,
	}, ctx.Err()
}

// Naive is the method that finds something in every world: people are put into
// four clusters by their responses, and the same responses are tested for a
// difference between the clusters. It is here to be compared with.
func Naive(d dto.Data, seed uint64) (dto.Test, error) {
	const k, k0, bw = 4, 2, 1.5
	n, s := d.Responded.Rows, d.Responded.Cols
	x, qbar, q := dto.NewMatrix(n, s), make([]float64, s), make([]float64, s)
	dto.PopulationRhythm(qbar, d.Responded)
	for u := range n {
		dto.Rhythm(q, d.Responded.Data[u*s:(u+1)*s], qbar, k0, bw)
		for i, v := range q {
			x.Data[u*s+i] = float32(v)
		}
	}
	c, err := dto.KMeans(x, nil, k, dto.KMeansOptions{Seed: seed})
	if err != nil {
		return dto.Test{}, err
	}
	g := dto.CommonCurve(make([]float64, s), d.Responded, d.Delivered, 0)
	strata := dto.Strata(make([]int32, n), d.Responded, d.Delivered)
	return dto.Omnibus(c.Labels, k, d.Responded, d.Delivered, g, strata), nil
}
