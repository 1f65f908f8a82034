package orchestration

import (
	"crypto/sha256"
	"encoding/binary"

	"kairos"
)

// draw returns a number in [0, 1) that depends on nothing but the campaign,
// the person and what it is drawn for: the same every time, independent
// between campaigns, people and purposes. (SHA-256, first 53 bits.)
func draw(campaign, contact kairos.ID, purpose string) float64 {
	var b [64]byte
	n := copy(b[:], campaign[:])
	n += copy(b[n:], contact[:])
	n += copy(b[n:], purpose)
	sum := sha256.Sum256(b[:n])
	return float64(binary.BigEndian.Uint64(sum[:8])>>11) / (1 << 53)
}
