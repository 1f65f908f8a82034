package analysis

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/dto"
	"kairos/internal/eventlog"
)

func TestProfilesSaturate(t *testing.T) {
	t.Parallel()
	p := profile{}
	for day := range int64(3) { // beyond it nothing overflows
		require.True(t, p.add(activeHour{day: day, weight: 3e38}))
	}
	require.Equal(t, float32(math.MaxFloat32), p.activity[0])
}

// person adds a contact who lives in a zone.
func (w *world) person(zone string) kairos.ID {
	id := w.contact("")
	w.exec(`UPDATE contacts SET external_id = NULL, timezone = nullif($2, '') WHERE id = $1`, id, zone)
	return id
}

// active returns how many hours with activity a profile holds, by local hour,
// each as of its own day; nil: there is no profile. days names the day that all
// of them lie on.
func (w *world) active(contact kairos.ID, day time.Time) map[int]int {
	w.t.Helper()
	var activity []float32
	err := w.pool.QueryRow(w.t.(*testing.T).Context(), `SELECT activity FROM profiles WHERE contact = $1`, contact).Scan(&activity)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	require.NoError(w.t, err)
	require.Len(w.t, activity, kairos.HoursPerDay)
	counts := map[int]int{}
	for h, a := range activity {
		if a != 0 {
			n := float64(a) / dto.ActivityWeight(day)
			require.InDelta(w.t, math.Round(n), n, 0.05, "hour %d", h)
			counts[h] = int(math.Round(n))
		}
	}
	return counts
}

// when returns an action of a person at an instant.
func when(contact kairos.ID, at string) kairos.Event {
	t, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		panic(err)
	}
	e := by(contact, "product.viewed", 0)
	e.OccurredAt = t
	return e
}

func TestProfileHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.clock.Set(time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	for name, c := range map[string]struct {
		zone string
		at   []string
		want map[int]int
	}{
		"no zone: the default one":            {"", []string{"2026-03-02T12:10:00Z"}, map[int]int{12: 1}},
		"unknown zone: the default one":       {"Mars/Olympus", []string{"2026-03-02T12:10:00Z"}, map[int]int{12: 1}},
		"the server's own zone is nobody's":   {"Local", []string{"2026-03-02T12:10:00Z"}, map[int]int{12: 1}},
		"local hour":                          {"America/New_York", []string{"2026-03-02T12:10:00Z"}, map[int]int{7: 1}},
		"quarter of an hour off":              {"Asia/Kathmandu", []string{"2026-03-02T12:10:00Z", "2026-03-02T12:20:00Z"}, map[int]int{17: 1, 18: 1}},
		"once per hour that passed":           {"", []string{"2026-03-02T12:00:00Z", "2026-03-02T12:59:59.999999Z", "2026-03-02T13:00:00Z"}, map[int]int{12: 1, 13: 1}},
		"the same hour on another day":        {"", []string{"2026-03-02T12:10:00Z", "2026-03-03T12:10:00Z"}, map[int]int{12: 2}},
		"a gap in spring: 02 is never active": {"Europe/Berlin", []string{"2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"}, map[int]int{1: 1, 3: 1}},
		"an overlap in autumn: 02 counts once": {"Europe/Berlin", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"},
			map[int]int{2: 1, 3: 1}},
		"days end at the person's midnight": {"Pacific/Auckland", []string{"2026-03-02T10:30:00Z", "2026-03-02T11:30:00Z"}, map[int]int{23: 1, 0: 1}},
		"out of order":                      {"", []string{"2026-03-04T12:00:00Z", "2026-03-02T12:00:00Z", "2026-03-03T12:00:00Z"}, map[int]int{12: 3}},
		"before our time":                   {"", []string{"2019-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "1901-01-01T00:00:00Z", "0001-01-01T00:00:00Z"}, nil},
		"in the future":                     {"", []string{"2026-12-01T01:00:01Z", "2999-01-01T00:00:00Z"}, nil},
		"a clock that runs ahead a little":  {"", []string{"2026-12-01T00:59:00Z"}, map[int]int{0: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			for split, log := range map[string]func([]kairos.Event){
				"one chunk": func(events []kairos.Event) { w.log(events...); w.fold() },
				"each by itself": func(events []kairos.Event) {
					for _, e := range events {
						w.log(e)
						w.fold()
					}
				},
			} {
				id := w.person(c.zone)
				var events []kairos.Event
				for _, at := range c.at {
					events = append(events, when(id, at))
				}
				log(events)
				day := noon
				if len(c.want) > 0 {
					day = events[0].OccurredAt
				}
				require.Equal(t, c.want, w.active(id, day), split)
			}
		})
	}
}

// Whose activity it is, whether a person did it, and whether it answers one of
// our messages.
func TestProfileTakesOrganicActivityOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.clock.Set(noon.Add(100 * 24 * hour))
	c := w.campaign(kairos.CampaignSpec{})
	const W = 24 * hour // of ResponseWindow
	sent := func(m msg) []kairos.Event { return m.sent(0) }
	for name, did := range map[string]struct {
		events func(m msg) []kairos.Event
		want   map[int]int
	}{
		"page, cta, offers, payment, custom": {func(m msg) []kairos.Event {
			var all []kairos.Event
			for i, kind := range []string{kairos.PageViewed, kairos.CTAClicked, kairos.OfferAccepted, kairos.OfferDeclined, "trial.started"} {
				all = append(all, by(m.contact, kind, time.Duration(i)*hour))
			}
			return append(all, by(m.contact, kairos.PaymentReceived, 5*hour, paying("1", "EUR")...))
		}, map[int]int{12: 1, 13: 1, 14: 1, 15: 1, 16: 1, 17: 1}},
		"what a machine did": {func(m msg) []kairos.Event {
			return []kairos.Event{by(m.contact, kairos.PageViewed, 0, "machine", "scanner"), by(m.contact, "order.renewed", 0, "machine", true)}
		}, nil},
		"a payment that is none": {func(m msg) []kairos.Event {
			return []kairos.Event{by(m.contact, kairos.PaymentReceived, 0, paying("-1", "EUR")...)}
		}, nil},
		"facts of the system": {func(m msg) []kairos.Event {
			return append(sent(m), m.on(kairos.NotificationDelivered, 2*W), m.on(kairos.NotificationBounced, 2*W), m.on(kairos.ProviderOpened, 2*W),
				m.on(kairos.ContactUnsubscribed, 2*W), by(m.contact, kairos.ContactPreferred, 2*W))
		}, nil},
		"late open and click, by a human": {func(m msg) []kairos.Event {
			return append(sent(m), m.on(kairos.NotificationOpened, W+hour), m.on(kairos.NotificationClicked, W+2*hour, "link", 1))
		}, map[int]int{13: 1, 14: 1}},
		"late machine open, HEAD click": {func(m msg) []kairos.Event {
			return append(sent(m), m.on(kairos.NotificationOpened, W+hour, "machine", "prefetch"), m.on(kairos.NotificationClicked, W+2*hour, "link", 1, "machine", "head"))
		}, nil},
		"late burst of clicks": {func(m msg) []kairos.Event {
			return append(sent(m), m.on(kairos.NotificationClicked, 2*W, "link", 1), m.on(kairos.NotificationClicked, 2*W+time.Millisecond, "link", 2),
				m.on(kairos.NotificationClicked, 2*W+2*time.Millisecond, "link", 3))
		}, nil},
		"open of a message that nobody planned": {func(m msg) []kairos.Event {
			m.id = kairos.NewID()
			return []kairos.Event{m.on(kairos.NotificationOpened, hour)}
		}, nil},
		"inside the window": {func(m msg) []kairos.Event {
			return append(sent(m), by(m.contact, kairos.PageViewed, 5*hour), m.on(kairos.NotificationOpened, hour), m.on(kairos.NotificationClicked, hour, "link", 1))
		}, nil},
		"just before the window": {func(m msg) []kairos.Event {
			return append(m.sent(hour), by(m.contact, kairos.PageViewed, hour-time.Microsecond))
		}, map[int]int{12: 1}},
		"at its beginning": {func(m msg) []kairos.Event { return append(m.sent(hour), by(m.contact, kairos.PageViewed, hour)) }, nil},
		"just before its end": {func(m msg) []kairos.Event {
			return append(m.sent(hour), by(m.contact, kairos.PageViewed, hour+W-time.Microsecond))
		}, nil},
		"at its end": {func(m msg) []kairos.Event { return append(m.sent(hour), by(m.contact, kairos.PageViewed, hour+W)) }, map[int]int{13: 1}},
		"the window told after the deed": {func(m msg) []kairos.Event {
			return append([]kairos.Event{by(m.contact, kairos.PageViewed, 5*hour)}, sent(m)...)
		}, nil},
		"by the message's token, ahead of the word that it left": {func(m msg) []kairos.Event {
			return append(m.sent(hour), m.on(kairos.PageViewed, hour-time.Second))
		}, nil},
		"by the token of a message that never left": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationPlanned, 0), m.on(kairos.PageViewed, hour)}
		}, nil},
		"beside a message that was refused": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationPlanned, 0), m.on(kairos.NotificationSent, 0), m.on(kairos.NotificationRejected, 0), by(m.contact, kairos.PageViewed, hour)}
		}, map[int]int{13: 1}},
		"held out": {func(m msg) []kairos.Event {
			return []kairos.Event{m.on(kairos.NotificationHeldOut, 0), by(m.contact, kairos.PageViewed, hour)}
		}, map[int]int{13: 1}},
		"inside the window of another message": {func(m msg) []kairos.Event {
			other := w.message(c, m.contact, kairos.ArmAll)
			return append(append(sent(m), other.sent(2*W)...), m.on(kairos.NotificationOpened, 2*W+hour), m.on(kairos.NotificationOpened, 3*W+hour))
		}, map[int]int{13: 1}},
		"1,000 events in one hour": {func(m msg) (all []kairos.Event) {
			for i := range 1000 {
				all = append(all, by(m.contact, kairos.PageViewed, time.Duration(i)*3*time.Second))
			}
			return all
		}, map[int]int{12: 1}},
		"reported again": {func(m msg) []kairos.Event {
			e := by(m.contact, kairos.PageViewed, 0)
			again := e
			again.ID = kairos.NewID()
			return []kairos.Event{e, again, e}
		}, map[int]int{12: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, chunk := range []int{5_000, 1} {
				if chunk == 1 && (name == "the window told after the deed" || name == "late burst of clicks") {
					continue // these depend on where chunks end, see Analysis.profile
				}
				w.a.opts.Chunk = chunk
				// A window of another message must be another campaign's: one message for a person in each.
				c = w.campaign(kairos.CampaignSpec{})
				m := w.message(w.campaign(kairos.CampaignSpec{}), w.person(""), kairos.ArmAll)
				w.log(did.events(m)...)
				w.fold()
				require.Equal(t, did.want, w.active(m.contact, noon), "chunk of %d", chunk)
			}
		})
	}
	w.a.opts.Chunk = 5_000
	was := w.dump(`SELECT * FROM profiles`)
	require.Contains(t, was, `"hours"`)
	w.fold()
	require.Equal(t, was, w.dump(`SELECT * FROM profiles`), "twice is once")
}

func TestProfileAcrossFolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.clock.Set(noon.Add(100 * 24 * hour))
	id := w.person("")
	page := func(after time.Duration) { w.log(by(id, kairos.PageViewed, after)); w.fold() }
	page(0)
	page(10 * minute)
	require.Equal(t, map[int]int{12: 1}, w.active(id, noon), "the hour is remembered")
	page(24 * hour)
	page(24*hour + minute)
	require.Equal(t, map[int]int{12: 2}, w.active(id, noon))
	page(hour)
	require.Equal(t, map[int]int{12: 2, 13: 1}, w.active(id, noon), "late, for an older day")
	page(24*hour + 2*minute)
	require.Equal(t, map[int]int{12: 2, 13: 1}, w.active(id, noon), "which forgets nothing of the newest day")

	w.exec(`UPDATE contacts SET timezone = 'Asia/Tokyo' WHERE id = $1`, id)
	page(48 * hour)
	require.Equal(t, map[int]int{12: 2, 13: 1, 21: 1}, w.active(id, noon), "a new zone holds from here on")
}

// What is read is activity as of now: an event of one half-life ago is worth half.
func TestProfileFades(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	half := time.Duration(dto.HalfLife * 24 * float64(time.Hour))
	w.clock.Set(noon.Add(half))
	id := w.person("")
	w.log(by(id, kairos.PageViewed, 0), by(id, kairos.PageViewed, half+hour/2))
	w.fold()
	var activity []float32
	require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT activity FROM profiles WHERE contact = $1`, id).Scan(&activity))
	require.InDelta(t, 1.5, float64(activity[12])/dto.ActivityWeight(noon.Add(half)), 1e-6)
}

func TestProfileErasedAndUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	w.clock.Set(noon.Add(100 * 24 * hour))
	gone, stays, unknown := w.person(""), w.person(""), kairos.NewID()
	erase := func(id kairos.ID) kairos.Event {
		w.exec(`UPDATE contacts SET erased_at = $2 WHERE id = $1`, id, noon)
		e := by(id, kairos.ContactErased, hour)
		return e
	}
	w.log(by(gone, kairos.PageViewed, 0), by(stays, kairos.PageViewed, 0), by(unknown, kairos.PageViewed, 0))
	w.fold()
	require.Equal(t, map[int]int{12: 1}, w.active(gone, noon))
	require.Equal(t, map[int]int{12: 1}, w.active(stays, noon))
	require.Nil(t, w.active(unknown, noon), "no contact")

	w.log(erase(gone))
	w.fold()
	require.Nil(t, w.active(gone, noon))
	w.log(by(gone, kairos.PageViewed, 2*hour)) // reported late
	w.fold()
	require.Nil(t, w.active(gone, noon), "nothing begins anew")
	require.Equal(t, map[int]int{12: 1}, w.active(stays, noon))

	quick := w.person("")
	w.log(by(quick, kairos.PageViewed, 0), erase(quick), by(quick, kairos.PageViewed, 2*hour)) // in one chunk
	w.fold()
	require.Nil(t, w.active(quick, noon))

	was := w.everything()
	require.NoError(t, w.a.Rebuild(t.Context()))
	require.Equal(t, was, w.everything(), "a replay gives the same rows")
}

// The profile commits with the cursor or not at all.
func TestProfileKilledBetweenChunks(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, Options{Chunk: 2})
	w.clock.Set(noon.Add(100 * 24 * hour))
	id := w.person("Europe/Berlin")
	for day := range 6 {
		w.log(by(id, kairos.PageViewed, time.Duration(day)*24*hour))
	}
	w.settled()
	die := func(ctx context.Context, tx pgx.Tx, events []kairos.Event) error {
		require.NoError(t, w.a.fold(ctx, tx, events))
		return pgx.ErrTxClosed
	}
	for range 3 {
		_, err := eventlog.Tail(ctx, w.pool, reader, eventlog.Filter{Facts: true}, 2, die)
		require.ErrorIs(t, err, pgx.ErrTxClosed)
		_, err = eventlog.Tail(ctx, w.pool, reader, eventlog.Filter{Facts: true}, 2, w.a.fold)
		require.NoError(t, err)
	}
	require.Equal(t, 6, w.active(id, noon.Add(60*hour))[13])
	was := w.everything()
	w.fold()
	require.NoError(t, w.a.Rebuild(ctx))
	require.Equal(t, was, w.everything())
	require.True(t, strings.Contains(was, "activity"))
}

// A journey knows the model that chose its hour, also after a replay.
func TestJourneyKnowsItsModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	c := w.campaign(kairos.CampaignSpec{})
	with, without := w.message(c, kairos.ID{}, kairos.ArmOptimised), w.message(c, kairos.ID{}, kairos.ArmControl)
	w.exec(`UPDATE notifications SET model = 7 WHERE id = $1`, with.id)
	w.log(append(with.sent(minute), without.sent(minute)...)...)
	w.fold()
	w.log(with.on(kairos.NotificationOpened, hour)) // a later chunk leaves it
	w.fold()
	for range 2 {
		require.Equal(t, `{"arm": "control", "model": null}`+"\n"+`{"arm": "optimised", "model": 7}`, w.dump(`SELECT arm, model FROM journeys`))
		require.NoError(t, w.a.Rebuild(t.Context()))
	}
}
