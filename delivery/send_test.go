package delivery

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestSendTwiceIsOnce(t *testing.T) {
	for name, f := range map[string]*fake{"one a call": newFake(1, 4), "batch": newFake(1000, 2)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := plan(t, 250, 100)
			d := w.delivery(f)
			refs := w.due()
			require.Len(t, refs, 3)
			for range 2 {
				for _, ref := range refs {
					next, err := d.Send(w.ctx, SendTask{ref})
					require.NoError(t, err)
					require.Empty(t, next)
				}
			}
			require.Equal(t, 250, f.total())
			require.Equal(t, 1, f.most())
			require.Equal(t, map[string]int{"accepted": 250}, w.counts("notifications"))
			require.Equal(t, map[string]int{"accepted": 250}, w.counts("attempts"))
			require.Equal(t, map[string]int{"done": 3}, w.counts("batches"))
			require.Equal(t, map[string]int{kairos.NotificationSent: 250, kairos.NotificationAccepted: 250}, w.events())
			p, err := d.Progress(w.ctx, w.campaign)
			require.NoError(t, err)
			require.Equal(t, Progress{Planned: 250, Sent: 250, Accepted: 250, Total: 250}, p)
		})
	}
}
