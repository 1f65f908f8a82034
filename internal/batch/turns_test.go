package batch_test

import (
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
)

// due rings for the batches of delivery.send that are due, within a window of n.
func due(t *testing.T, pool *pgxpool.Pool, n int) []batch.Doorbell {
	t.Helper()
	bells, err := batch.Due(t.Context(), pool, "delivery.send", now, n)
	require.NoError(t, err)
	return bells
}

// many returns n batches of a campaign that have long been due.
func many(n int, campaign kairos.ID) []batch.Batch {
	return slices.Repeat([]batch.Batch{{Kind: "delivery.send", Campaign: campaign, Slot: now.Add(-time.Hour)}}, n)
}

// TestTheNextCampaignGoesAhead: the first batch of a campaign that has nothing
// under way doesn't wait behind the window of a large one, not even where the
// large one's older batches are more than are looked at.
func TestTheNextCampaignGoesAhead(t *testing.T) {
	t.Parallel()
	const window = 4
	pool := devstack.NewDB(t)
	of := func(c kairos.ID, bells []batch.Doorbell) (all, ahead int) {
		for _, b := range bells {
			var owner kairos.ID
			require.NoError(t, pool.QueryRow(t.Context(), `SELECT campaign FROM batches WHERE id = $1`, b.Batch).Scan(&owner))
			if owner == c {
				all++
				if b.Ahead {
					ahead++
				}
			}
		}
		return all, ahead
	}

	big := campaign(t, pool, "running")
	insert(t, pool, many(window*16+10, big)...)
	all, ahead := of(big, due(t, pool, window))
	require.Equal(t, window, all)
	require.Equal(t, 1, ahead, "its first one, no more")
	all, ahead = of(big, due(t, pool, window+1))
	require.Equal(t, []int{1, 0}, []int{all, ahead}, "it has others under way")

	next, waiting := campaign(t, pool, "running"), campaign(t, pool, "paused")
	insert(t, pool, batch.Batch{Kind: "delivery.send", Campaign: next, Slot: now}, batch.Batch{Kind: "delivery.send", Campaign: next, Slot: now},
		batch.Batch{Kind: "delivery.send", Campaign: waiting, Slot: now})
	bells := due(t, pool, window+3)
	require.Len(t, bells, 2)
	all, ahead = of(next, bells)
	require.Equal(t, []int{2, 1}, []int{all, ahead}, "the large one has five under way")
	all, _ = of(waiting, bells)
	require.Zero(t, all)
}

// TestAFullWindowGivesTheFreePlaceToWhoHasLeast: what is queued and running
// counts as turns that were taken.
func TestAFullWindowGivesTheFreePlaceToWhoHasLeast(t *testing.T) {
	t.Parallel()
	const window = 4
	pool := devstack.NewDB(t)
	big, small := campaign(t, pool, "running"), campaign(t, pool, "running")
	insert(t, pool, many(window*2, big)...)
	require.Len(t, due(t, pool, window), window)
	mine := batch.Batch{ID: kairos.NewID(), Kind: "delivery.send", Campaign: small, Slot: now}
	insert(t, pool, mine)
	require.Empty(t, due(t, pool, window), "the window is full")
	bells := due(t, pool, window+1) // one place has become free
	require.Len(t, bells, 1)
	require.Equal(t, mine.ID, bells[0].Batch, "the large one's are older, but four of them are under way")
	require.True(t, bells[0].Ahead)
}

func TestNextSlot(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	c := campaign(t, pool, "running")
	insert(t, pool,
		batch.Batch{Kind: "delivery.send", Campaign: c, Slot: now}, // due
		batch.Batch{Kind: "delivery.send", Campaign: c, Slot: now.Add(700 * time.Millisecond)},
		batch.Batch{Kind: "creation.expand", Campaign: c, Slot: now.Add(300 * time.Millisecond)})
	next := func(until time.Duration, kinds ...string) time.Duration {
		t.Helper()
		slot, ok, err := batch.Next(t.Context(), pool, kinds, now, now.Add(until))
		require.NoError(t, err)
		if !ok {
			return -1
		}
		return slot.Sub(now)
	}
	require.Equal(t, 700*time.Millisecond, next(time.Second, "delivery.send"))
	require.Equal(t, 300*time.Millisecond, next(time.Second, "delivery.send", "creation.expand"))
	require.EqualValues(t, -1, next(time.Second/4, "delivery.send", "creation.expand"))
	require.EqualValues(t, -1, next(time.Hour, "analysis.fold"))
}
