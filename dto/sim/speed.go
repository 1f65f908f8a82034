package sim

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"kairos/dto"
)

// million is how many people time and memory are measured for.
const million = 1_000_000

// kmeans times clustering as Fit does it: four seedings compete on 20,000
// people, the best goes on with everybody.
func (t *table) kmeans() error {
	for _, c := range []struct {
		slots, kinds int // the more kinds of people, the more iterations
		reference    string
		most         float64
	}{
		{24, 200, ".5 s (16 iterations)", .5},
		{168, 5000, "8.9 s (100 iterations)", 8.9},
	} {
		name := fmt.Sprintf("k-means, 1M x %d, K = 8", c.slots)
		each := t.begin(name, 1)
		x, w := Rhythms(million, c.slots, c.kinds, t.o.Seed+1)
		began := time.Now()
		got, err := dto.KMeans(x, w, 8, dto.KMeansOptions{Seed: t.o.Seed + 1})
		if err != nil {
			return err
		}
		took := time.Since(began).Seconds()
		each()
		t.add(Figure{
			Name: name, Value: took, Unit: "s", Reference: c.reference, Target: fmt.Sprintf("<= %g s", c.most), Reached: took <= c.most,
			Note: fmt.Sprintf("%d iterations over everybody, seeding included", got.Iterations),
		})
	}
	return nil
}

// fit times a whole model with its tests, and the most memory it held.
func (t *table) fit() error {
	const name = "whole fit and tests, 1M people"
	each := t.begin(name, 1)
	d := World{Kind: Clusters, Effect: .3, People: million}.Draw(t.o.Seed + 1).Data
	debug.FreeOSMemory() // what drawing took is no part of it
	o := t.o.Fit
	o.Seed = t.o.Seed + 1
	stop := peak()
	began := time.Now()
	m, err := dto.Fit(d, o)
	took := time.Since(began).Seconds()
	held := float64(stop()) / (1 << 30)
	if err != nil {
		return err
	}
	runtime.KeepAlive(d)
	each()
	note := fmt.Sprintf("20,000,000 deliveries, %d clusters, verdict %s", m.K, m.Decision.Verdict)
	t.add(Figure{Name: name, Value: took, Unit: "s", Reference: "about 5 s of parts", Target: "<= 15 s", Reached: took <= 15, Note: note})
	t.add(Figure{Name: name + ": memory", Value: held, Unit: "GB", Reference: "-", Target: "<= 1.5 GB", Reached: held <= 1.5,
		Note: "most that the process held, the data among it"})
	return nil
}

// peak watches how much memory the process holds until the function it
// returns is called, which returns the most it saw, in bytes.
func peak() func() uint64 {
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		var top uint64
		for {
			metrics.Read(sample)
			top = max(top, sample[0].Value.Uint64()-sample[1].Value.Uint64())
			select {
			case <-done:
				most <- top
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 {
		close(done)
		return <-most
	}
}
