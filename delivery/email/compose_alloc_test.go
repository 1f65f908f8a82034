//go:build !race

package email_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/delivery/deliverytest"
	"kairos/delivery/email"
)

func TestAllocationsOfComposing(t *testing.T) {
	m := deliverytest.Message(t, deliverytest.Letter(t), 1)
	var c email.Composer
	buf := make([]byte, 0, 64<<10)
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := c.AppendMessage(buf, m); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%.1f allocations a message", allocs)
	require.LessOrEqual(t, allocs, 4.0)
}
