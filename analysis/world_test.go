package analysis

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
	"kairos/internal/eventlog"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(devstack.Goroutine))
}

// noon is when the campaigns of the tests are planned for.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// world is a database with what the earlier stages would have left in it.
type world struct {
	t     testing.TB
	pool  *pgxpool.Pool
	clock *kairos.ManualClock
	a     *Analysis
}

func newWorld(t testing.TB, opts Options) *world {
	pool := devstack.NewDB(t)
	clock := kairos.NewManualClock(noon.Add(24 * time.Hour))
	return &world{t: t, pool: pool, clock: clock, a: New(pool, clock, opts)}
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.pool.Exec(context.Background(), sql, args...)
	require.NoError(w.t, err)
}

func (w *world) campaign(spec kairos.CampaignSpec) kairos.ID {
	w.t.Helper()
	id, template := kairos.NewID(), kairos.NewID()
	raw, err := json.Marshal(spec)
	require.NoError(w.t, err)
	w.exec(`INSERT INTO templates (id, name, channel, version, created_at, updated_at) VALUES ($1, 't', 'email', 1, $2, $2)`, template, noon)
	w.exec(`INSERT INTO template_versions (template, version, subject, html, text, created_at) VALUES ($1, 1, '', '', '', $2)`, template, noon)
	w.exec(`INSERT INTO campaigns (id, name, purpose, state, spec, template, template_version, created_at, updated_at)
	        VALUES ($1, 'c', 'marketing', 'running', $2, $3, 1, $4, $4)`, id, string(raw), template, noon)
	return id
}

func (w *world) contact(externalID string) kairos.ID {
	id := kairos.NewID()
	w.exec(`INSERT INTO contacts (id, external_id, created_at, updated_at) VALUES ($1, $2, $3, $3)`, id, externalID, noon)
	return id
}

// msg is one message to one person.
type msg struct {
	id, campaign, contact kairos.ID
}

func (w *world) message(campaign, contact kairos.ID, arm kairos.Arm) msg {
	m := msg{kairos.NewID(), campaign, contact}
	if contact.IsZero() {
		m.contact = kairos.NewID()
	}
	w.exec(`INSERT INTO notifications (id, campaign, contact, channel, state, arm, propensity, planned_at, decided_at)
	        VALUES ($1, $2, $3, 'email', 'planned', $4, 1, $5, $5)`, m.id, m.campaign, m.contact, string(arm), noon)
	return m
}

// on is a fact about the message, after noon. More pairs are data.
func (m msg) on(kind string, after time.Duration, data ...any) kairos.Event {
	e := kairos.Event{ID: kairos.NewID(), Kind: kind, OccurredAt: noon.Add(after),
		Campaign: m.campaign, Contact: m.contact, Notification: m.id}
	switch kind {
	case kairos.NotificationSent, kairos.NotificationAccepted, kairos.NotificationUnknown, kairos.NotificationRejected:
		e.Key = "1"
	case kairos.NotificationPlanned, kairos.NotificationHeldOut, kairos.NotificationSkipped:
	default:
		e.Key = e.ID.String()
	}
	e.Data = object(data...)
	return e
}

func (m msg) attempt(kind string, number string, after time.Duration, data ...any) kairos.Event {
	e := m.on(kind, after, data...)
	e.Key = number
	return e
}

func (m msg) sent(after time.Duration) []kairos.Event {
	return []kairos.Event{m.on(kairos.NotificationPlanned, 0), m.on(kairos.NotificationSent, after),
		m.on(kairos.NotificationAccepted, after, "provider", "smtp")}
}

// by is an action of a person that came by no message.
func by(contact kairos.ID, kind string, after time.Duration, data ...any) kairos.Event {
	id := kairos.NewID()
	return kairos.Event{ID: id, Kind: kind, Key: id.String(), OccurredAt: noon.Add(after), Contact: contact, Data: object(data...)}
}

func object(pairs ...any) json.RawMessage {
	if len(pairs) == 0 {
		return nil
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw
}

// log appends events, each call in one transaction.
func (w *world) log(events ...kairos.Event) {
	w.t.Helper()
	ctx := context.Background()
	require.NoError(w.t, pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		_, err := eventlog.Append(ctx, tx, events...)
		return err
	}))
}

// fold waits until no transaction is open, then runs the stage as the leader
// and a worker would, until it has nothing left to do. The tests share a
// server, and a snapshot's xmin is the server's: a transaction that another
// test holds open holds everybody's log back.
func (w *world) fold() {
	w.t.Helper()
	w.settled()
	w.foldSettled()
	require.Equal(w.t, w.dump(armsRecounted), w.dump(`SELECT * FROM arms`), "what the arms count is what the journeys say")
}

// armsRecounted counts the arms from the journeys and the accounts.
const armsRecounted = `
	SELECT campaign, arm, coalesce(model, 0) AS model, count(*) AS sent, count(*) FILTER (WHERE responded) AS responses, min(sent_at) AS began_at
	FROM (SELECT j.campaign, j.arm, j.model, j.sent_at,
	             j.clicked_at IS NOT NULL
	             OR j.state ?| ARRAY['more_clicks', 'viewed', 'cta', 'offer_accepted', 'offer_declined']
	             OR EXISTS (SELECT FROM conversions v WHERE v.notification = j.notification AND v.attributed_n > 0
	                        AND (v.currency <> '' OR coalesce(c.spec -> 'goal' ->> 'kind', '') <> 'notification.opened')) AS responded
	      FROM journeys j LEFT JOIN campaigns c ON c.id = j.campaign WHERE j.sent_at IS NOT NULL) j
	GROUP BY 1, 2, 3`

func (w *world) settled() {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		var waiting bool
		err := w.pool.QueryRow(context.Background(),
			`SELECT EXISTS (SELECT FROM events WHERE xid >= pg_snapshot_xmin(pg_current_snapshot()))`).Scan(&waiting)
		require.NoError(w.t, err)
		return !waiting
	}, 30*time.Second, 5*time.Millisecond)
}

// foldSettled is fold without the wait.
func (w *world) foldSettled() {
	w.t.Helper()
	ctx := context.Background()
	for range 1000 {
		require.NoError(w.t, w.a.Arm(ctx))
		bells, err := batch.Due(ctx, w.pool, kairos.KindFold, w.clock.Now(), 10)
		refs := batch.Refs(bells)
		require.NoError(w.t, err)
		if len(refs) == 0 {
			require.Empty(w.t, w.dump(`SELECT error FROM batches WHERE id = $1 AND state = 'planned'`, kairos.MustID(foldBatch)))
			return
		}
		for _, ref := range refs {
			_, err := w.a.Fold(ctx, FoldTask{ref})
			require.NoError(w.t, err)
		}
	}
	w.t.Fatal("the fold does not come to an end")
}

// dump returns a table's rows in order, one line each.
func (w *world) dump(sql string, args ...any) string {
	w.t.Helper()
	rows, err := w.pool.Query(context.Background(), `SELECT to_jsonb(x)::text FROM (`+sql+`) x ORDER BY 1`, args...)
	require.NoError(w.t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w.t, err)
	return strings.Join(lines, "\n")
}

// everything is all that the fold owns.
func (w *world) everything() string {
	var b strings.Builder
	for _, name := range []string{"journeys", "actions", "rollups", "arms", "revenue", "conversions", "profiles"} {
		fmt.Fprintf(&b, "%s\n%s\n", name, w.dump(`SELECT * FROM `+name))
	}
	return b.String()
}

// steps returns "step unique/total" of a campaign, zeros left out.
func (w *world) steps(campaign kairos.ID) map[string]string {
	w.t.Helper()
	f, err := w.a.Funnel(context.Background(), campaign)
	require.NoError(w.t, err)
	out := map[string]string{}
	for _, s := range append(f.Steps, f.Apart...) {
		if s.Total != 0 {
			out[s.Step] = fmt.Sprintf("%d/%d", s.Unique, s.Total)
		}
	}
	return out
}

func paying(amount, currency string) []any { return []any{"amount", amount, "currency", currency} }
