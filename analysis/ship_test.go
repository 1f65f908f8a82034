package analysis

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
	"kairos/internal/pg"
	"kairos/internal/spool"
)

func openSpool(t testing.TB, dir string) *spool.Spool {
	t.Helper()
	sp, err := spool.Open(spool.Options{Dir: dir, MaxAge: 10 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { _ = sp.Close() })
	return sp
}

func spoolHit(t testing.TB, sp *spool.Spool, h kairos.Hit) {
	t.Helper()
	raw, err := json.Marshal(h)
	require.NoError(t, err)
	require.NoError(t, sp.Append(t.Context(), h.Event.ID, raw))
}

// shipping runs the shipper until done says so.
func shipping(t testing.TB, a *Analysis, sp *spool.Spool, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Ship(ctx, sp) }()
	require.Eventually(t, done, 30*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
}

func empty(sp *spool.Spool) func() bool { return func() bool { return sp.Stats().Segments == 0 } }

func hitOf(m msg, kind string, after time.Duration, data ...any) kairos.Hit {
	return kairos.Hit{Event: kairos.Event{ID: kairos.NewID(), Kind: kind, OccurredAt: noon.Add(after), Campaign: m.campaign, Notification: m.id, Data: object(data...)}}
}

func TestShipFillsAndDeduplicates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	c := w.campaign(kairos.CampaignSpec{})
	m := w.message(c, kairos.ID{}, kairos.ArmAll)
	ann := w.contact("ann-1")
	sp := openSpool(t, t.TempDir())

	open := hitOf(m, kairos.NotificationOpened, hour)
	again := open
	again.Event.ID = kairos.NewID()
	elsewhere := hitOf(m, kairos.NotificationOpened, hour+2*time.Second)
	elsewhere.Event.Campaign = kairos.ID{}
	wrong := hitOf(m, kairos.NotificationClicked, hour, "link", 1)
	wrong.Event.Campaign = kairos.NewID()
	other := hitOf(m, kairos.NotificationClicked, hour, "link", 2)
	order := hitOf(m, kairos.PaymentReceived, hour, paying("5", "EUR")...)
	order.Event.Key, order.Keyed = "order-17", true
	nextDay := order
	nextDay.Event.ID, nextDay.Event.OccurredAt = kairos.NewID(), noon.Add(30*hour)
	named := kairos.Hit{Event: kairos.Event{ID: kairos.NewID(), Kind: "trial.started", OccurredAt: noon}, ExternalID: "ann-1"}
	unknown := kairos.Hit{Event: kairos.Event{ID: kairos.NewID(), Kind: "trial.started", OccurredAt: noon}, ExternalID: "nobody"}
	lost := hitOf(msg{id: kairos.NewID(), campaign: c}, kairos.NotificationOpened, hour)
	for _, h := range []kairos.Hit{open, again, elsewhere, wrong, other, order, nextDay, named, unknown, lost} {
		spoolHit(t, sp, h)
	}
	shipping(t, w.a, sp, empty(sp))
	require.Equal(t, strings.Join([]string{
		"notification.clicked|1|1|0", "notification.clicked|1|1|0", // two links
		"notification.opened|0|1|0",                              // of a message nobody knows: kept
		"notification.opened|1|1|0", "notification.opened|1|1|0", // one of three was a repeat
		"payment.received|1|1|1",
		"trial.started|0|0|0", "trial.started|1|0|0",
	}, "\n"), w.lines(`SELECT kind || '|' || (contact IS NOT NULL)::int || '|' || (campaign IS NOT NULL)::int || '|' || (key = 'order-17')::int FROM events`))
	require.Equal(t, "1", w.lines(`SELECT count(*)::text FROM events WHERE contact = $1 AND kind = 'trial.started'`, ann))
	require.Equal(t, "4", w.lines(`SELECT count(*)::text FROM events WHERE campaign = $1 AND contact = $2 AND kind LIKE 'notification.%'`, c, m.contact))
	require.Equal(t, Stats{Shipped: 8, Unresolved: 2}, w.a.Stats())
}

// Segments of every age lie side by side after an upgrade: hits as JSON, and
// in the form that collectors write now.
func TestShipReadsBothForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	m := w.message(w.campaign(kairos.CampaignSpec{}), kairos.ID{}, kairos.ArmAll)
	sp := openSpool(t, t.TempDir())
	old, now := hitOf(m, kairos.NotificationClicked, hour, "link", 1), hitOf(m, kairos.NotificationClicked, hour, "link", 2)
	again := hitOf(m, kairos.NotificationClicked, hour, "link", 1)
	paid := hitOf(m, kairos.PaymentReceived, hour, paying("5", "EUR")...)
	paid.Event.Key, paid.Keyed = "order-18", true
	spoolHit(t, sp, old)
	for _, h := range []kairos.Hit{now, again, paid} {
		require.NoError(t, sp.Append(t.Context(), h.Event.ID, spool.AppendHit(nil, &h)))
	}
	shipping(t, w.a, sp, empty(sp))
	require.Equal(t, "notification.clicked|1|"+old.Event.ID.String()+"\nnotification.clicked|2|"+now.Event.ID.String()+"\npayment.received||"+paid.Event.ID.String(),
		w.lines(`SELECT kind || '|' || coalesce(data ->> 'link', '') || '|' || id FROM events WHERE contact = $1`, m.contact))
	require.Equal(t, Stats{Shipped: 3}, w.a.Stats())
}

func (w *world) lines(sql string, args ...any) string {
	w.t.Helper()
	rows, err := w.pool.Query(context.Background(), `SELECT * FROM (`+sql+`) x ORDER BY 1`, args...)
	require.NoError(w.t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w.t, err)
	return strings.Join(lines, "\n")
}

func TestShipQuarantinesBadRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	m := w.message(w.campaign(kairos.CampaignSpec{}), kairos.ID{}, kairos.ArmAll)
	dir := t.TempDir()
	sp := openSpool(t, dir)
	good := 0
	bad := []string{``, `{`, `[]`, `{"event":{}}`, `{"event":{"kind":"no","occurred_at":"2026-03-02T12:00:00Z"}}`,
		`{"event":{"kind":"a.b"}}`, `{"event":{"kind":"a.b","occurred_at":"2026-03-02T12:00:00Z","data":[1]}}`,
		`{"event":{"kind":"a.b","occurred_at":"2026-03-02T12:00:00Z","data":{"a":"\u0000"}}}`,
		`{"event":{"kind":"a.b","occurred_at":"2026-03-02T12:00:00Z","key":"\u0000"}}`,
		// Go takes it, Postgres does not: found by halving.
		`{"event":{"kind":"a.b","occurred_at":"2026-03-02T12:00:00Z","data":{"n":1e999999}}}`}
	for _, payload := range bad {
		for range 3 {
			spoolHit(t, sp, hitOf(m, kairos.PageViewed, time.Duration(good)*minute))
			good++
		}
		require.NoError(t, sp.Append(t.Context(), kairos.NewID(), []byte(payload)))
	}
	shipping(t, w.a, sp, empty(sp))
	require.Equal(t, fmt.Sprint(good), w.lines(`SELECT count(*)::text FROM events`))
	require.Equal(t, Stats{Shipped: int64(good), Quarantined: int64(len(bad))}, w.a.Stats())
	kept, err := os.ReadDir(filepath.Join(dir, "quarantine"))
	require.NoError(t, err)
	require.NotEmpty(t, kept, "the bytes are there for a person to look at")
}

// A segment that was committed but not removed is shipped again: nothing new.
func TestShipTwiceIsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Options{})
	m := w.message(w.campaign(kairos.CampaignSpec{}), kairos.ID{}, kairos.ArmAll)
	dir := t.TempDir()
	sp := openSpool(t, dir)
	for i := range 50 {
		spoolHit(t, sp, hitOf(m, kairos.NotificationClicked, time.Duration(i)*minute, "link", i))
	}
	sp.Seal()
	copies := t.TempDir()
	require.Eventually(t, func() bool {
		found, err := filepath.Glob(filepath.Join(dir, "*.seg"))
		require.NoError(t, err)
		if len(found) == 0 || sp.Stats().Appended != 50 {
			return false
		}
		for _, name := range found {
			raw, err := os.ReadFile(name)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(copies, filepath.Base(name)), raw, 0o600))
		}
		return true
	}, 10*time.Second, time.Millisecond)
	shipping(t, w.a, sp, empty(sp))
	require.Equal(t, "50", w.lines(`SELECT count(*)::text FROM events`))
	crashed := openSpool(t, copies)
	require.Positive(t, crashed.Stats().Segments)
	shipping(t, w.a, crashed, empty(crashed))
	require.Equal(t, "50", w.lines(`SELECT count(*)::text FROM events`))
}

// Postgres goes away under the shipper and comes back: everything arrives.
func TestShipSurvivesPostgres(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server := devstack.NewPostgres(t, devstack.PostgresOptions{})
	pool, err := pg.Open(ctx, server.URL("kairos"))
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	w := &world{t: t, pool: pool, clock: kairos.NewManualClock(noon)}
	w.a = New(pool, w.clock, Options{})
	m := w.message(w.campaign(kairos.CampaignSpec{}), kairos.ID{}, kairos.ArmAll)
	sp := openSpool(t, t.TempDir())

	shipCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.a.Ship(shipCtx, sp) }()
	for i := range 300 {
		spoolHit(t, sp, hitOf(m, kairos.NotificationClicked, time.Duration(i)*minute, "link", i))
		switch i {
		case 100:
			require.NoError(t, server.Stop(true))
		case 200:
			require.NoError(t, server.Start(ctx))
		}
	}
	require.Eventually(t, empty(sp), 60*time.Second, 20*time.Millisecond)
	cancel()
	require.NoError(t, <-ended)
	require.Equal(t, "300", w.lines(`SELECT count(*)::text FROM events`))
}

func FuzzDecodeHit(f *testing.F) {
	f.Add([]byte(`{"event":{"kind":"page.viewed","occurred_at":"2026-03-02T12:00:00Z","data":{"a":[1,{"b":null}]}},"keyed":true,"external_id":"x"}`))
	f.Add([]byte(`{"event":{"kind":"a.b","occurred_at":"2026-03-02T12:00:00Z","data":"\u0000"}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		hit, err := decodeHit(kairos.NewID(), payload)
		if err != nil {
			return
		}
		e := hit.Event
		require.True(t, kairos.ValidKind(e.Kind))
		require.LessOrEqual(t, len(e.Key), kairos.MaxKey)
		require.LessOrEqual(t, kairos.JSONDepth(e.Data), kairos.MaxDepth)
		d := detailOf(&e)
		_, _ = actionOf(&e, &d)
		var fs facts
		fs.add(&e, &d, nil)
		fs.read(&reading{}, &rules{window: time.Hour, fast: time.Second, burst: time.Second})
	})
}
