package dto

import (
	"math"

	"kairos"
)

// clusterScore writes the score of cluster c's typical person to dst (S).
func (m *Model) clusterScore(dst []float64, c int) {
	lo := c * m.Slots
	for s, g := range m.Curve {
		dst[s] = math.Log(math.Max(g, 1e-300))
		if m.K > 1 {
			dst[s] += m.C[0]*math.Log(m.ClusterCurve[lo+s]/g) + m.C[1]*math.Log(m.ClusterRhythm[lo+s]/m.Rhythm[s])
		}
	}
}

// Scorer scores people one by one with a model, without allocating. It belongs
// to one goroutine.
type Scorer struct {
	m        *Model
	clusters []float64 // K*S: what depends on the cluster alone
	near     []float64 // doubled kernels
	own      []float64
	q        []float64
	x        []float32
	eta      []float64
}

// Scorer returns a new scorer.
func (m *Model) Scorer() *Scorer {
	s := &Scorer{
		m: m, clusters: make([]float64, m.K*m.Slots),
		near: kernel(m.Slots, m.ClusterBandwidth), own: kernel(m.Slots, m.Bandwidth),
		q: make([]float64, m.Slots), x: make([]float32, m.Slots), eta: make([]float64, m.Slots),
	}
	for c := range m.K {
		m.clusterScore(s.clusters[c*m.Slots:(c+1)*m.Slots], c)
	}
	return s
}

// Score writes the person's log relative response rate per slot to dst (S),
//
//	eta_s = log g_s + c1 log(theta_cs/g_s) + c2 log(q_cs/qbar_s) + c3 log(q_us/q_cs),
//
// and returns the cluster c the person's activity a (S) is nearest to. Without
// any activity the score is the common curve's and the cluster -1. Slots that
// were never explored score -Inf.
func (s *Scorer) Score(dst []float64, a []float32) (cluster int) {
	m := s.m
	cluster = s.cluster(a)
	switch {
	case cluster < 0:
		for i, g := range m.Curve {
			dst[i] = math.Log(math.Max(g, 1e-300))
		}
	default:
		lo := cluster * m.Slots
		copy(dst, s.clusters[lo:lo+m.Slots])
		if c3 := m.C[2]; c3 != 0 {
			qc := m.ClusterRhythm[lo : lo+m.Slots]
			rhythm(s.q, a, qc, m.Prior, s.own)
			for i, q := range s.q {
				dst[i] += c3 * fastLog(q/qc[i])
			}
		}
	}
	for i := range dst {
		if !m.Mask.Has(i) {
			dst[i] = math.Inf(-1)
		}
	}
	return cluster
}

// cluster returns the nearest centroid, -1 for a person without activity.
func (s *Scorer) cluster(a []float32) int {
	total := float32(0)
	for _, v := range a {
		total += v
	}
	if !(total > 0) {
		return -1
	}
	if s.m.K == 1 {
		return 0
	}
	rhythm(s.q, a, s.m.Rhythm, s.m.ClusterPrior, s.near)
	for i, q := range s.q {
		s.x[i] = float32(math.Sqrt(q))
	}
	nearest, least := 0, math.Inf(1)
	for c := range s.m.K {
		if d := distance2(s.x, s.m.Centroids[c*s.m.Slots:(c+1)*s.m.Slots]); d < least {
			nearest, least = c, d
		}
	}
	return nearest
}

// Slot returns the best of the allowed slots for a person with activity a (S),
// and the person's cluster. It is -1 when no allowed slot was ever explored;
// the caller then keeps its default time.
func (s *Scorer) Slot(a []float32, allowed Mask) (slot, cluster int) {
	cluster = s.Score(s.eta, a)
	return best(s.eta, allowed&s.m.Mask), cluster
}

// Score writes every person's best allowed slot (-1: none) to slots and cluster
// (-1: none) to clusters, both of length N; a is N x S, masks has length N or
// is nil (all slots allowed). Errors: ErrInvalid.
func (m *Model) Score(slots, clusters []int16, a Matrix, masks []Mask) error {
	switch {
	case a.Cols != m.Slots:
		return kairos.Invalid("activity", "must have %d slots, has %d", m.Slots, a.Cols)
	case len(slots) != a.Rows || len(clusters) != a.Rows || (masks != nil && len(masks) != a.Rows):
		return kairos.Invalid("slots, clusters, masks", "must have length %d", a.Rows)
	}
	if err := checkShape("activity", a); err != nil {
		return err
	}
	if i := checkValues(a.Data); i >= 0 {
		return kairos.Invalid("activity", "of person %d has a negative or undefined value", i/a.Cols)
	}
	each(a.Rows, func(_, lo, hi int) {
		if lo == hi {
			return
		}
		s := m.Scorer()
		for u := lo; u < hi; u++ {
			allowed := AllSlots(m.Slots)
			if masks != nil {
				allowed = masks[u]
			}
			slot, cluster := s.Slot(row(a, u), allowed)
			slots[u], clusters[u] = int16(slot), int16(cluster)
		}
	})
	return nil
}
