package analysis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

func (w *world) roi(campaign kairos.ID) ROI {
	w.t.Helper()
	r, err := w.a.ROI(context.Background(), campaign)
	require.NoError(w.t, err)
	return r
}

// takings returns "attributed people/payments amount | window people/payments
// amount squares" by arm and currency.
func (w *world) takings(campaign kairos.ID) string {
	return w.dump(`SELECT arm, currency, attributed_people, attributed_payments, attributed_amount, window_people, window_payments,
		window_amount, window_squares FROM revenue WHERE campaign = $1`, campaign)
}

func TestAttribution(t *testing.T) {
	t.Parallel()
	day := 24 * hour
	pay := func(m msg, after time.Duration) kairos.Event {
		return m.on(kairos.PaymentReceived, after, paying("10", "EUR")...)
	}
	bare := func(m msg, after time.Duration) kairos.Event {
		return by(m.contact, kairos.PaymentReceived, after, paying("10", "EUR")...)
	}
	for name, c := range map[string]struct {
		events     func(m msg) []kairos.Event
		attributed int64 // payments
		window     int64
	}{
		"by the message's token":     {func(m msg) []kairos.Event { return append(m.sent(minute), pay(m, hour)) }, 1, 1},
		"token, ahead of the answer": {func(m msg) []kairos.Event { return append(m.sent(hour), pay(m, minute)) }, 1, 1},
		"token, before its moment":   {func(m msg) []kairos.Event { return append(m.sent(hour), pay(m, -minute)) }, 0, 0},
		"token, after the window":    {func(m msg) []kairos.Event { return append(m.sent(minute), pay(m, 7*day+minute)) }, 0, 0},
		"token, at its last moment":  {func(m msg) []kairos.Event { return append(m.sent(minute), pay(m, 7*day+minute-1000)) }, 1, 0},
		"by the person, untouched":   {func(m msg) []kairos.Event { return append(m.sent(minute), bare(m, hour)) }, 0, 1},
		"by the person, after a open": {func(m msg) []kairos.Event {
			return append(m.sent(minute), m.on(kairos.NotificationOpened, minute), bare(m, hour))
		}, 1, 1},
		"by the person, before": {func(m msg) []kairos.Event {
			return append(m.sent(minute), bare(m, hour), m.on(kairos.NotificationOpened, 2*hour))
		}, 0, 1},
		"after a click": {func(m msg) []kairos.Event {
			return append(m.sent(minute), m.on(kairos.NotificationClicked, hour, "link", 1), bare(m, hour))
		}, 1, 1},
		"after a machine's": {func(m msg) []kairos.Event {
			return append(m.sent(minute), m.on(kairos.NotificationOpened, hour, "machine", "prefetch"), bare(m, 2*hour))
		}, 0, 1},
		"after a burst of clicks": {func(m msg) []kairos.Event {
			return append(m.sent(minute), m.on(kairos.NotificationClicked, hour, "link", 1), m.on(kairos.NotificationClicked, hour, "link", 2),
				m.on(kairos.NotificationClicked, hour+time.Second, "link", 3), bare(m, 2*hour))
		}, 0, 1},
		"held out":            {func(m msg) []kairos.Event { return []kairos.Event{m.on(kairos.NotificationHeldOut, 0), bare(m, hour)} }, 0, 1},
		"held out, too early": {func(m msg) []kairos.Event { return []kairos.Event{m.on(kairos.NotificationHeldOut, hour), bare(m, 0)} }, 0, 0},
		"held out, its moment in data": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationHeldOut, hour, "planned_at", noon.Format(time.RFC3339Nano)), bare(m, 0)}
		}, 0, 1},
		"planned, never sent": {func(m msg) []kairos.Event { return []kairos.Event{m.on(kairos.NotificationPlanned, 0), pay(m, hour)} }, 0, 1},
		"skipped":             {func(m msg) []kairos.Event { return []kairos.Event{m.on(kairos.NotificationSkipped, 0), bare(m, hour)} }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			contact, id := kairos.NewID(), kairos.NewID()
			events := c.events(msg{id: id, contact: contact})
			permute(events[:min(len(events), 5)], func(order []kairos.Event) {
				order = append(order, events[min(len(events), 5):]...)
				got := settled(t, order, nil)
				require.Equal(t, c.attributed, got[creditKey{id, "EUR"}].attributedN)
				require.Equal(t, c.window, got[creditKey{id, "EUR"}].n)
				require.Equal(t, got[creditKey{id, "EUR"}].attributedN, got[creditKey{id, ""}].attributedN)
				require.Equal(t, kairos.Amount(c.attributed)*10*one, got[creditKey{id, "EUR"}].attributed)
			})
		})
	}
}

// settled folds events in memory and returns the accounts. goals names the
// campaigns' goals where they aren't payments.
func settled(t *testing.T, events []kairos.Event, goals map[kairos.ID]string) map[creditKey]credit {
	t.Helper()
	byID := map[kairos.ID]*journey{}
	var journeys []*journey
	var acts []action
	for i := range events {
		e := &events[i]
		if !e.Notification.IsZero() && byID[e.Notification] == nil {
			r := &rules{window: kairos.DefaultAttributionWindow, goal: kairos.PaymentReceived, fast: time.Second, burst: 2 * time.Second}
			if goal := goals[e.Campaign]; goal != "" {
				r.goal = goal
			}
			j := &journey{notification: e.Notification, campaign: e.Campaign, contact: e.Contact, rules: r}
			byID[e.Notification] = j
			journeys = append(journeys, j)
		}
		d := detailOf(e)
		if j := byID[e.Notification]; j != nil {
			j.facts.add(e, &d, nil)
		}
		if a, ok := actionOf(e, &d); ok {
			acts = append(acts, a)
		}
	}
	sums := map[creditKey]credit{}
	settle(journeys, acts, 1, sums)
	return sums
}

func TestOnePaymentOneCampaign(t *testing.T) {
	t.Parallel()
	contact := kairos.NewID()
	a, b := msg{kairos.NewID(), kairos.NewID(), contact}, msg{kairos.NewID(), kairos.NewID(), contact}
	sent := append(a.sent(0), b.sent(hour)...)
	pay := by(contact, kairos.PaymentReceived, 10*hour, paying("1", "EUR")...)
	for name, c := range map[string]struct {
		events []kairos.Event
		winner msg
	}{
		"touched last":                    {[]kairos.Event{a.on(kairos.NotificationOpened, 2*hour), b.on(kairos.NotificationOpened, 3*hour), a.on(kairos.NotificationClicked, 4*hour, "link", 1), pay}, a},
		"touched at all":                  {[]kairos.Event{b.on(kairos.NotificationOpened, 3*hour), pay}, b},
		"a touch after it does not count": {[]kairos.Event{a.on(kairos.NotificationOpened, 3*hour), b.on(kairos.NotificationOpened, 11*hour), pay}, a},
		"same moment: sent last":          {[]kairos.Event{a.on(kairos.NotificationOpened, 3*hour), b.on(kairos.NotificationOpened, 3*hour), pay}, b},
		"the token beats a later touch":   {[]kairos.Event{b.on(kairos.NotificationOpened, 3*hour), a.on(kairos.PaymentReceived, 10*hour, paying("1", "EUR")...)}, a},
	} {
		t.Run(name, func(t *testing.T) {
			permute(c.events, func(order []kairos.Event) {
				got := settled(t, append(append([]kairos.Event(nil), order...), sent...), nil)
				for _, m := range []msg{a, b} {
					want := int64(0)
					if m == c.winner {
						want = 1
					}
					require.Equal(t, want, got[creditKey{m.id, "EUR"}].attributedN)
					require.Equal(t, int64(1), got[creditKey{m.id, "EUR"}].n, "the window counts for every campaign")
				}
			})
		})
	}
}

func TestReceiptsEarnNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	c, receipts := w.campaign(kairos.CampaignSpec{}), w.campaign(kairos.CampaignSpec{Purpose: "transactional"})
	m := w.message(c, kairos.ID{}, kairos.ArmAll)
	r := w.message(receipts, m.contact, kairos.ArmAll)
	w.log(m.sent(minute)...)
	w.log(r.sent(minute)...)
	w.log(m.on(kairos.NotificationOpened, hour), r.on(kairos.NotificationOpened, 2*hour), by(m.contact, kairos.PaymentReceived, 3*hour, paying("9", "EUR")...))
	w.fold()
	require.Equal(t, 9*one, w.roi(c).Attributed.Revenue)
	require.Zero(t, w.roi(receipts).Attributed.Revenue)
	w.log(r.on(kairos.PaymentReceived, 4*hour, paying("2", "EUR")...))
	w.fold()
	require.Equal(t, 2*one, w.roi(receipts).Attributed.Revenue, "but by its own token")
}

func TestGoalsOtherThanPayments(t *testing.T) {
	t.Parallel()
	m := msg{kairos.NewID(), kairos.NewID(), kairos.NewID()}
	goal := func(kind string, extra ...kairos.Event) credit {
		return settled(t, append(m.sent(minute), extra...), map[kairos.ID]string{m.campaign: kind})[creditKey{m.id, ""}]
	}
	require.Equal(t, credit{one, 1, one, 1}, goal(kairos.OfferAccepted, m.on(kairos.OfferAccepted, hour), m.on(kairos.PaymentReceived, hour, paying("3", "EUR")...)))
	require.Equal(t, credit{0, 0, one, 1}, goal("trial.started", by(m.contact, "trial.started", hour)))
	require.Equal(t, credit{one, 1, one, 1}, goal("trial.started", m.on(kairos.NotificationOpened, minute), by(m.contact, "trial.started", hour)))
	require.Equal(t, credit{2 * one, 2, 2 * one, 2}, goal(kairos.NotificationClicked, m.on(kairos.NotificationClicked, hour, "link", 1), m.on(kairos.NotificationClicked, 2*hour, "link", 1),
		m.on(kairos.NotificationClicked, 2*hour, "link", 1, "machine", "head")))
	require.Equal(t, credit{}, goal(kairos.NotificationOpened, m.on(kairos.NotificationOpened, 200*hour)))
}

// story is two campaigns and three people, with everything that can turn an
// earlier count over: bursts, bounces, retries, early payments.
func story(w *world) (campaigns []kairos.ID, events []kairos.Event) {
	c, d := w.campaign(kairos.CampaignSpec{}), w.campaign(kairos.CampaignSpec{Goal: kairos.Goal{Kind: kairos.OfferAccepted}})
	p, q, r := kairos.NewID(), kairos.NewID(), kairos.NewID()
	cp, cq, dp := w.message(c, p, kairos.ArmControl), w.message(c, q, kairos.ArmOptimised), w.message(d, p, kairos.ArmAll)
	cr := w.message(c, r, kairos.ArmHoldout)
	eur, usd := paying("12.34", "EUR"), paying("5", "USD")
	return []kairos.ID{c, d}, slices.Concat(cp.sent(minute), dp.sent(2*hour), []kairos.Event{
		cq.on(kairos.NotificationPlanned, 0), cq.attempt(kairos.NotificationSent, "1", minute), cq.attempt(kairos.NotificationSent, "2", hour),
		cq.attempt(kairos.NotificationAccepted, "2", hour, "links", 2), cq.on(kairos.NotificationBounced, 2*hour),
		cr.on(kairos.NotificationHeldOut, 0), by(r, kairos.PaymentReceived, hour, eur...),
		cp.on(kairos.NotificationOpened, hour), dp.on(kairos.NotificationOpened, 3*hour),
		cp.on(kairos.NotificationClicked, 4*hour, "link", 1), cp.on(kairos.NotificationClicked, 4*hour, "link", 2), cp.on(kairos.NotificationClicked, 4*hour, "link", 3),
		cq.on(kairos.NotificationClicked, 4*hour, "link", 1), cq.on(kairos.NotificationClicked, 4*hour+time.Second, "link", 2), cq.on(kairos.NotificationClicked, 6*hour, "link", 2),
		cp.on(kairos.PaymentReceived, 5*hour, eur...), by(p, kairos.PaymentReceived, 6*hour, usd...), by(p, kairos.PaymentReceived, 90*minute, eur...),
		by(q, kairos.PaymentReceived, 5*hour, eur...), by(q, kairos.PaymentReceived, 7*hour, eur...),
		dp.on(kairos.OfferAccepted, 5*hour), by(p, kairos.OfferAccepted, 6*hour), dp.on(kairos.PageViewed, 5*hour), by(p, kairos.PaymentReceived, 500*hour, eur...),
	})
}

// Every order of arrival, and every way of cutting it into transactions and
// chunks, folds into the same reports.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	ids := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
	rng := rand.New(rand.NewPCG(1, 2))
	want := ""
	for round := range 60 {
		campaigns, events := story(w)
		if round > 0 {
			rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		}
		w.a.opts.Chunk = 1 + rng.IntN(8)
		for len(events) > 0 {
			n := min(1+rng.IntN(10), len(events))
			w.log(events[:n]...)
			events = events[n:]
			if rng.IntN(2) == 0 {
				w.fold()
			}
		}
		w.fold()
		got := ""
		for _, c := range campaigns {
			got += w.dump(`SELECT arm, channel, step, uniques, total FROM rollups WHERE campaign = $1`, c) + "\n" + w.takings(c) + "\n"
			got += w.dump(`SELECT currency, attributed, attributed_n, amount, n FROM conversions WHERE campaign = $1`, c) + "\n"
			got += ids.ReplaceAllString(w.dump(`SELECT arm, starts_at, sent_at, until_at, opened_at, clicked_at, state FROM journeys WHERE campaign = $1`, c), "id") + "\n"
		}
		if round == 0 {
			want = got
		}
		require.Equal(t, want, got, "round %d", round)
	}
	was := w.everything()
	w.a.opts.Chunk = 5000
	require.NoError(t, w.a.Rebuild(context.Background()))
	require.Equal(t, was, w.everything(), "a replay gives the same rows, whatever the chunks were")
}

// A small set in every single order, through the database.
func TestEveryPermutation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{Chunk: 2})
	n := 0
	permute(make([]kairos.Event, 5), func([]kairos.Event) { n++ })
	require.Equal(t, 120, n)
	type set struct {
		c kairos.ID
		m msg
	}
	var sets []set
	build := func() []kairos.Event {
		c := w.campaign(kairos.CampaignSpec{})
		m := w.message(c, kairos.ID{}, kairos.ArmAll)
		sets = append(sets, set{c, m})
		return []kairos.Event{m.on(kairos.NotificationPlanned, 0), m.on(kairos.NotificationAccepted, minute, "provider", "smtp"),
			m.on(kairos.NotificationOpened, hour), by(m.contact, kairos.PaymentReceived, 2*hour, paying("7", "EUR")...), m.on(kairos.NotificationBounced, 3*hour)}
	}
	orders := [][]int{}
	permute(numbered(5), func(order []kairos.Event) {
		o := make([]int, len(order))
		for i := range order {
			o[i] = int(order[i].Version)
		}
		orders = append(orders, o)
	})
	for i, order := range orders {
		events := build()
		for _, k := range order {
			w.log(events[k]) // 120 messages, each in its own order, one event a transaction
		}
		if i%7 == 0 {
			w.fold()
		}
	}
	w.fold()
	for i, s := range sets {
		require.Equal(t, map[string]string{"planned": "1/1", "sent": "1/1", "opened": "1/1", "paid": "1/1", "bounced": "1/1"}, w.steps(s.c), fmt.Sprint(orders[i]))
		require.Equal(t, int64(1), w.roi(s.c).Attributed.Conversions)
	}
}

func numbered(n int) []kairos.Event {
	events := make([]kairos.Event, n)
	for i := range events {
		events[i].Version = int16(i)
	}
	return events
}

func TestReturnOnInvestment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	c := w.campaign(kairos.CampaignSpec{Cost: kairos.Cost{Fixed: 10 * one, PerMessage: one / 1000, Currency: "EUR"}})
	for i := range 40 {
		m := w.message(c, kairos.ID{}, kairos.ArmAll)
		w.log(m.sent(minute)...)
		if i < 20 {
			w.log(m.on(kairos.PaymentReceived, hour, paying("20.00", "EUR")...))
		}
		h := w.message(c, kairos.ID{}, kairos.ArmHoldout)
		w.log(h.on(kairos.NotificationHeldOut, 0))
		if i < 10 {
			w.log(by(h.contact, kairos.PaymentReceived, hour, paying("10.00", "EUR")...))
		}
		if i == 0 {
			w.log(m.on(kairos.PaymentReceived, 2*hour, paying("3", "USD")...))
		}
	}
	w.fold()
	r := w.roi(c)
	require.Equal(t, "EUR", r.Currency)
	require.Equal(t, Attributed{Conversions: 21, Revenue: 400 * one}, r.Attributed)
	require.Equal(t, CostSide{Fixed: 10 * one, Messages: 40 * one / 1000, Total: 10*one + 40*one/1000}, r.Cost)
	require.InDelta(t, (400-10.04)/10.04, *r.ROI, 1e-9)
	in := r.Incremental
	require.Equal(t, int64(40), in.Treated)
	require.Equal(t, int64(40), in.HeldOut)
	require.Equal(t, 300*one, *in.Revenue) // (400/40 - 100/40) x 40
	require.InDelta(t, 11, *in.Conversions, 1e-9)
	// By hand: s1^2 = (8000 - 400^2/40)/39, s0^2 = (1000 - 100^2/40)/39, Welch's df 53.1, t = 2.0057.
	require.Equal(t, "160.01", in.Interval[0].String())
	require.Equal(t, "439.99", in.Interval[1].String())
	require.Equal(t, VerdictBetter, in.Verdict)
	require.Nil(t, in.Needed)
	require.InDelta(t, (300-10.04)/10.04, *r.ROIIncremental, 1e-9)
	require.Len(t, r.OtherCurrencies, 1)
	require.Equal(t, "USD", r.OtherCurrencies[0].Currency)
	require.Equal(t, Attributed{Conversions: 1, Revenue: 3 * one}, r.OtherCurrencies[0].Attributed)

	free := w.roi(w.campaign(kairos.CampaignSpec{}))
	require.Nil(t, free.ROI, "no cost, no ratio")
	require.Nil(t, free.Incremental.Revenue, "no holdout, no estimate")
	require.Equal(t, VerdictNotEnoughData, free.Incremental.Verdict)
	_, err := w.a.ROI(context.Background(), kairos.NewID())
	require.ErrorIs(t, err, kairos.ErrNotFound)
	_, err = w.a.Funnel(context.Background(), kairos.NewID())
	require.ErrorIs(t, err, kairos.ErrNotFound)
}

// What people did may be nobody's goal when it is folded, and that of a campaign
// which comes later: it counts then, as if the goal had been there all along.
func TestGoalThatComesLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	person := w.contact("p")
	first := w.message(w.campaign(kairos.CampaignSpec{}), person, kairos.ArmAll)
	w.log(append(first.sent(minute), first.on(kairos.NotificationClicked, hour, "link", 1), by(person, "trial.started", 2*hour))...)
	w.fold()
	require.Empty(t, w.takings(first.campaign))

	spec := kairos.CampaignSpec{}
	spec.Goal.Kind = "trial.started"
	second := w.message(w.campaign(spec), person, kairos.ArmAll)
	w.log(append(second.sent(minute), second.on(kairos.NotificationClicked, hour, "link", 1))...)
	w.fold()
	require.Empty(t, w.takings(first.campaign))
	require.Contains(t, w.takings(second.campaign), `"attributed_people": 1`)
	before := w.everything()
	w.log(by(person, "trial.started", 3*hour), by(person, "page.scrolled", 3*hour), by(person, kairos.PaymentReceived, 4*hour, paying("10", "EUR")...))
	w.fold()
	require.NotEqual(t, before, w.everything())
	require.Contains(t, w.takings(second.campaign), `"attributed_payments": 2`)
	before = w.everything()
	require.NoError(t, w.a.Rebuild(context.Background()))
	require.Equal(t, before, w.everything())
}
