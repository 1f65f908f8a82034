package timing

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// maskOf sets hours of the week, as orchestration writes them.
func maskOf(slots ...int) []byte {
	b := make([]byte, 21)
	for _, s := range slots {
		b[s/8] |= 1 << (s % 8)
	}
	return b
}

func TestExposures(t *testing.T) {
	w := newWorld(t, Options{ResponseWindow: 24 * time.Hour})
	campaign, people := kairos.NewID(), kairos.NewIDRange(dawn)
	at := dawn.Add(10 * time.Hour)
	explore := func(person int, sent time.Time, more func(*message)) message {
		m := message{campaign: kairos.NewID(), contact: people.Nth(person), arm: kairos.ArmExplore, sent: sent, hour: 10,
			eligible: maskOf(9, 10, 11, 34), propensity: .25} // 34: 10:00 on the day after
		if more != nil {
			more(&m)
		}
		return m
	}
	clicked := func(after time.Duration) func(*message) { return func(m *message) { m.clicked = m.sent.Add(after) } }
	ids := w.send(
		explore(0, at, nil),                                                                       // 0: nothing
		explore(1, at, clicked(time.Hour)),                                                        // 1: a click in time
		explore(2, at, clicked(24*time.Hour)),                                                     // 2: a click when the window is over
		explore(3, at, clicked(24*time.Hour-1e6)),                                                 // 3: just in time
		explore(4, at, func(m *message) { m.state = `{"viewed": 1}` }),                            // 4: a page, no click
		explore(5, at, func(m *message) { m.state = `{"more_machine_clicks": 3, "opens": [1]}` }), // 5: machines, an open
		explore(6, at, func(m *message) { m.planned = m.sent.Add(-61 * time.Minute) }),            // 6: late
		explore(7, at, nil), explore(7, at.Add(24*time.Hour-1e6), nil),                            // 7, 8: too close
		explore(9, at, nil), explore(9, at.Add(24*time.Hour), nil), // 9, 10: just far enough
		explore(11, at, nil),
		message{campaign: campaign, contact: people.Nth(11), arm: kairos.ArmAll, sent: at.Add(-time.Hour)}, // another campaign's
		message{campaign: campaign, contact: people.Nth(12), arm: kairos.ArmControl, sent: at},
		explore(13, at, func(m *message) { m.hour, m.eligible = 33, maskOf(33) }),
	)
	w.clock.Set(at.Add(24 * time.Hour))
	w.watch()
	require.Zero(t, w.count(`SELECT count(*) FROM exposures`), "sent exactly a window ago is not older than it")

	w.clock.Set(at.Add(60 * time.Hour))
	w.watch()
	w.clock.Advance(2 * time.Hour)
	w.watch()
	type row struct {
		Hour       int16
		Allowed    int32
		Propensity float32
		Responded  bool
		Dropped    *string
	}
	read := func(i int) (r row) {
		require.NoError(t, w.pool.QueryRow(context.Background(), `SELECT hour, allowed, propensity, responded, dropped FROM exposures WHERE notification = $1`, ids[i]).
			Scan(&r.Hour, &r.Allowed, &r.Propensity, &r.Responded, &r.Dropped), "%d", i)
		return r
	}
	overlap, late := "overlap", "late"
	for i, want := range map[int]row{
		0: {}, 1: {Responded: true}, 2: {}, 3: {Responded: true}, 4: {Responded: true}, 5: {}, 6: {Dropped: &late},
		7: {Dropped: &overlap}, 8: {Dropped: &overlap}, 9: {}, 10: {}, 11: {Dropped: &overlap},
	} {
		want.Hour, want.Allowed, want.Propensity = 10, 1<<9|1<<10|1<<11, .5 // two of four hours are 10:00
		require.Equal(t, want, read(i), "%d", i)
	}
	require.Equal(t, row{Hour: 9, Allowed: 1 << 9, Propensity: 1}, read(14))
	require.Equal(t, 13, w.count(`SELECT count(*) FROM exposures`))
	require.Equal(t, 9, w.count(`SELECT exposures FROM timing_state`))
	require.Equal(t, 3, w.count(`SELECT responses FROM timing_state`))

	// What the log says late is mended while the next looks reach it.
	w.exec(`UPDATE journeys SET clicked_at = sent_at + interval '1 minute' WHERE notification = $1`, ids[0])
	w.send(message{campaign: campaign, contact: people.Nth(1), arm: kairos.ArmAll, sent: at.Add(2 * time.Hour)})
	w.clock.Advance(2 * time.Hour)
	w.watch()
	require.False(t, read(0).Responded, "looked at anew once a day")
	w.clock.Set(at.Add(87 * time.Hour))
	w.watch()
	require.True(t, read(0).Responded)
	require.Equal(t, &overlap, read(1).Dropped)
	require.Equal(t, 8, w.count(`SELECT exposures FROM timing_state`))
	require.Equal(t, 3, w.count(`SELECT responses FROM timing_state`))

	// They are forgotten with the history, in one go if nobody looked for long.
	w.clock.Advance(400 * 24 * time.Hour)
	w.watch()
	require.Zero(t, w.count(`SELECT count(*) FROM exposures`))
	require.Zero(t, w.count(`SELECT exposures FROM timing_state`))
	require.Zero(t, w.count(`SELECT responses FROM timing_state`))
}

// One call takes in months of domain time.
func TestExposuresCatchUp(t *testing.T) {
	w := newWorld(t, Options{TrainEvery: -1})
	var ms []message
	for i := range 100 {
		ms = append(ms, message{campaign: kairos.NewID(), contact: kairos.NewID(), arm: kairos.ArmExplore, sent: dawn.Add(time.Duration(i) * 24 * time.Hour)})
	}
	w.send(ms...)
	w.clock.Set(dawn.Add(102 * 24 * time.Hour))
	w.watch()
	require.Equal(t, 100, w.count(`SELECT exposures FROM timing_state`))
	w.watch()
	require.Equal(t, 100, w.count(`SELECT exposures FROM timing_state`))
}
