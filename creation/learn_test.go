package creation

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

func TestLearnTakesOverStatedPreferences(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	c := New(pool, kairos.NewManualClock(now), Options{})
	contact, _, err := c.UpsertContact(t.Context(), ContactInput{Email: "ada@example.com"})
	require.NoError(t, err)
	_, err = c.SetPreferences(t.Context(), contact.ID, kairos.Preferences{Topics: map[string]bool{"news": false}})
	require.NoError(t, err)
	state := func(key, data string) {
		require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
			_, err := eventlog.Append(t.Context(), tx, kairos.Event{
				Kind: kairos.ContactPreferred, Contact: contact.ID, Notification: kairos.NewID(), Key: key, OccurredAt: now, Data: []byte(data),
			})
			return err
		}))
	}
	state("1", `{"preferred_hours":[{"days":["mon"],"from":"18:00","until":"21:00"}]}`)
	state("2", `{"preferred_hours":[{"days":["someday"],"from":"18:00","until":"21:00"}]}`) // makes no sense
	state("3", `{"quiet_hours":{"from":"22:00","until":"07:00"}}`)
	require.Eventually(t, func() bool {
		require.NoError(t, c.Learn(t.Context()))
		got, err := c.Contact(t.Context(), contact.ID)
		require.NoError(t, err)
		return got.Preferences.QuietHours != nil
	}, 30*time.Second, 10*time.Millisecond)
	got, err := c.Contact(t.Context(), contact.ID)
	require.NoError(t, err)
	require.Equal(t, map[string]bool{"news": false}, got.Preferences.Topics)
	require.Len(t, got.Preferences.PreferredHours, 1)
	require.Equal(t, kairos.ClockTime(18, 0), got.Preferences.PreferredHours[0].From)
}
