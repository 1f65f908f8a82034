package delivery

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/internal/batch"
)

// TestABatchHasItsTurn: over a slow provider a batch is put back between two
// windows after its turn, so that a worker comes free for others. It was begun, so
// it goes on before what is new; everybody gets one message all the same.
func TestABatchHasItsTurn(t *testing.T) {
	w := plan(t, 400, 400)
	f := newFake(1, 4)
	f.answer = func(context.Context, *Message) Result {
		time.Sleep(2 * time.Millisecond)
		return Result{Outcome: Accepted}
	}
	d := w.deliveryWith(Options{Providers: []Provider{f}, Turn: 20 * time.Millisecond, Window: 64})
	refs := w.due()
	require.Len(t, refs, 1)
	_, err := d.Send(w.ctx, SendTask{refs[0]})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"planned": 1}, w.counts("batches"))
	got := w.counts("notifications")
	require.Positive(t, got["accepted"], "it had a turn")
	require.Positive(t, got["planned"], "it was put back")
	require.Len(t, got, 2)

	bells, err := batch.Due(w.ctx, w.pool, SendTask{}.Kind(), w.clock.Now(), 1000)
	require.NoError(t, err)
	require.Len(t, bells, 1, "at once")
	require.True(t, bells[0].Ahead)
	_, err = d.Send(w.ctx, SendTask{bells[0].Ref})
	require.NoError(t, err)
	require.Greater(t, w.counts("notifications")["accepted"], got["accepted"])
	w.drain(d)
	require.Equal(t, map[string]int{"accepted": 400}, w.counts("notifications"))
	require.Equal(t, 1, f.most())
}
