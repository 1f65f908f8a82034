package dto

import (
	"math"
	"time"
)

// HalfLife is the half-life of organic activity, in days.
const HalfLife = 60.0

// ActivityEpoch is where the weights of activity begin: 2020-01-01 00:00 UTC,
// in Unix microseconds.
const ActivityEpoch = 1_577_836_800_000_000

// ActivityWeight returns what one hour with activity at that moment adds to a
// stored profile: 2^(days since ActivityEpoch / HalfLife). Divided by the weight
// of now it is 1 for today and 1/2 for HalfLife days ago, so that old activity
// fades without its row being touched. A daily habit stays within float32 until
// December 2039; beyond it profiles saturate.
func ActivityWeight(at time.Time) float64 {
	return math.Exp2(float64(at.UnixMicro()-ActivityEpoch) / (24 * 3600e6) / HalfLife)
}

// PreferenceEvents is what a declared preference counts for, in events.
const PreferenceEvents = 10.0

// Decay multiplies a person's activity (length S) by 2^(-days/60). Negative
// days (a clock set back) leave it unchanged.
func Decay(a []float32, days float64) {
	if !(days > 0) {
		return
	}
	f := float32(math.Exp2(-days / HalfLife))
	for i := range a {
		a[i] *= f
	}
}

// AddPreference adds a declared preference to a person's activity (length S):
// ten events, spread evenly over the hours named. An empty set adds nothing.
func AddPreference(a []float32, preferred Mask) {
	n := 0
	for i := range a {
		if preferred.Has(i) {
			n++
		}
	}
	for i := range a {
		if preferred.Has(i) {
			a[i] += float32(PreferenceEvents / float64(n))
		}
	}
}

// Rhythm writes to dst (length S) the person's rhythm, a distribution over
// slots, and returns it:
//
//	q_s = (K_bw*a_s + k0 prior_s) / (sum a + k0),
//
// K_bw the circular Gaussian of bandwidth bw hours, k0 the weight of the prior
// in events (Dirichlet smoothing). The prior is the population's rhythm for
// clustering, the cluster's for scoring; it must sum to 1.
func Rhythm(dst []float64, a []float32, prior []float64, k0, bw float64) []float64 {
	return rhythm(dst, a, prior, k0, kernel(len(a), bw))
}

func rhythm(dst []float64, a []float32, prior []float64, k0 float64, k []float64) []float64 {
	clear(dst)
	smooth(dst, a, k)
	total := k0
	for _, v := range a {
		total += float64(v)
	}
	for i, p := range prior {
		dst[i] = (dst[i] + k0*p) / total
	}
	return dst
}

// PopulationRhythm writes to dst (length S) the activity of everybody, smoothed
// by .7 h and scaled to sum 1, and returns it; uniform where there is none.
func PopulationRhythm(dst []float64, a Matrix) []float64 {
	s := a.Cols
	parts, sums := make([]float64, chunks*s), make([]float64, s)
	each(a.Rows, func(c, lo, hi int) {
		p := parts[c*s : (c+1)*s]
		for u := lo; u < hi; u++ {
			for i, v := range row(a, u) {
				p[i] += float64(v)
			}
		}
	})
	addUp(sums, parts)
	Smooth(dst, sums, 0.7)
	sum := 0.0
	for i := range dst {
		dst[i] += 1e-9
		sum += dst[i]
	}
	for i := range dst {
		dst[i] /= sum
	}
	return dst
}

// hellinger writes sqrt(q_u) of every person to dst (N x S) and the weights
// A_u/(A_u+k0), A_u the person's total activity, to weights (length N): the
// Euclidean distance of two rows is sqrt 2 times their Hellinger distance, for
// which counts have about equal noise in all slots.
func hellinger(dst Matrix, weights []float32, a Matrix, prior []float64, k0, bw float64) {
	k := kernel(a.Cols, bw)
	each(a.Rows, func(_, lo, hi int) {
		var buf [168]float64
		q := buf[:a.Cols]
		for u := lo; u < hi; u++ {
			au := row(a, u)
			rhythm(q, au, prior, k0, k)
			total := 0.0
			for _, v := range au {
				total += float64(v)
			}
			weights[u] = float32(total / (total + k0))
			for i, v := range q {
				dst.Data[u*dst.Stride+i] = float32(math.Sqrt(v))
			}
		}
	})
}
