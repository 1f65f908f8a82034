package sim

import (
	"math"
	"math/rand/v2"

	"kairos/dto"
)

// Rhythms draws people's features as k-means takes them: sqrt of smoothed
// distributions over the slots around k typical ones (N x S), and weights.
func Rhythms(people, slots, k int, seed uint64) (x dto.Matrix, weights []float32) {
	rng := rand.New(rand.NewPCG(seed, 11))
	typical := curves(rng, k, slots, 0)
	x, weights = dto.NewMatrix(people, slots), make([]float32, people)
	for u := range people {
		c, total := typical[rng.IntN(k)], 0.0
		q := x.Data[u*slots : (u+1)*slots]
		for i := range q {
			v := math.Exp(c[i] + 0.3*rng.NormFloat64())
			q[i] = float32(v)
			total += v
		}
		for i := range q {
			q[i] = float32(math.Sqrt(float64(q[i]) / total))
		}
		events := 30 * rng.ExpFloat64()
		weights[u] = float32(events / (events + 12))
	}
	return x, weights
}
