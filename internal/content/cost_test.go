//go:build !race

package content

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/internal/instructions"
)

// Of a letter of 5 KB with one variable and three links, as in BenchmarkRender.
func TestInstructionsOfRendering(t *testing.T) {
	c, err := Compile(Source{Subject: "Hello {{ contact.first_name }}", HTML: letter()})
	require.NoError(t, err)
	data := Data{"contact": map[string]any{"first_name": "Ada"}}
	ctx := context.Background()
	instructions.Check(t, "rendering a message", 10293, func() {
		if _, err := c.Render(ctx, data, noTracker{}); err != nil {
			panic(err)
		}
	})
}
