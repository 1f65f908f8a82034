package creation_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/creation"
	"kairos/internal/batch"
)

func (h *house) launched(s kairos.CampaignSpec) creation.Campaign {
	h.t.Helper()
	c, err := h.CreateCampaign(context.Background(), s, kairos.Ticket{})
	require.NoError(h.t, err)
	c, err = h.Launch(context.Background(), c.ID, kairos.Ticket{})
	require.NoError(h.t, err)
	return c
}

// everybodyOnce checks that the pages hold the audience, each person once, and
// that each page has one plan batch.
func (h *house) everybodyOnce(c creation.Campaign, people, pages int64) {
	h.t.Helper()
	require.Equal(h.t, people, h.count(`SELECT count(*) FROM (SELECT unnest(contacts) FROM audience_pages WHERE campaign = $1) x`, c.ID))
	require.Equal(h.t, people, h.count(`SELECT count(DISTINCT u) FROM audience_pages, unnest(contacts) u WHERE campaign = $1`, c.ID))
	require.Equal(h.t, pages, h.count(`SELECT count(*) FROM audience_pages WHERE campaign = $1`, c.ID))
	require.Equal(h.t, pages, h.count(`SELECT count(DISTINCT payload->>'page') FROM batches WHERE campaign = $1 AND kind = 'orchestration.plan'`, c.ID))
	require.Equal(h.t, pages, h.count(`SELECT count(*) FROM batches WHERE campaign = $1 AND kind = 'orchestration.plan'`, c.ID))
	require.Zero(h.t, h.count(`SELECT count(*) FROM batches WHERE campaign = $1 AND kind = 'creation.expand' AND state <> 'done'`, c.ID))
	got, err := h.Campaign(context.Background(), c.ID)
	require.NoError(h.t, err)
	require.NotNil(h.t, got.ExpandedAt)
}

func TestExpandTwiceIsOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{PageSize: 10})
	h.people(35)
	c := h.launched(h.spec())
	h.drain() // runs each task twice
	h.everybodyOnce(c, 35, 4)
}

func TestExpandFollowUpsNameTheirBatches(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{PageSize: 10})
	h.people(12)
	c := h.launched(h.spec())
	next, err := h.Expand(context.Background(), creation.ExpandTask{Ref: h.due(kairos.KindExpand)[0]})
	require.NoError(t, err)
	require.Len(t, next, 2)
	for i, kind := range []string{kairos.KindPlan, kairos.KindExpand} {
		require.Equal(t, kind, next[i].Kind())
		require.Equal(t, int64(1), h.count(`SELECT count(*) FROM batches WHERE id = $1 AND kind = $2 AND state = 'planned'`, next[i].Reference().Batch, kind))
	}
	var page struct{ Page int }
	var raw []byte
	require.NoError(t, h.pool.QueryRow(context.Background(), `SELECT payload FROM batches WHERE campaign = $1 AND kind = 'orchestration.plan'`, c.ID).Scan(&raw))
	require.NoError(t, json.Unmarshal(raw, &page))
	require.Zero(t, page.Page)
}

// TestExpandResumesAnywhere lets the process die after each page: the queue
// forgets, batches are issued again, another process goes on.
func TestExpandResumesAnywhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{PageSize: 10})
	ctx := context.Background()
	h.people(45)
	c := h.launched(h.spec())
	for round := 0; ; round++ {
		refs := h.due(kairos.KindExpand)
		if len(refs) == 0 {
			break
		}
		require.Less(t, round, 20)
		// A process claims the batch and dies.
		dead, err := batch.Claim(ctx, h.pool, refs[0], "dead", time.Millisecond)
		require.NoError(t, err)
		require.NotNil(t, dead)
		_, err = h.Expand(ctx, creation.ExpandTask{Ref: refs[0]})
		require.NoError(t, err, "the batch is taken")
		require.Eventually(t, func() bool {
			expired, err := batch.Expired(ctx, h.pool, 10)
			return err == nil && len(expired) == 1
		}, 5*time.Second, time.Millisecond)
		tx, err := h.pool.Begin(ctx)
		require.NoError(t, err)
		ok, err := batch.Reissue(ctx, tx, refs[0])
		require.NoError(t, err)
		require.True(t, ok)
		require.NoError(t, tx.Commit(ctx))
		again := h.due(kairos.KindExpand)
		require.Len(t, again, 1)
		_, err = h.Expand(ctx, creation.ExpandTask{Ref: again[0]})
		require.NoError(t, err)
		// It had committed, but the answer was lost: the queue rings again.
		_, err = h.Expand(ctx, creation.ExpandTask{Ref: again[0]})
		require.NoError(t, err)
		_, err = h.Expand(ctx, creation.ExpandTask{Ref: refs[0]})
		require.NoError(t, err)
	}
	h.everybodyOnce(c, 45, 5)
}

// TestExpandIsFenced takes the batch away while a page is being written.
func TestExpandIsFenced(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{PageSize: 10})
	ctx := context.Background()
	h.people(25)
	c := h.launched(h.spec())
	ref := h.due(kairos.KindExpand)[0]
	blocker, err := h.pool.Begin(ctx) // holds the campaign's row: the page can't be written
	require.NoError(t, err)
	_, err = blocker.Exec(ctx, `SELECT FROM campaigns WHERE id = $1 FOR UPDATE`, c.ID)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		next, err := h.Expand(ctx, creation.ExpandTask{Ref: ref})
		if err == nil && next != nil {
			err = errors.New("a page was written by a process that lost its batch")
		}
		done <- err
	}()
	require.Eventually(t, func() bool {
		return h.count(`SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()`) > 0
	}, 5*time.Second, 5*time.Millisecond)
	h.exec(`UPDATE batches SET state = 'planned', epoch = epoch + 1 WHERE id = $1`, ref.Batch)
	require.NoError(t, blocker.Commit(ctx))
	require.NoError(t, <-done)
	require.Zero(t, h.count(`SELECT count(*) FROM audience_pages`))
	h.drain()
	h.everybodyOnce(c, 25, 3)
}

func TestExpandWaitsWhilePausedAndEndsWhenCancelled(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{PageSize: 10})
	ctx := context.Background()
	h.people(25)
	c := h.launched(h.spec())
	ref := h.due(kairos.KindExpand)[0]
	_, err := h.Expand(ctx, creation.ExpandTask{Ref: ref})
	require.NoError(t, err)
	queued := h.due(kairos.KindExpand)[0]
	_, err = h.Pause(ctx, c.ID, kairos.Ticket{})
	require.NoError(t, err)
	next, err := h.Expand(ctx, creation.ExpandTask{Ref: queued})
	require.NoError(t, err)
	require.Empty(t, next)
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM audience_pages`))
	_, err = h.Resume(ctx, c.ID, kairos.Ticket{})
	require.NoError(t, err)
	_, err = h.Expand(ctx, creation.ExpandTask{Ref: queued})
	require.NoError(t, err)
	require.Equal(t, int64(2), h.count(`SELECT count(*) FROM audience_pages`))
	_, err = h.Cancel(ctx, c.ID, kairos.Ticket{})
	require.NoError(t, err)
	h.drain()
	require.Equal(t, int64(2), h.count(`SELECT count(*) FROM audience_pages`))
	require.Zero(t, h.count(`SELECT count(*) FROM batches WHERE campaign = $1 AND state IN ('planned', 'queued', 'running')`, c.ID))
}

// TestPauseWhilePageIsWritten: a page whose campaign is paused between claim and
// commit goes back and is cut after the resume.
func TestPauseWhilePageIsWritten(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{PageSize: 10})
	ctx := context.Background()
	h.people(15)
	c := h.launched(h.spec())
	ref := h.due(kairos.KindExpand)[0]
	blocker, err := h.pool.Begin(ctx)
	require.NoError(t, err)
	_, err = blocker.Exec(ctx, `UPDATE campaigns SET state = 'paused' WHERE id = $1`, c.ID)
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := h.Expand(ctx, creation.ExpandTask{Ref: ref})
		done <- err
	}()
	require.Eventually(t, func() bool {
		return h.count(`SELECT count(*) FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()`) > 0
	}, 5*time.Second, 5*time.Millisecond)
	require.NoError(t, blocker.Commit(ctx))
	require.NoError(t, <-done)
	require.Zero(t, h.count(`SELECT count(*) FROM audience_pages`))
	require.Equal(t, int64(1), h.count(`SELECT count(*) FROM batches WHERE kind = 'creation.expand' AND state = 'planned' AND epoch = 2`))
	_, err = h.Resume(ctx, c.ID, kairos.Ticket{})
	require.NoError(t, err)
	h.drain()
	h.everybodyOnce(c, 15, 2)
}

func TestExpandOfContactsAndSegments(t *testing.T) {
	t.Parallel()
	h := newHouse(t, creation.Options{PageSize: 4})
	ctx := context.Background()
	h.people(20)
	rows, err := h.pool.Query(ctx, `SELECT id FROM contacts ORDER BY email LIMIT 6`)
	require.NoError(t, err)
	ids, err := pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
	require.NoError(t, err)
	require.NoError(t, h.EraseContact(ctx, ids[0]))

	s := h.spec()
	s.Audience = kairos.Audience{Contacts: append(ids, ids[1])}
	named := h.launched(s)
	require.Equal(t, int64(6), *named.AudienceSize, "who is named is named once, the erased too: planning says why they get nothing")

	segment, err := h.CreateSegment(ctx, "ones", `external_id startsWith "p1"`)
	require.NoError(t, err)
	n, err := h.CountSegment(ctx, segment.ID)
	require.NoError(t, err)
	s.Audience = kairos.Audience{Segment: segment.ID}
	some := h.launched(s)
	require.Equal(t, n, *some.AudienceSize)

	s.Audience = kairos.Audience{All: true}
	all := h.launched(s)
	h.drain()
	h.everybodyOnce(named, 6, 2)
	h.everybodyOnce(some, n, 3)
	h.everybodyOnce(all, 19, 5)
}
