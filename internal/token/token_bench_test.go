package token

import (
	"fmt"
	"strings"
	"testing"

	"kairos"
)

func BenchmarkMint(b *testing.B) {
	r := ring(b, secretA)
	for _, n := range []int{0, 80, 1000} {
		b.Run(fmt.Sprintf("destination=%d", n), func(b *testing.B) {
			c := Claims{PurposeClick, kairos.NewID(), kairos.NewID(), 1, strings.Repeat("x", n)}
			buf := make([]byte, 0, MaxLen)
			b.ReportAllocs()
			for b.Loop() {
				buf = r.AppendMint(buf[:0], c)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	r := ring(b, secretA)
	for _, n := range []int{0, 80, 1000} {
		b.Run(fmt.Sprintf("destination=%d", n), func(b *testing.B) {
			tok := r.Mint(Claims{PurposeClick, kairos.NewID(), kairos.NewID(), 1, strings.Repeat("x", n)})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Open(PurposeClick, tok); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
