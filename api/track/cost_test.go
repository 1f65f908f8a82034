//go:build !race

package track

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/internal/instructions"
	"kairos/internal/token"
)

// TestInstructionsOfAClick: from a request's head to the hit that the disk is
// asked to keep, without the wait for it: the spool is closed and refuses.
// Opening the token has a guard of its own. The text of an answer is left out,
// as its date is written anew each second.
func TestInstructionsOfAClick(t *testing.T) {
	d := open(t)
	raw, tok := []byte(requests(d)["click"].raw), d.token(token.PurposeClick)
	require.NoError(t, d.spool.Close())
	instructions.Check(t, "the head of a request", 5825, func() {
		if _, ok := parseHead(raw); !ok {
			panic("not plain")
		}
	})
	v := newVisit()
	h, ok := parseHead(raw)
	require.True(t, ok)
	opened := func() {
		if _, err := d.ring.Open(token.PurposeClick, tok); err != nil {
			panic(err)
		}
	}
	instructions.CheckBeside(t, "a click", 10980, opened, func() {
		if !d.clicked(v, tok, program(string(h.agent))) {
			panic("not ours")
		}
	})
	require.Positive(t, d.spool.Stats().Dropped)
}
