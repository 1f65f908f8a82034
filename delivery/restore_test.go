package delivery

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
)

// loseCommits puts the database back as a restore from a backup would: to
// before the last counts of every data directory.
func (w *world) loseCommits() { w.exec(`UPDATE watermarks SET n = n - 3`) }

func (w *world) release(due string) Freeze {
	w.t.Helper()
	f, err := NewRestore(w.pool, w.clock).Release(w.ctx, due, "eve", "seen to")
	require.NoError(w.t, err)
	return f
}

func TestADatabaseBehindTheMarkFreezesDelivery(t *testing.T) {
	w := plan(t, 4, 4)
	f := newFake(1, 1)
	d := w.delivery(f)
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, d.Watch(w.ctx, dir))
	for range 5 {
		require.NoError(t, d.count(w.ctx, d.tide.Load()))
	}
	frozen := func(d *Delivery) *Freeze {
		f, err := d.Frozen(w.ctx)
		require.NoError(t, err)
		return f
	}
	next := w.delivery(f)
	require.NoError(t, next.Watch(w.ctx, dir))
	require.Nil(t, frozen(next), "a restart alone is no loss")

	w.loseCommits()
	last := w.delivery(f)
	require.NoError(t, last.Watch(w.ctx, dir))
	got := frozen(d)
	require.NotNil(t, got, "every process sees it")
	require.Equal(t, start, got.FrozenAt)
	require.NotNil(t, got.Since)
	require.Contains(t, got.Cause, "behind")

	for _, ref := range w.due() {
		_, err := d.Send(w.ctx, SendTask{ref})
		require.NoError(t, err)
	}
	require.Zero(t, f.total())
	require.Empty(t, w.counts("attempts"))
	require.Equal(t, map[string]int{"queued": 1}, w.counts("batches"), "nothing is claimed")

	r := NewRestore(w.pool, w.clock)
	n, err := r.Due(w.ctx, *got)
	require.NoError(t, err)
	require.EqualValues(t, 4, n)
	require.EqualValues(t, 4, w.release(DueUnknown).Doubtful)
	require.Nil(t, frozen(d))
	require.Equal(t, map[string]int{"unknown": 4}, w.counts("notifications"))
	w.drain(d)
	require.Zero(t, f.total(), "what is unknown is not sent")

	// The same loss is not noticed again, by nobody.
	require.NoError(t, w.delivery(f).Watch(w.ctx, dir))
	require.Nil(t, frozen(d))
}

// TestALossUnderARunningProcess: the marking itself refuses, before anybody
// has noticed.
func TestALossUnderARunningProcess(t *testing.T) {
	w := plan(t, 2, 2)
	f := newFake(1, 1)
	d := w.delivery(f)
	require.NoError(t, d.Watch(w.ctx, t.TempDir()))
	w.loseCommits()
	refs := w.due()
	require.Len(t, refs, 1)
	_, err := d.Send(w.ctx, SendTask{refs[0]})
	require.NoError(t, err)
	require.Zero(t, f.total())
	require.Empty(t, w.counts("attempts"))
	require.Equal(t, map[string]int{"planned": 1}, w.counts("batches"))
	require.NoError(t, d.count(w.ctx, d.tide.Load()))
	open, err := d.Frozen(w.ctx)
	require.NoError(t, err)
	require.NotNil(t, open)
	w.release(DueSend)
	w.clock.Advance(time.Minute)
	w.drain(d)
	require.Equal(t, 2, f.total())
}

func TestWatchOfOtherDatabases(t *testing.T) {
	w := plan(t, 1, 1)
	d := w.delivery(newFake(1, 1))
	dir := t.TempDir()
	require.NoError(t, d.Watch(w.ctx, dir))
	w.exec(`UPDATE delivery_state SET installation = gen_random_uuid()`) // another one's data directory
	w.exec(`DELETE FROM watermarks`)
	require.NoError(t, w.delivery(newFake(1, 1)).Watch(w.ctx, dir))
	f, err := d.Frozen(w.ctx)
	require.NoError(t, err)
	require.Nil(t, f)

	w.exec(`DELETE FROM watermarks`) // a backup from before this directory
	require.NoError(t, w.delivery(newFake(1, 1)).Watch(w.ctx, dir))
	f, err = d.Frozen(w.ctx)
	require.NoError(t, err)
	require.NotNil(t, f)
	require.Nil(t, f.Since)

	require.NoError(t, os.WriteFile(filepath.Join(dir, watermarkFile), []byte("{"), 0o600))
	require.ErrorContains(t, w.delivery(newFake(1, 1)).Watch(w.ctx, dir), "damaged")
}

// TestALossDealtWithIsNotNoticedAgain by a process that was down meanwhile.
func TestALossDealtWithIsNotNoticedAgain(t *testing.T) {
	w := plan(t, 1, 1)
	d := w.delivery(newFake(1, 1))
	a, b := t.TempDir(), t.TempDir()
	require.NoError(t, d.Watch(w.ctx, a))
	require.NoError(t, w.delivery(newFake(1, 1)).Watch(w.ctx, b))
	w.loseCommits()
	require.NoError(t, w.delivery(newFake(1, 1)).Watch(w.ctx, a))
	w.release(DueUnknown)
	require.NoError(t, w.delivery(newFake(1, 1)).Watch(w.ctx, b))
	f, err := d.Frozen(w.ctx)
	require.NoError(t, err)
	require.Nil(t, f)
	// A second loss is another one.
	w.loseCommits()
	require.NoError(t, w.delivery(newFake(1, 1)).Watch(w.ctx, b))
	f, err = d.Frozen(w.ctx)
	require.NoError(t, err)
	require.NotNil(t, f)
}

func TestReleaseChoices(t *testing.T) {
	for due, want := range map[string]map[string]int{
		DueUnknown: {"unknown": 2, "planned": 1}, DueSkip: {"skipped": 2, "planned": 1}, DueSend: {"planned": 3},
	} {
		t.Run(due, func(t *testing.T) {
			w := plan(t, 3, 3)
			later := start.Add(time.Hour)
			w.exec(`UPDATE notifications SET planned_at = $1 WHERE id = $2`, later, w.notes[2])
			r := NewRestore(w.pool, w.clock)
			_, err := r.Release(w.ctx, due, "eve", "why")
			require.ErrorIs(t, err, kairos.ErrConflict, "it isn't frozen")
			_, err = r.Freeze(w.ctx, &later, "by hand", "eve")
			require.ErrorIs(t, err, kairos.ErrInvalid)
			_, err = r.Freeze(w.ctx, nil, "by hand", "")
			require.ErrorIs(t, err, kairos.ErrInvalid)
			first, err := r.Freeze(w.ctx, &start, "by hand", "eve")
			require.NoError(t, err)
			again, err := r.Freeze(w.ctx, nil, "again", "bob")
			require.NoError(t, err)
			require.Equal(t, first, again)

			_, err = r.Release(w.ctx, "guess", "eve", "")
			require.ErrorIs(t, err, kairos.ErrInvalid)
			_, err = r.Release(w.ctx, DueSend, "eve", "")
			require.ErrorIs(t, err, kairos.ErrInvalid, "sending again needs a reason")
			f := w.release(due)
			require.NotNil(t, f.ReleasedAt)
			require.Equal(t, []string{due, "eve", "seen to"}, []string{f.Due, f.ReleasedBy, f.Reason})
			require.Equal(t, want, w.counts("notifications"))
			require.EqualValues(t, want["unknown"], f.Doubtful)
			require.EqualValues(t, want["skipped"], f.Skipped)

			// What was due later goes on, to everybody once.
			provider := newFake(1, 1)
			d := w.delivery(provider)
			w.clock.Advance(time.Hour)
			w.drain(d)
			require.Equal(t, want["planned"], provider.total())
			require.Equal(t, want["skipped"], w.events()[kairos.NotificationSkipped])
			require.Equal(t, want["unknown"], w.events()[kairos.NotificationUnknown])
		})
	}
}

// TestReleaseGoesOnAfterACrash with the choice it began with.
func TestReleaseGoesOnAfterACrash(t *testing.T) {
	w := plan(t, 4, 2)
	r := NewRestore(w.pool, w.clock)
	_, err := r.Freeze(w.ctx, nil, "by hand", "eve")
	require.NoError(t, err)
	w.exec(`UPDATE freezes SET due = 'unknown'`) // it died after half of the people
	f, err := r.Last(w.ctx)
	require.NoError(t, err)
	w.exec(`UPDATE notifications SET planned_at = $1 WHERE id = ANY ($2)`, start.Add(time.Hour), w.notes[2:])
	require.NoError(t, r.d.decideDue(w.ctx, f.ID, w.campaign, &start, DueUnknown))
	require.Equal(t, map[string]int{"unknown": 2, "planned": 2}, w.counts("notifications"))
	w.exec(`UPDATE notifications SET planned_at = $1`, start)

	_, err = r.Release(w.ctx, DueSkip, "eve", "")
	require.ErrorIs(t, err, kairos.ErrConflict)
	require.EqualValues(t, 4, w.release(DueUnknown).Doubtful)
	require.Equal(t, map[string]int{"unknown": 4}, w.counts("attempts"))
}

// TestEvidenceOfWhatTheBackupLost: what is heard of messages that left after
// the backup settles them, before and after the release, whatever the number
// of the attempt was.
func TestEvidenceOfWhatTheBackupLost(t *testing.T) {
	w := plan(t, 4, 4)
	d := w.delivery(newFake(1, 1))
	r := NewRestore(w.pool, w.clock)
	_, err := r.Freeze(w.ctx, nil, "by hand", "eve")
	require.NoError(t, err)
	opened := func(i int, kind, data string) {
		w.append(kairos.Event{Kind: kind, Key: data, Notification: w.notes[i], Contact: w.people[i], Campaign: w.campaign, OccurredAt: start, Data: json.RawMessage(data)})
		w.feedback(d)
	}
	opened(0, kairos.NotificationClicked, `{"link":0}`)
	require.Equal(t, map[string]int{"planned": 4}, w.counts("notifications"))
	w.release(DueUnknown)
	require.Equal(t, map[string]int{"accepted": 1, "unknown": 3}, w.counts("notifications"))
	opened(1, kairos.NotificationOpened, `{}`)
	opened(2, kairos.NotificationDelivered, `{"attempt":"`+w.notes[2].String()+`.3"}`) // its third try, says the provider
	require.Equal(t, map[string]int{"accepted": 3, "unknown": 1}, w.counts("notifications"))

	list, _, err := d.Unknowns(w.ctx, UnknownQuery{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "restored", list[0].Provider)
	require.NoError(t, d.Resolve(w.ctx, list[0].Ref, ChooseResend, "eve", "not in the relay's log"))
	w.drain(d)
	require.Equal(t, map[string]int{"accepted": 4}, w.counts("notifications"))
}

// TestCampaignsBeingPlannedStayFrozen: who of their people had been planned
// and written to before the loss, nobody knows any more.
func TestCampaignsBeingPlannedStayFrozen(t *testing.T) {
	w := plan(t, 2, 2)
	w.exec(`UPDATE notifications SET planned_at = $1`, start.Add(time.Hour)) // not due when it froze
	page := kairos.NewID()
	w.exec(`INSERT INTO batches (id, kind, campaign, slot) VALUES ($1, $2, $3, $4)`, page, kairos.KindPlan, w.campaign, start)
	f, err := NewRestore(w.pool, w.clock).Freeze(w.ctx, nil, "by hand", "eve")
	require.NoError(t, err)
	require.Equal(t, 1, f.Held)
	require.Zero(t, w.release(DueUnknown).Doubtful)

	w.clock.Advance(2 * time.Hour)
	provider := newFake(1, 1)
	d := w.delivery(provider)
	for _, ref := range w.due() {
		_, err := d.Send(w.ctx, SendTask{ref})
		require.NoError(t, err)
	}
	require.NoError(t, d.Reconcile(w.ctx))
	require.Zero(t, provider.total())
	require.Equal(t, map[string]int{"planned": 2}, w.counts("notifications"))

	w.exec(`UPDATE batches SET state = 'done' WHERE id = $1`, page) // its last page is planned
	w.add(2, 2, "campaign")
	require.NoError(t, d.Reconcile(w.ctx))
	require.Equal(t, map[string]int{"unknown": 4}, w.counts("notifications"))
	f, err = NewRestore(w.pool, w.clock).Last(w.ctx)
	require.NoError(t, err)
	require.Zero(t, f.Held)
	require.EqualValues(t, 4, f.Doubtful)
	w.clock.Advance(time.Minute)
	w.drain(d)
	require.Zero(t, provider.total())
}

// TestAFreezeStopsABatchInTheMiddle: the windows under way end, no further one begins.
func TestAFreezeStopsABatchInTheMiddle(t *testing.T) {
	w := plan(t, 20, 20)
	f := newFake(1, 1)
	d := w.deliveryWith(Options{Providers: []Provider{f}, Window: 2})
	begun := make(chan struct{})
	goOn := make(chan struct{})
	first := true
	f.answer = func(context.Context, *Message) Result {
		if first {
			first = false
			close(begun)
			<-goOn
		}
		return Result{Outcome: Accepted}
	}
	done := make(chan error, 1)
	refs := w.due()
	go func() {
		_, err := d.Send(w.ctx, SendTask{refs[0]})
		done <- err
	}()
	<-begun
	_, err := NewRestore(w.pool, w.clock).Freeze(w.ctx, nil, "by hand", "eve")
	require.NoError(t, err)
	close(goOn)
	require.NoError(t, <-done)
	require.LessOrEqual(t, f.total(), 4, "two windows were open")
	require.Equal(t, f.total(), w.counts("notifications")["accepted"])
	_, err = batch.Requeue(w.ctx, w.pool, 0)
	require.NoError(t, err)
	w.release(DueSend)
	w.clock.Advance(time.Minute)
	w.drain(d)
	require.Equal(t, 20, f.total())
	require.Equal(t, 1, f.most())
}
