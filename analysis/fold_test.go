package analysis

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/eventlog"
)

const (
	minute = time.Minute
	hour   = time.Hour
)

func TestFunnelCountsExactly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	c := w.campaign(kairos.CampaignSpec{})
	a, b, d := w.message(c, kairos.ID{}, kairos.ArmControl), w.message(c, kairos.ID{}, kairos.ArmOptimised), w.message(c, kairos.ID{}, kairos.ArmOptimised)
	h, s := w.message(c, kairos.ID{}, kairos.ArmHoldout), w.message(c, kairos.ID{}, kairos.ArmControl)
	w.log(a.sent(minute)...)
	w.log(b.sent(minute)...)
	w.log(d.sent(minute)...)
	w.log(h.on(kairos.NotificationHeldOut, 0), s.on(kairos.NotificationSkipped, 0))
	w.log(
		a.on(kairos.NotificationOpened, hour), a.on(kairos.NotificationOpened, 2*hour),
		a.on(kairos.NotificationClicked, 2*hour, "link", 1), a.on(kairos.PageViewed, 2*hour), a.on(kairos.PageViewed, 3*hour),
		a.on(kairos.CTAClicked, 3*hour), a.on(kairos.OfferAccepted, 3*hour), a.on(kairos.PaymentReceived, 4*hour, paying("12.50", "EUR")...),
		b.on(kairos.NotificationOpened, hour, "machine", "prefetch"), b.on(kairos.NotificationClicked, hour, "link", 1, "machine", "head"),
		b.on(kairos.OfferDeclined, hour),
		d.on(kairos.NotificationBounced, hour, "class", "hard"),
		a.on("custom.thing", hour), by(a.contact, "custom.other", hour),
	)
	w.fold()
	require.Equal(t, map[string]string{
		"planned": "3/3", "sent": "3/3", "delivered": "2/2", "opened": "1/2", "clicked": "1/1", "viewed": "1/2", "cta": "1/1",
		"offer_accepted": "1/1", "offer_declined": "1/1", "paid": "1/1",
		"held_out": "1/1", "skipped": "1/1", "bounced": "1/1", "machine_opened": "1/1", "machine_clicked": "1/1",
	}, w.steps(c))

	f, err := w.a.Funnel(context.Background(), c)
	require.NoError(t, err)
	require.Equal(t, w.clock.Now(), f.AsOf)
	require.Len(t, f.ByArm, 2, "holdout has no funnel")
	require.Equal(t, Step{Step: "planned", Unique: 2, Total: 2}, f.ByArm["optimised"][0])
	require.Equal(t, f.Steps, f.ByChannel["email"])
	require.InDelta(t, 2.0/3, *f.Steps[2].RateOfPrevious, 1e-12)
	require.InDelta(t, 1.0/3, *f.Steps[9].RateOfSent, 1e-12)
	require.Nil(t, f.Steps[0].RateOfSent)

	was := w.everything()
	w.fold()
	require.Equal(t, was, w.everything(), "twice is once")
	require.NoError(t, w.a.Rebuild(context.Background()))
	require.Equal(t, was, w.everything(), "a replay gives the same rows")
}

func TestDeliveredInAnyOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events    func(m msg) []kairos.Event
		delivered bool
		sent      int
	}{
		"accepted by smtp": {func(m msg) []kairos.Event { return m.sent(minute) }, true, 1},
		"accepted, bounced": {func(m msg) []kairos.Event {
			return append(m.sent(minute), m.on(kairos.NotificationBounced, hour))
		}, false, 1},
		"sendgrid accepted": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationPlanned, 0), m.on(kairos.NotificationSent, 1), m.on(kairos.NotificationAccepted, 1, "provider", "sendgrid")}
		}, false, 1},
		"sendgrid delivered": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationSent, 1), m.on(kairos.NotificationAccepted, 1, "provider", "sendgrid"), m.on(kairos.NotificationDelivered, 2)}
		}, true, 1},
		"delivered, then bounced after all": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationSent, 1), m.on(kairos.NotificationDelivered, 2), m.on(kairos.NotificationBounced, 3)}
		}, false, 1},
		"dropped": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationAccepted, 1), m.on(kairos.NotificationDropped, 3)}
		}, false, 1},
		"refused, then taken": {func(m msg) []kairos.Event {
			return []kairos.Event{m.attempt(kairos.NotificationSent, "1", 1), m.attempt(kairos.NotificationSent, "2", hour), m.attempt(kairos.NotificationAccepted, "2", hour)}
		}, true, 1},
		"refused for good": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationSent, 1), m.on(kairos.NotificationRejected, 1)}
		}, false, 0},
		"unknown": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationSent, 1), m.on(kairos.NotificationUnknown, 9)}
		}, false, 1},
		"unknown, then proved not sent": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationSent, 1), m.on(kairos.NotificationUnknown, 9), m.attempt(kairos.NotificationResolved, "1", hour, "choice", "not_sent")}
		}, false, 0},
		"resent by force": {func(m msg) []kairos.Event {
			return []kairos.Event{m.attempt(kairos.NotificationUnknown, "1", 9), m.attempt(kairos.NotificationAccepted, "2", hour)}
		}, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			permute(c.events(msg{id: kairos.NewID()}), func(events []kairos.Event) {
				var f facts
				for i := range events {
					d := detailOf(&events[i])
					f.add(&events[i], &d, map[string]bool{"sendgrid": true})
				}
				require.Equal(t, c.delivered, f.delivered())
				n, _ := f.sent()
				require.Equal(t, c.sent, n)
			})
		})
	}
}

func TestFoldKilledBetweenChunks(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, Options{Chunk: 2})
	c := w.campaign(kairos.CampaignSpec{})
	for range 5 {
		m := w.message(c, kairos.ID{}, kairos.ArmAll)
		w.log(append(m.sent(minute), m.on(kairos.NotificationOpened, hour), m.on(kairos.PaymentReceived, 2*hour, paying("1", "EUR")...))...)
	}
	w.settled()
	// One chunk goes in; the next dies before its commit; a third waits for nobody.
	n, err := eventlog.Tail(ctx, w.pool, reader, eventlog.Filter{Facts: true}, 2, w.a.fold)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	_, err = eventlog.Tail(ctx, w.pool, reader, eventlog.Filter{Facts: true}, 2, func(ctx context.Context, tx pgx.Tx, events []kairos.Event) error {
		require.NoError(t, w.a.fold(ctx, tx, events))
		return context.Canceled
	})
	require.ErrorIs(t, err, context.Canceled)
	w.fold()
	require.Equal(t, map[string]string{"planned": "5/5", "sent": "5/5", "delivered": "5/5", "opened": "5/5", "paid": "5/5"}, w.steps(c))
	was := w.everything()
	require.NoError(t, w.a.Rebuild(ctx))
	require.Equal(t, was, w.everything())
}

// Any number of processes fold at once: they take turns.
func TestFoldersTakeTurns(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, Options{})
	c := w.campaign(kairos.CampaignSpec{})
	for range 30 {
		m := w.message(c, kairos.ID{}, kairos.ArmAll)
		w.log(append(m.sent(minute), m.on(kairos.NotificationOpened, hour), m.on(kairos.PaymentReceived, 2*hour, paying("1", "EUR")...))...)
	}
	w.settled()
	errs := make(chan error, 4)
	for range 4 {
		go func() {
			for {
				n, err := eventlog.Tail(ctx, w.pool, reader, eventlog.Filter{Facts: true}, 7, w.a.fold)
				if err != nil || n == 0 {
					errs <- err
					return
				}
			}
		}()
	}
	for range 4 {
		require.NoError(t, <-errs)
	}
	require.Equal(t, map[string]string{"planned": "30/30", "sent": "30/30", "delivered": "30/30", "opened": "30/30", "paid": "30/30"}, w.steps(c))
	was := w.everything()
	require.NoError(t, w.a.Rebuild(ctx))
	require.Equal(t, was, w.everything())
}

func TestFoldIsFenced(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, Options{})
	c := w.campaign(kairos.CampaignSpec{})
	w.log(w.message(c, kairos.ID{}, kairos.ArmAll).sent(minute)...)
	require.NoError(t, w.a.Arm(ctx))
	bells, err := batch.Due(ctx, w.pool, kairos.KindFold, w.clock.Now(), 10)
	refs := batch.Refs(bells)
	require.NoError(t, err)
	require.Len(t, refs, 1)
	require.NoError(t, w.a.Arm(ctx), "a planned fold is not planned twice")
	again, err := batch.Due(ctx, w.pool, kairos.KindFold, w.clock.Now(), 10)
	require.NoError(t, err)
	require.Empty(t, again)

	w.settled()
	stale := FoldTask{kairos.Ref{Batch: refs[0].Batch, Epoch: refs[0].Epoch - 1}}
	_, err = w.a.Fold(ctx, stale)
	require.NoError(t, err)
	require.Empty(t, w.steps(c), "a stale doorbell does nothing")
	for range 2 {
		_, err = w.a.Fold(ctx, FoldTask{refs[0]})
		require.NoError(t, err)
	}
	require.Equal(t, "1/1", w.steps(c)["sent"])
	require.NoError(t, w.a.Arm(ctx))
	again, err = batch.Due(ctx, w.pool, kairos.KindFold, w.clock.Now(), 10)
	require.NoError(t, err)
	require.Empty(t, again, "nothing new, nothing planned")
}

func TestFoldWaitsForLateCommits(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, Options{})
	c := w.campaign(kairos.CampaignSpec{})
	slow, quick := w.message(c, kairos.ID{}, kairos.ArmAll), w.message(c, kairos.ID{}, kairos.ArmAll)
	open, err := w.pool.Begin(ctx)
	require.NoError(t, err)
	_, err = eventlog.Append(ctx, open, slow.sent(minute)...)
	require.NoError(t, err)
	w.log(quick.sent(minute)...)
	w.foldSettled()
	require.Empty(t, w.steps(c), "what follows an open transaction waits")
	f, err := w.a.Funnel(ctx, c)
	require.NoError(t, err)
	require.True(t, f.AsOf.Before(w.clock.Now()), "and the report says so")
	require.NoError(t, open.Commit(ctx))
	w.fold()
	require.Equal(t, "2/2", w.steps(c)["sent"])
}

func TestFoldSurvivesStrangeEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	c := w.campaign(kairos.CampaignSpec{})
	m := w.message(c, kairos.ID{}, kairos.ArmAll)
	stranger := msg{kairos.NewID(), c, kairos.NewID()}
	w.log(m.sent(minute)...)
	w.log(stranger.sent(minute)...)
	w.log(
		m.on(kairos.NotificationClicked, hour, "link", []int{1}, "machine", 7),
		m.on(kairos.NotificationAccepted, hour, "provider", 5, "links", "many"),
		m.on(kairos.PaymentReceived, hour, "amount", "lots", "currency", "EUR"),
		m.on(kairos.PaymentReceived, hour, "amount", -5, "currency", "EUR"),
		m.on(kairos.PaymentReceived, hour, "amount", 5, "currency", "euros"),
		m.on(kairos.PaymentReceived, hour, "amount", "999999999999.999999", "currency", "IDR"),
		by(kairos.ID{}, kairos.PaymentReceived, hour, paying("5", "EUR")...),
		by(kairos.NewID(), kairos.PaymentReceived, hour, paying("5", "EUR")...),
		m.on("notification.teleported", hour),
	)
	w.fold()
	require.Equal(t, map[string]string{"planned": "1/1", "sent": "1/1", "delivered": "1/1", "clicked": "1/1", "paid": "1/1"}, w.steps(c))
	r, err := w.a.ROI(context.Background(), c)
	require.NoError(t, err)
	require.Equal(t, "999999999999.999999", r.OtherCurrencies[0].Attributed.Revenue.String())
}

// permute calls fn with every order of events.
func permute(events []kairos.Event, fn func([]kairos.Event)) {
	var walk func(k int)
	order := append([]kairos.Event(nil), events...)
	walk = func(k int) {
		if k == len(order) {
			fn(append([]kairos.Event(nil), order...))
			return
		}
		for i := k; i < len(order); i++ {
			order[k], order[i] = order[i], order[k]
			walk(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	walk(0)
}
