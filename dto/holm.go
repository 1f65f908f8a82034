package dto

import "slices"

// Holm writes to dst the p-values adjusted for testing all of them, in the
// order given, and returns it: p_(i) times (m-i+1), made monotone, at most 1.
// Rejecting those below alpha keeps the chance of any false rejection below
// alpha, whatever their dependence. Source: Holm, A simple sequentially
// rejective multiple test procedure, Scand. J. Stat. 6, 1979.
func Holm(dst, p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	highest := 0.0
	for rank, i := range order {
		highest = max(highest, min(1, p[i]*float64(len(p)-rank)))
		dst[i] = highest
	}
	return dst[:len(p)]
}
