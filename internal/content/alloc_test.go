//go:build !race

package content

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAllocationsOfRendering: of a letter of 5 KB with one variable and three
// links, as in BenchmarkRender. The limit is what was measured and three tenths
// more.
func TestAllocationsOfRendering(t *testing.T) {
	c, err := Compile(Source{Subject: "Hello {{ contact.first_name }}", HTML: letter()})
	require.NoError(t, err)
	data := Data{"contact": map[string]any{"first_name": "Ada"}}
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := c.Render(context.Background(), data, noTracker{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%.1f allocations a message", allocs)
	require.LessOrEqual(t, allocs, 17.0)
}
