package analysis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// No report reads a table that grows with the messages: they answer without.
func TestReportsReadNoMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	c := w.campaign(optimisedSpec(kairos.Experiment{Control: 0.5}))
	for _, arm := range []kairos.Arm{kairos.ArmControl, kairos.ArmOptimised} {
		m := w.message(c, kairos.ID{}, arm)
		w.log(append(m.sent(minute), m.on(kairos.NotificationClicked, hour, "link", 1), m.on(kairos.PaymentReceived, 2*hour, paying("1", "EUR")...))...)
	}
	w.fold()
	for _, table := range []string{"journeys", "conversions", "actions", "notifications", "attempts", "profiles"} {
		w.exec(`ALTER TABLE ` + table + ` RENAME TO hidden_` + table)
	}
	f, err := w.a.Funnel(t.Context(), c)
	require.NoError(t, err)
	require.EqualValues(t, 2, f.Steps[1].Unique)
	r, err := w.a.ROI(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, "2.00", r.Attributed.Revenue.String())
	one, err := w.a.Timing(t.Context(), c)
	require.NoError(t, err)
	require.EqualValues(t, 1, one.Arms[0].Responses)
	all, err := w.a.TimingOf(t.Context(), time.Time{}, time.Time{})
	require.NoError(t, err)
	require.Equal(t, 1, all.Campaigns)
}
