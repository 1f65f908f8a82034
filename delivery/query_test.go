package delivery

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestNotifications(t *testing.T) {
	w := plan(t, 25, 25)
	d := w.delivery()
	var got []kairos.ID
	after := ""
	for {
		page, next, err := d.Notifications(w.ctx, NotificationQuery{Campaign: w.campaign, State: kairos.StatePlanned, Limit: 10, After: after})
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), 10)
		for _, n := range page {
			got = append(got, n.ID)
		}
		if next == "" {
			break
		}
		after = next
	}
	require.Equal(t, w.notes, got)
	none, next, err := d.Notifications(w.ctx, NotificationQuery{Campaign: w.campaign, State: kairos.StateFailed})
	require.NoError(t, err)
	require.Empty(t, none)
	require.Empty(t, next)
	_, _, err = d.Notifications(w.ctx, NotificationQuery{Campaign: w.campaign, After: "x"})
	require.ErrorIs(t, err, kairos.ErrInvalid)
	_, _, err = d.Notifications(w.ctx, NotificationQuery{})
	require.ErrorIs(t, err, kairos.ErrInvalid)
	_, err = d.Notification(w.ctx, kairos.NewID())
	require.ErrorIs(t, err, kairos.ErrNotFound)
	_, err = d.Progress(w.ctx, kairos.NewID())
	require.ErrorIs(t, err, kairos.ErrNotFound)
}

func TestProgress(t *testing.T) {
	w := plan(t, 8, 8)
	d := w.delivery()
	states := []string{"planned", "accepted", "unknown", "failed", "skipped", "cancelled", "held_out", "skipped"}
	for i, s := range states {
		w.exec(`UPDATE notifications SET state = $1, batch = CASE WHEN $3 THEN NULL ELSE batch END WHERE id = $2`, s, w.notes[i], i >= 6)
	}
	want := Progress{Planned: 6, Skipped: 2, Sent: 2, Accepted: 1, Unknown: 1, Failed: 1, HeldOut: 1, Cancelled: 1, Pending: 1, Total: 8}
	p, err := d.Progress(w.ctx, w.campaign)
	require.NoError(t, err)
	require.Equal(t, want, p)
	w.exec(`UPDATE campaigns SET expanded_at = NULL, audience_size = 1000`)
	want.Total = 1000
	p, err = d.Progress(w.ctx, w.campaign)
	require.NoError(t, err)
	require.Equal(t, want, p)
}
