package analysis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestRecord(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, Options{})
	c := w.campaign(kairos.CampaignSpec{})
	ann := w.contact("ann-1")
	m := w.message(c, ann, kairos.ArmAll)
	now := w.clock.Now()
	ev := func(kind string) kairos.Event { return kairos.Event{Kind: kind, Contact: ann} }
	pay := func(data string) kairos.Hit {
		e := ev(kairos.PaymentReceived)
		e.Data = []byte(data)
		return kairos.Hit{Event: e}
	}
	with := func(h kairos.Hit, change func(*kairos.Hit)) kairos.Hit { change(&h); return h }
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	for name, c := range map[string]struct {
		hit   kairos.Hit
		field string // refused because of it
		err   error
	}{
		"plain":                 {hit: kairos.Hit{Event: ev("trial.started")}},
		"by external id":        {hit: kairos.Hit{Event: kairos.Event{Kind: "trial.ended"}, ExternalID: "ann-1"}},
		"by notification":       {hit: kairos.Hit{Event: kairos.Event{Kind: kairos.PageViewed, Notification: m.id}}},
		"payment":               {hit: pay(`{"amount":12.5,"currency":"eur"}`)},
		"payment as text":       {hit: pay(`{"amount":"12.50","currency":"USD","note":"x"}`)},
		"long ago":              {hit: with(kairos.Hit{Event: ev("trial.old")}, func(h *kairos.Hit) { h.Event.OccurredAt = now.AddDate(-3, 0, 0) })},
		"a little ahead":        {hit: with(kairos.Hit{Event: ev("trial.soon")}, func(h *kairos.Hit) { h.Event.OccurredAt = now.Add(4 * time.Minute) })},
		"too far ahead":         {hit: with(kairos.Hit{Event: ev("trial.soon")}, func(h *kairos.Hit) { h.Event.OccurredAt = now.Add(6 * time.Minute) }), field: "occurred_at"},
		"kind without a dot":    {hit: kairos.Hit{Event: ev("trial")}, field: "kind"},
		"kind in capitals":      {hit: kairos.Hit{Event: ev("Trial.started")}, field: "kind"},
		"kind with an end":      {hit: kairos.Hit{Event: ev("trial.")}, field: "kind"},
		"system kind":           {hit: kairos.Hit{Event: ev(kairos.NotificationSent)}, field: "kind"},
		"nobody":                {hit: kairos.Hit{Event: kairos.Event{Kind: "trial.started"}}, field: "contact"},
		"unknown external id":   {hit: kairos.Hit{Event: kairos.Event{Kind: "trial.started"}, ExternalID: "bob"}, err: kairos.ErrNotFound},
		"unknown contact":       {hit: kairos.Hit{Event: kairos.Event{Kind: "trial.started", Contact: kairos.NewID()}}, err: kairos.ErrNotFound},
		"unknown notification":  {hit: kairos.Hit{Event: kairos.Event{Kind: "trial.started", Notification: kairos.NewID()}}, err: kairos.ErrNotFound},
		"payment of nothing":    {hit: pay(``), field: "amount"},
		"payment of null":       {hit: pay(`{"amount":null,"currency":"EUR"}`), field: "amount"},
		"payment of words":      {hit: pay(`{"amount":"ten","currency":"EUR"}`), field: "amount"},
		"payment with exponent": {hit: pay(`{"amount":1e3,"currency":"EUR"}`), field: "amount"},
		"negative payment":      {hit: pay(`{"amount":"-1","currency":"EUR"}`), field: "amount"},
		"no currency":           {hit: pay(`{"amount":"1"}`), field: "currency"},
		"long currency":         {hit: pay(`{"amount":"1","currency":"EURO"}`), field: "currency"},
		"currency of a number":  {hit: pay(`{"amount":"1","currency":978}`), field: "currency"},
		"data is a list":        {hit: with(kairos.Hit{Event: ev("trial.started")}, func(h *kairos.Hit) { h.Event.Data = []byte(`[1]`) }), field: "data"},
		"data is broken":        {hit: with(kairos.Hit{Event: ev("trial.started")}, func(h *kairos.Hit) { h.Event.Data = []byte(`{"a":`) }), field: "data"},
		"data is deep":          {hit: with(kairos.Hit{Event: ev("trial.started")}, func(h *kairos.Hit) { h.Event.Data = []byte(deep) }), field: "data"},
		"data is long":          {hit: with(kairos.Hit{Event: ev("trial.started")}, func(h *kairos.Hit) { h.Event.Data = object("a", strings.Repeat("x", kairos.MaxData)) }), field: "data"},
		"data no database has":  {hit: with(kairos.Hit{Event: ev("trial.huge")}, func(h *kairos.Hit) { h.Event.Data = []byte(`{"n":1e999999}`) }), field: "data"},
		"NUL in the key":        {hit: with(kairos.Hit{Event: ev("trial.started")}, func(h *kairos.Hit) { h.Event.Key = "a\x00" }), field: "key"},
		"long key":              {hit: with(kairos.Hit{Event: ev("trial.started")}, func(h *kairos.Hit) { h.Event.Key = strings.Repeat("k", 300) }), field: "key"},
	} {
		t.Run(name, func(t *testing.T) {
			companion := kairos.Hit{Event: kairos.Event{Kind: "companion.of", Contact: ann, Key: name}}
			got, err := w.a.Record(ctx, []kairos.Hit{c.hit, companion})
			require.NoError(t, err)
			require.NoError(t, got[1].Err, "one bad item does not stop the others")
			require.False(t, got[1].ID.IsZero())
			switch {
			case c.field != "":
				var f *kairos.FieldError
				require.True(t, errors.As(got[0].Err, &f), fmt.Sprint(got[0].Err))
				require.Equal(t, c.field, f.Field)
			case c.err != nil:
				require.ErrorIs(t, got[0].Err, c.err)
			default:
				require.NoError(t, got[0].Err)
				require.False(t, got[0].Duplicate)
				require.Equal(t, "1", w.lines(`SELECT count(*)::text FROM events WHERE id = $1 AND contact = $2`, got[0].ID, ann))
			}
		})
	}
	require.Equal(t, "12.50 EUR\n12.50 USD", w.lines(`SELECT (data->>'amount') || ' ' || (data->>'currency') FROM events WHERE kind = 'payment.received'`))
	_, err := w.a.Record(ctx, make([]kairos.Hit, MaxRecord+1))
	require.ErrorIs(t, err, kairos.ErrInvalid)
}

func TestRecordOnceForEver(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	w := newWorld(t, Options{})
	ann := w.contact("ann-1")
	m := w.message(w.campaign(kairos.CampaignSpec{}), ann, kairos.ArmAll)
	pay := kairos.Event{Kind: kairos.PaymentReceived, Key: "order-17", Data: object(paying("5", "EUR")...)}
	byToken, byName, byContact := kairos.Hit{Event: pay}, kairos.Hit{Event: pay, ExternalID: "ann-1"}, kairos.Hit{Event: pay}
	byToken.Event.Notification, byContact.Event.Contact = m.id, ann
	byName.Event.OccurredAt = w.clock.Now().AddDate(0, 0, -9)

	first, err := w.a.Record(ctx, []kairos.Hit{byToken})
	require.NoError(t, err)
	require.False(t, first[0].Duplicate)
	again, err := w.a.Record(ctx, []kairos.Hit{byName, byContact, byToken})
	require.NoError(t, err)
	for _, r := range again {
		require.NoError(t, r.Err)
		require.True(t, r.Duplicate, "one order is one payment, by whichever way it is told")
		require.Equal(t, first[0].ID, r.ID)
	}
	require.Equal(t, "1", w.lines(`SELECT count(*)::text FROM events`))
	w.log(m.sent(0)...)
	w.fold()
	require.Equal(t, int64(1), w.roi(m.campaign).Attributed.Conversions)
}
