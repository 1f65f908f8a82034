package dto

import "math/bits"

// Bounds of the share of traffic that explores.
const (
	WarmUpExploration  = 0.3
	LastingExploration = 0.05
)

// Exploration returns the share of traffic to explore with: .3 while there are
// no responses, falling linearly to .05 when there are as many as needed
// ([NeededResponses]), and never below, so that drift stays visible.
func Exploration(responses, needed float64) float64 {
	if !(responses > 0) || !(needed > 0) {
		return WarmUpExploration
	}
	return max(LastingExploration, WarmUpExploration-(WarmUpExploration-LastingExploration)*responses/needed)
}

// Len returns the number of slots in the set.
func (m Mask) Len() int { return bits.OnesCount64(uint64(m)) }

// Draw returns a slot of the set, each with the same chance, and that chance,
// which is to be logged; u is uniform over all uint64 (a hash of campaign and
// contact, or rand.Uint64). It returns -1 and 0 for the empty set.
func (m Mask) Draw(u uint64) (slot int, propensity float64) {
	n := m.Len()
	if n == 0 {
		return -1, 0
	}
	nth, _ := bits.Mul64(u, uint64(n))
	for ; nth > 0; nth-- {
		m &= m - 1
	}
	return bits.TrailingZeros64(uint64(m)), 1 / float64(n)
}
