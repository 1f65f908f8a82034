//go:build !race

package token

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestAllocationsOfMinting(t *testing.T) {
	r := ring(t, secretA)
	c := Claims{PurposeClick, kairos.NewID(), kairos.NewID(), 1, "https://shop.example.com/" + strings.Repeat("x", 60)}
	buf := make([]byte, 0, MaxLen)
	require.Zero(t, testing.AllocsPerRun(100, func() { buf = r.AppendMint(buf[:0], c) }))
}
