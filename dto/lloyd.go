package dto

import (
	"math"
	"math/rand/v2"
)

// lloyd is one run of Lloyd's iteration with Hamerly's bounds.
type lloyd struct {
	x            Matrix
	w            []float32
	k            int
	centroids    []float32 // k x S
	labels       []int32
	upper, lower []float64 // >= distance to the own centroid; <= distance to every other one
	sums         []float64 // k x S weighted sums of rows
	mass         []float64 // k
	half         []float64 // k: half the distance to the nearest other centroid
	moved        []float64 // k: how far a centroid went
	parts        []float64 // chunks x (k*S + k + 1): changes of sums, of mass, of labels
	iterations   int
}

func newLloyd(x Matrix, w []float32, k int) *lloyd {
	ks := k * x.Cols
	return &lloyd{
		x: x, w: w, k: k, centroids: make([]float32, ks),
		labels: make([]int32, x.Rows), upper: make([]float64, x.Rows), lower: make([]float64, x.Rows),
		sums: make([]float64, ks), mass: make([]float64, k), half: make([]float64, k), moved: make([]float64, k),
		parts: make([]float64, chunks*(ks+k+1)),
	}
}

// seed places the centroids by greedy k-means++: each next one is the best of
// 2 + ln k rows drawn with probability proportional to w_i d_i^2.
func (l *lloyd) seed(rng *rand.Rand) {
	n := l.x.Rows
	near, trial, bestNear := make([]float64, n), make([]float64, n), make([]float64, n)
	total := 0.0
	for _, v := range l.w {
		total += float64(v)
	}
	pick := func(mass func(i int) float64, total float64) int {
		t, last := rng.Float64()*total, 0
		for i := range n {
			m := mass(i)
			if m <= 0 {
				continue
			}
			last = i
			if t -= m; t < 0 {
				break
			}
		}
		return last
	}
	cost := func(c []float32, dst []float64) float64 {
		var parts [chunks]float64
		each(n, func(chunk, lo, hi int) {
			sum := 0.0
			for i := lo; i < hi; i++ {
				dst[i] = min(near[i], distance2(row(l.x, i), c))
				sum += dst[i] * float64(l.w[i])
			}
			parts[chunk] = sum
		})
		sum := 0.0
		for _, v := range parts {
			sum += v
		}
		return sum
	}
	for i := range near {
		near[i] = math.Inf(1)
	}
	s := l.x.Cols
	first := row(l.x, pick(func(i int) float64 { return float64(l.w[i]) }, total))
	copy(l.centroids, first)
	potential := cost(first, near)
	trials := 2 + int(math.Log(float64(l.k)))
	for c := 1; c < l.k; c++ {
		best := math.Inf(1)
		for range trials {
			i := pick(func(i int) float64 { return near[i] * float64(l.w[i]) }, potential)
			if v := cost(row(l.x, i), trial); v < best {
				best = v
				copy(l.centroids[c*s:(c+1)*s], row(l.x, i))
				trial, bestNear = bestNear, trial
			}
		}
		near, bestNear = bestNear, near
		potential = best
	}
}

// run iterates until no label changes, no centroid moves, or the limit.
func (l *lloyd) run(limit int) {
	l.first()
	for l.iterations = 1; l.iterations < limit; l.iterations++ {
		if l.move() == 0 {
			break
		}
		if l.assign() == 0 {
			l.iterations++
			break
		}
	}
	l.recount()
	l.move()
}

// first labels every row by all distances and sets both bounds.
func (l *lloyd) first() {
	each(l.x.Rows, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			l.labels[i], l.upper[i], l.lower[i] = l.nearest(row(l.x, i))
		}
	})
	l.recount()
}

// nearest returns the nearest centroid, its distance and the second nearest's.
func (l *lloyd) nearest(x []float32) (label int32, d1, d2 float64) {
	s := len(x)
	d1, d2 = math.Inf(1), math.Inf(1)
	for c := range l.k {
		d := distance2(x, l.centroids[c*s:(c+1)*s])
		if d < d1 {
			d1, d2, label = d, d1, int32(c)
		} else if d < d2 {
			d2 = d
		}
	}
	return label, math.Sqrt(d1), math.Sqrt(d2)
}

// recount computes sums and masses afresh.
func (l *lloyd) recount() {
	s := l.x.Cols
	ks := l.k * s
	width := ks + l.k + 1
	clear(l.parts)
	each(l.x.Rows, func(chunk, lo, hi int) {
		p := l.parts[chunk*width : (chunk+1)*width]
		for i := lo; i < hi; i++ {
			l.credit(p, i, int(l.labels[i]), float64(l.w[i]))
		}
	})
	clear(l.sums)
	clear(l.mass)
	l.settle()
}

// credit adds row i with weight w to cluster c's change.
func (l *lloyd) credit(p []float64, i, c int, w float64) {
	s := l.x.Cols
	q := p[c*s : (c+1)*s]
	for j, v := range row(l.x, i)[:len(q)] {
		q[j] += w * float64(v)
	}
	p[l.k*s+c] += w
}

// settle adds the chunks' changes to sums and mass, in order, and returns how
// many labels changed.
func (l *lloyd) settle() (changed int) {
	ks := l.k * l.x.Cols
	width := ks + l.k + 1
	for c := range chunks {
		p := l.parts[c*width : (c+1)*width]
		for i := range l.sums {
			l.sums[i] += p[i]
		}
		for i := range l.mass {
			l.mass[i] += p[ks+i]
		}
		changed += int(p[width-1])
	}
	return changed
}

// move puts every centroid at its cluster's mean (an empty one stays) and
// returns the longest way gone.
func (l *lloyd) move() float64 {
	s, longest := l.x.Cols, 0.0
	for c := range l.k {
		l.moved[c] = 0
		if l.mass[c] <= 1e-9 {
			continue
		}
		d, cent := 0.0, l.centroids[c*s:(c+1)*s]
		for j := range cent {
			v := float32(l.sums[c*s+j] / l.mass[c])
			d += float64(v-cent[j]) * float64(v-cent[j])
			cent[j] = v
		}
		l.moved[c] = math.Sqrt(d)
		longest = math.Max(longest, l.moved[c])
	}
	for c := range l.k {
		l.half[c] = math.Inf(1)
		for o := range l.k {
			if o != c {
				d := math.Sqrt(distance2(l.centroids[c*s:(c+1)*s], l.centroids[o*s:(o+1)*s])) / 2
				l.half[c] = math.Min(l.half[c], d)
			}
		}
	}
	return longest
}

// assign loosens the bounds by what the centroids moved, labels the rows whose
// bounds no longer hold, and returns how many labels changed.
func (l *lloyd) assign() int {
	far, second, farthest := 0.0, 0.0, 0
	for c, m := range l.moved {
		if m > far {
			far, second, farthest = m, far, c
		} else if m > second {
			second = m
		}
	}
	s := l.x.Cols
	width := l.k*s + l.k + 1
	clear(l.parts)
	each(l.x.Rows, func(chunk, lo, hi int) {
		p := l.parts[chunk*width : (chunk+1)*width]
		labels, upper, lower := l.labels[lo:hi], l.upper[lo:hi], l.lower[lo:hi]
		for i, c := range labels {
			u := upper[i] + l.moved[c]
			w := lower[i] - far
			if int(c) == farthest {
				w = lower[i] - second
			}
			lower[i] = w
			bound := math.Max(l.half[c], w)
			if u <= bound {
				upper[i] = u
				continue
			}
			x := row(l.x, lo+i)
			u = math.Sqrt(distance2(x, l.centroids[int(c)*s:(int(c)+1)*s]))
			upper[i] = u
			if u <= bound {
				continue
			}
			label, d1, d2 := l.nearest(x)
			upper[i], lower[i] = d1, d2
			if label != c {
				labels[i] = label
				l.credit(p, lo+i, int(c), -float64(l.w[lo+i]))
				l.credit(p, lo+i, int(label), float64(l.w[lo+i]))
				p[width-1]++
			}
		}
	})
	return l.settle()
}

func (l *lloyd) inertia() float64 {
	var parts [chunks]float64
	s := l.x.Cols
	each(l.x.Rows, func(chunk, lo, hi int) {
		sum := 0.0
		for i := lo; i < hi; i++ {
			c := int(l.labels[i])
			sum += float64(l.w[i]) * distance2(row(l.x, i), l.centroids[c*s:(c+1)*s])
		}
		parts[chunk] = sum
	})
	sum := 0.0
	for _, v := range parts {
		sum += v
	}
	return sum
}

// distance2 returns the squared Euclidean distance, four lanes at a time.
func distance2(x, c []float32) float64 {
	var a0, a1, a2, a3 float32
	for len(x) >= 4 && len(c) >= 4 {
		d0, d1, d2, d3 := x[0]-c[0], x[1]-c[1], x[2]-c[2], x[3]-c[3]
		a0 += d0 * d0
		a1 += d1 * d1
		a2 += d2 * d2
		a3 += d3 * d3
		x, c = x[4:], c[4:]
	}
	for i, v := range x {
		d := v - c[i]
		a0 += d * d
	}
	return float64(a0) + float64(a1) + float64(a2) + float64(a3)
}
