package dto

import "slices"

// Strata writes to dst (length N) the stratum of each person for the
// interaction tests and returns it: response total (capped at 25) times 100
// plus the fifth of the deliveries' distribution the person is in; 0 for people
// without a response, who carry no information. Within a stratum people are
// exchangeable when they do not differ in their curves.
func Strata(dst []int32, r, n Matrix) []int32 {
	const bins, limit = 5, 25
	deliveries := make([]float32, r.Rows)
	dst = dst[:r.Rows]
	each(r.Rows, func(_, lo, hi int) {
		for u := lo; u < hi; u++ {
			ru, nu := row(r, u), row(n, u)
			responses := float32(0)
			for i, v := range ru {
				responses += v
				deliveries[u] += nu[i]
			}
			dst[u] = 100 * min(int32(responses), limit)
		}
	})
	sorted := slices.Clone(deliveries)
	slices.Sort(sorted)
	var edges []float64
	for i := 1; i < bins; i++ { // quantiles by linear interpolation
		at := float64(i) / bins * float64(len(sorted)-1)
		lo := int(at)
		q := float64(sorted[lo])
		if lo+1 < len(sorted) {
			q += (at - float64(lo)) * float64(sorted[lo+1]-sorted[lo])
		}
		edges = append(edges, q)
	}
	edges = slices.Compact(edges)
	for u, v := range deliveries {
		if dst[u] == 0 {
			continue
		}
		for _, e := range edges {
			if e <= float64(v) {
				dst[u]++
			}
		}
	}
	return dst
}

// pieces orders people by stratum (those of stratum <= 0 left out) and cuts
// each stratum, of at least two people, into pieces of limited size.
type pieces struct {
	order []int32 // people
	list  []piece
}

type piece struct{ stratum, lo, hi int } // order[lo:hi]; strata are numbered 0..

const pieceSize = 1 << 13

func cut(strata []int32) pieces {
	size := map[int32]int{}
	for _, s := range strata {
		if s > 0 {
			size[s]++
		}
	}
	keys := make([]int32, 0, len(size))
	for s, n := range size {
		if n >= 2 {
			keys = append(keys, s)
		}
	}
	slices.Sort(keys)
	var p pieces
	place := make(map[int32]int, len(keys))
	at := 0
	for i, s := range keys {
		place[s] = at
		for lo := at; lo < at+size[s]; lo += pieceSize {
			p.list = append(p.list, piece{stratum: i, lo: lo, hi: min(lo+pieceSize, at+size[s])})
		}
		at += size[s]
	}
	p.order = make([]int32, at)
	for u, s := range strata {
		if i, ok := place[s]; ok {
			p.order[i] = int32(u)
			place[s] = i + 1
		}
	}
	return p
}

// fold calls add for each person of each piece, pieces in parallel, each with
// an accumulator of the given width, and then close for each stratum, in order,
// with its number of people and the sum of its accumulators.
func (p pieces) fold(width int, add func(acc []float64, u int), closeStratum func(n float64, acc []float64)) {
	parts := make([]float64, len(p.list)*width)
	parallel(len(p.list), len(p.order) > 1<<12, func(t int) {
		acc := parts[t*width : (t+1)*width]
		for _, u := range p.order[p.list[t].lo:p.list[t].hi] {
			add(acc, int(u))
		}
	})
	for t := 0; t < len(p.list); {
		acc := parts[t*width : (t+1)*width]
		n := float64(p.list[t].hi - p.list[t].lo)
		first := t
		for t++; t < len(p.list) && p.list[t].stratum == p.list[first].stratum; t++ {
			for i, v := range parts[t*width : (t+1)*width] {
				acc[i] += v
			}
			n += float64(p.list[t].hi - p.list[t].lo)
		}
		closeStratum(n, acc)
	}
}
