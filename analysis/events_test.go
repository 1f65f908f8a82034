package analysis

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/eventlog"
	"kairos/internal/table"
)

func TestEventsPageByPage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, Options{})
	m := w.message(w.campaign(kairos.CampaignSpec{}), kairos.ID{}, kairos.ArmAll)
	for i := range 25 {
		w.log(m.on(kairos.NotificationOpened, time.Duration(i)*minute), by(kairos.NewID(), "other.thing", 0))
	}
	w.settled()
	q := EventQuery{Campaign: m.campaign, Limit: 10}
	var sizes []int
	seen := map[kairos.ID]bool{}
	for range 4 {
		events, next, err := w.a.Events(ctx, q)
		require.NoError(t, err)
		sizes = append(sizes, len(events))
		for _, e := range events {
			require.False(t, seen[e.ID])
			seen[e.ID] = true
		}
		q.After = next
	}
	require.Equal(t, []int{10, 10, 5, 0}, sizes)
	head, err := w.a.Head(ctx)
	require.NoError(t, err)
	require.Equal(t, head, q.After, "a filter that leaves nothing moves the cursor on")

	events, _, err := w.a.Events(ctx, EventQuery{Kinds: []string{"other.thing"}, Limit: 3})
	require.NoError(t, err)
	require.Len(t, events, 3)
}

func TestTimelineNewestFirst(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, Options{})
	m := w.message(w.campaign(kairos.CampaignSpec{}), kairos.ID{}, kairos.ArmAll)
	var want []kairos.ID
	for i := range 7 {
		e := m.on(kairos.NotificationOpened, time.Duration(i)*minute)
		w.log(e, by(kairos.NewID(), "other.thing", 0))
		want = append([]kairos.ID{e.ID}, want...)
	}
	var got []kairos.ID
	var at kairos.Cursor
	for {
		events, next, err := w.a.Timeline(ctx, m.contact, at, 3)
		require.NoError(t, err)
		for _, e := range events {
			got = append(got, e.ID)
		}
		if next.IsZero() {
			break
		}
		at = next
	}
	require.Equal(t, want, got)
}

func TestFollow(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w := newWorld(t, Options{})
	m := w.message(w.campaign(kairos.CampaignSpec{}), kairos.ID{}, kairos.ArmAll)
	w.log(m.on(kairos.NotificationOpened, 0))
	w.settled()
	head, err := w.a.Head(ctx)
	require.NoError(t, err)

	slow, err := w.pool.Begin(ctx)
	require.NoError(t, err)
	late, early := m.on(kairos.NotificationOpened, minute), m.on(kairos.NotificationOpened, 2*minute)
	_, err = eventlog.Append(ctx, slow, late)
	require.NoError(t, err)
	w.log(early)
	go func() {
		time.Sleep(tick) // long enough for a reader by position to run past it
		_ = slow.Commit(ctx)
	}()
	var got []kairos.ID
	for e, err := range w.a.Follow(ctx, EventQuery{After: head, Limit: 1}) {
		require.NoError(t, err)
		got = append(got, e.ID)
		if len(got) == 2 {
			break
		}
	}
	require.Equal(t, []kairos.ID{late.ID, early.ID}, got)

	ended, stop := context.WithCancel(ctx)
	stop()
	for _, err := range w.a.Follow(ended, EventQuery{}) {
		require.ErrorIs(t, err, context.Canceled)
	}
}

func TestCSVIsSafeToOpen(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	half := 0.5
	require.NoError(t, table.Write(&b, table.CSV, Funnel{AsOf: noon, Steps: []Step{{Step: "sent", Unique: 1, Total: 2, RateOfSent: &half}},
		ByArm: map[string][]Step{"=evil": {{Step: "sent"}}}}.Rows()))
	require.Equal(t, `campaign,as_of,group,name,step,unique,total,rate_of_previous,rate_of_sent
00000000-0000-0000-0000-000000000000,2026-03-02T12:00:00Z,all,,sent,1,2,,0.5
00000000-0000-0000-0000-000000000000,2026-03-02T12:00:00Z,arm,'=evil,sent,0,0,,
`, b.String())

	b.Reset()
	revenue, needed := -one, int64(9)
	require.NoError(t, table.Write(&b, table.CSV, ROI{AsOf: noon, Currency: "EUR", Attributed: Attributed{1, 2 * one},
		Incremental:     Incremental{Revenue: &revenue, Interval: &[2]kairos.Amount{-2 * one, one}, Verdict: VerdictNotEnoughData, Needed: &needed},
		OtherCurrencies: []OtherCurrency{{Currency: "USD"}}}.Rows()))
	lines := strings.Split(b.String(), "\n")
	require.Equal(t, "00000000-0000-0000-0000-000000000000,2026-03-02T12:00:00Z,EUR,1,2.00,,,,-1.00,-2.00,1.00,not_enough_data,9,0,0,0.00,0.00,0.00,,", lines[1])
	require.Len(t, lines, 4)

	b.Reset()
	require.NoError(t, table.Write(&b, table.CSV, EventRows([]kairos.Event{{Kind: "a.b", Key: "=1", Data: object("a", "b")}})))
	require.Contains(t, b.String(), `,a.b,`)
	require.Contains(t, b.String(), `,'=1,"{""a"":""b""}"`)
}
