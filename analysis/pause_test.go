package analysis

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPause(t *testing.T) {
	t.Parallel()
	const bound, took = 3 * time.Second, 100 * time.Millisecond
	for name, c := range map[string]struct {
		bound, behind, took time.Duration
		full                bool
		want                time.Duration
	}{
		"right behind, more waits":       {bound, 0, took, true, 2 * took},
		"half the bound":                 {bound, bound / 2, took, true, took},
		"at the bound":                   {bound, bound, took, true, 0},
		"far beyond":                     {bound, time.Hour, took, true, 0},
		"far beyond, at the end":         {bound, time.Hour, took, false, 0},
		"at the end":                     {bound, took, 20 * time.Millisecond, false, 200 * time.Millisecond},
		"at the end, slow":               {bound, took, 2 * time.Second, false, time.Second},
		"never into the bound":           {bound, bound - 10*time.Millisecond, time.Hour, true, 5 * time.Millisecond},
		"a clock that goes backwards":    {bound, -time.Second, took, false, time.Second},
		"never rests":                    {-1, 0, took, true, 0},
		"never rests, at the end either": {-1, 0, took, false, 0},
	} {
		require.Equal(t, c.want, pause(c.bound, c.behind, c.took, c.full), name)
	}
}

// A stop ends a rest.
func TestRestEndsWithAStop(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { rest(ctx, time.Hour); close(done) }()
	stop()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the rest goes on")
	}
}
