package delivery

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kairos/internal/batch"
)

// doubles runs the accident that the index guards against: a notification's
// attempt is live and its row says planned (its batch was put back too soon),
// and the batch is sent again. It returns the most messages a person got.
func doubles(t *testing.T, change string) int {
	w := plan(t, 5, 5)
	if change != "" {
		w.exec(change)
	}
	f := newFake(1, 1)
	d := w.delivery(f)
	win := w.open(d, 5)
	win.deliver()
	require.NoError(t, batch.Defer(w.ctx, w.pool, win.run.b.Ref, start, nil))
	w.drain(d)
	return f.most()
}

func TestOneLiveAttempt(t *testing.T) {
	require.Equal(t, 1, doubles(t, ""))
}

// TestWithoutTheGuard shows that the test above tests the index: without it
// people are written to twice.
func TestWithoutTheGuard(t *testing.T) {
	require.Equal(t, 2, doubles(t, `DROP INDEX attempts_one_live`))
}
