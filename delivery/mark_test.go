package delivery

import (
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

// TestFirstMarkingGivesWay: where somebody has an attempt already, the quick
// way opens nothing and the thorough one decides, person by person.
func TestFirstMarkingGivesWay(t *testing.T) {
	for _, state := range []string{"sending", "unknown", "accepted", "rejected_temp", "not_sent"} {
		t.Run(state, func(t *testing.T) {
			w := plan(t, 8, 8)
			w.exec(`INSERT INTO attempts (notification, number, campaign, batch, epoch, provider, state, started_at)
				VALUES ($1, 1, $2, $3, 1, 'fake', $4, $5)`, w.notes[3], w.campaign, w.batches[0], state, start)
			d := w.delivery(newFake(1, 1))
			b, c := w.claim(d)
			m, err := d.mark(w.ctx, marking{batch: b, campaign: c, provider: "fake", after: before(b.Lo), limit: 8, first: true})
			require.NoError(t, err)
			require.False(t, m.first)
			numbers := map[kairos.ID]int32{}
			for _, p := range m.all {
				if p.number > 0 {
					numbers[p.id] = p.number
				}
			}
			want := map[kairos.ID]int32{}
			for i, id := range w.notes {
				want[id] = 1
				if i == 3 {
					want[id] = 2
				}
			}
			live := state == "sending" || state == "unknown" || state == "accepted"
			if live {
				delete(want, w.notes[3])
			}
			require.Equal(t, want, numbers)
			n := 8
			if !live {
				n = 9
			}
			var got int
			require.NoError(t, w.pool.QueryRow(w.ctx, `SELECT count(*) FROM attempts`).Scan(&got))
			require.Equal(t, n, got)
		})
	}
}

// TestMarkingsAgree: both ways judge alike and open the same.
func TestMarkingsAgree(t *testing.T) {
	var first []recipient
	for _, quick := range []bool{true, false} {
		w := plan(t, 6, 6)
		w.exec(`UPDATE contacts SET erased_at = $1 WHERE id = $2`, start, w.people[0])
		w.exec(`UPDATE contacts SET preferences = '{"topics": {"news": false}}' WHERE id = $1`, w.people[1])
		w.exec(`UPDATE notifications SET planned_at = planned_at + interval '1 hour' WHERE id = $1`, w.notes[2])
		require.NoError(t, w.delivery().Suppress(w.ctx, Suppression{Contact: w.people[3], Scope: ScopeAll}))
		d := w.delivery(newFake(1, 1))
		b, c := w.claim(d)
		m, err := d.mark(w.ctx, marking{batch: b, campaign: c, provider: "fake", after: before(b.Lo), limit: 6, attributes: quick, first: quick})
		require.NoError(t, err)
		require.True(t, m.held)
		require.Equal(t, quick, m.first)
		require.Len(t, m.all, 6)
		for i := range m.all {
			require.Equal(t, w.notes[i], m.all[i].id)
			require.Equal(t, quick, m.all[i].attributes != nil)
			m.all[i].id, m.all[i].contact, m.all[i].attributes = kairos.ID{}, kairos.ID{}, nil
		}
		require.Equal(t, map[string]int{"sending": 2}, w.counts("attempts"))
		if first == nil {
			first = m.all
		}
		require.Equal(t, first, m.all)
	}
}
