package dashboard

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis"
	"kairos/creation"
	"kairos/delivery"
	"kairos/internal/devstack"
	"kairos/internal/eventlog"
	"kairos/internal/token"
)

// noon is when the campaigns of the tests were launched.
var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// world is a dashboard on a database with what the stages would have left in it.
type world struct {
	t       testing.TB
	pool    *pgxpool.Pool
	clock   *kairos.ManualClock
	mail    *devstack.Mail
	stages  Options
	server  *httptest.Server
	log     strings.Builder
	handler http.Handler
}

func newWorld(t testing.TB, change func(o *Options)) *world {
	w := &world{t: t, pool: devstack.NewDB(t), clock: kairos.NewManualClock(noon.Add(time.Hour))}
	mail, err := devstack.StartMail(devstack.MailOptions{Clock: w.clock})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mail.Close()) })
	w.mail = mail
	keys, err := token.ParseKeyring("1:" + strings.Repeat("k", 32))
	require.NoError(t, err)
	d, err := delivery.New(w.pool, w.clock, delivery.Options{
		Keyring: keys, PublicURL: "http://localhost", From: delivery.Address{Email: "news@example.com"},
	})
	require.NoError(t, err)
	w.stages = Options{
		Creation: creation.New(w.pool, w.clock, creation.Options{}), Delivery: d,
		Analysis: analysis.New(w.pool, w.clock, analysis.Options{}), Clock: w.clock, Mail: mail,
		Pace: 100 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	}
	if change != nil {
		change(&w.stages)
	}
	w.handler, err = New(w.stages)
	require.NoError(t, err)
	w.server = httptest.NewServer(w.handler)
	t.Cleanup(func() {
		w.server.CloseClientConnections() // live pages don't end by themselves
		w.server.Close()
	})
	return w
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.pool.Exec(context.Background(), sql, args...)
	require.NoError(w.t, err)
}

// campaign stores a launched campaign of that many people, ended at noon where
// its state is an end.
func (w *world) campaign(name, state string, people int) kairos.ID {
	w.t.Helper()
	id, template := kairos.NewID(), kairos.NewID()
	raw, err := json.Marshal(kairos.CampaignSpec{
		Name: name, Purpose: "marketing", Channels: []kairos.Channel{kairos.Email}, Template: template,
		Audience: kairos.Audience{All: true}, Schedule: kairos.Schedule{Mode: kairos.ModeOptimised, Window: kairos.Duration(24 * time.Hour)},
		Cost: kairos.Cost{Fixed: kairos.AmountOf(100), PerMessage: kairos.AmountOf(0.001), Currency: "EUR"},
	})
	require.NoError(w.t, err)
	w.exec(`INSERT INTO templates (id, name, channel, version, created_at, updated_at) VALUES ($1, 't', 'email', 1, $2, $2)`, template, noon)
	w.exec(`INSERT INTO template_versions (template, version, subject, html, text, created_at) VALUES ($1, 1, '', '', '', $2)`, template, noon)
	w.exec(`INSERT INTO campaigns (id, name, purpose, state, spec, template, template_version, audience_size, created_at, updated_at, launched_at, expanded_at, finished_at)
	        VALUES ($1, $2, 'marketing', $3, $4, $5, 1, CASE WHEN $3 <> 'draft' THEN $6::bigint END, $7::timestamptz, $7, CASE WHEN $3 <> 'draft' THEN $7 END,
	                CASE WHEN $3 <> 'draft' THEN $7 END, CASE WHEN $3 IN ('finished', 'cancelled', 'failed') THEN $7 END)`,
		id, name, state, string(raw), template, people, noon)
	return id
}

// people gives a campaign n notifications in a state and returns the first.
func (w *world) people(campaign kairos.ID, n int, state string, reason kairos.Reason, arm kairos.Arm) kairos.ID {
	w.t.Helper()
	ids := kairos.NewIDRange(noon)
	list := make([]kairos.ID, n)
	for i := range list {
		list[i] = ids.Nth(i)
	}
	w.exec(`
		WITH c AS (INSERT INTO contacts (id, email, email_key, first_name, last_name, created_at, updated_at)
		           SELECT id, 'p-' || id || '@example.com', 'p-' || id || '@example.com', 'Ada', 'Lovelace', $4::timestamptz, $4::timestamptz FROM unnest($1::uuid[]) AS id)
		INSERT INTO notifications (id, campaign, contact, batch, channel, state, reason, arm, propensity, zone, planned_at, decided_at, done_at)
		SELECT id, $2::uuid, id, CASE WHEN $3::text NOT IN ('skipped', 'held_out') THEN gen_random_uuid() END, 'email', $3::text, nullif($5, ''), $6, 1,
		       'Europe/Berlin', $4::timestamptz, $4::timestamptz, CASE WHEN $3::text <> 'planned' THEN $4::timestamptz + interval '3 s' END
		FROM unnest($1::uuid[]) AS id`, list, campaign, state, noon, string(reason), string(arm))
	return list[0]
}

// attempt gives a notification an attempt.
func (w *world) attempt(campaign, notification kairos.ID, state, code, detail string) {
	w.t.Helper()
	w.exec(`INSERT INTO attempts (notification, number, campaign, batch, epoch, provider, state, started_at, ended_at, code, detail)
	        VALUES ($1, 1, $2, gen_random_uuid(), 1, 'smtp', $3, $4, $4, $5, $6)`, notification, campaign, state, noon, code, detail)
}

// rollup sets a step of the funnel.
func (w *world) rollup(campaign kairos.ID, arm kairos.Arm, step string, n int) {
	w.t.Helper()
	w.exec(`INSERT INTO rollups (campaign, arm, channel, step, uniques, total) VALUES ($1, $2, 'email', $3, $4, $4)
	        ON CONFLICT (campaign, arm, channel, step) DO UPDATE SET uniques = excluded.uniques, total = excluded.total`, campaign, string(arm), step, n)
}

// revenue sets what an arm brought; currency "" counts the goal's events.
func (w *world) revenue(campaign kairos.ID, arm kairos.Arm, currency string, payments int, each float64) {
	w.t.Helper()
	w.exec(`INSERT INTO revenue SELECT $1::uuid, $2::text, $3::text, n, n, n * x, n, n, n * x, n * x * x FROM (SELECT $4::bigint AS n, $5::float8::numeric AS x) v`,
		campaign, string(arm), currency, payments, each)
}

func (w *world) event(e kairos.Event) {
	w.t.Helper()
	e.ID = kairos.NewID()
	if e.Key == "" {
		e.Key = e.ID.String()
	}
	require.NoError(w.t, pgx.BeginFunc(context.Background(), w.pool, func(tx pgx.Tx) error {
		_, err := eventlog.Append(context.Background(), tx, e)
		return err
	}))
}

// get asks like a browser and returns the answer with its body.
func (w *world) get(path string) (*http.Response, string) {
	w.t.Helper()
	return w.do(http.MethodGet, path, nil)
}

func (w *world) do(method, path string, header http.Header, form ...string) (*http.Response, string) {
	w.t.Helper()
	var body io.Reader
	if len(form) > 0 {
		body = strings.NewReader(form[0])
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.server.URL+path, body)
	require.NoError(w.t, err)
	for name, values := range header {
		r.Header[name] = values
	}
	if len(form) > 0 {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if host := header.Get("Host"); host != "" {
		r.Host = host
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	require.NoError(w.t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	return res, string(b)
}

// autumn is a campaign with something of everything.
func (w *world) autumn() kairos.ID {
	id := w.campaign("Autumn offer", kairos.Running, 2_600)
	first := w.people(id, 1_400, kairos.StateAccepted, "", kairos.ArmOptimised)
	w.people(id, 350, kairos.StateAccepted, "", kairos.ArmControl)
	odd := w.people(id, 4, kairos.StateUnknown, "", kairos.ArmControl)
	w.people(id, 11, kairos.StateFailed, kairos.ReasonRejected, kairos.ArmOptimised)
	w.people(id, 130, kairos.StateSkipped, kairos.ReasonUnsubscribed, kairos.ArmOptimised)
	w.people(id, 42, kairos.StateSkipped, kairos.ReasonNoAddress, kairos.ArmOptimised)
	w.people(id, 200, kairos.StateHeldOut, "", kairos.ArmHoldout)
	w.people(id, 463, kairos.StatePlanned, "", kairos.ArmOptimised)
	w.attempt(id, first, kairos.AttemptAccepted, "250", "2.0.0 Ok: queued")
	w.attempt(id, odd, kairos.AttemptUnknown, "", "connection lost after the last byte")
	for arm, n := range map[kairos.Arm][]int{
		kairos.ArmOptimised: {1_874, 1_400, 1_388, 611, 240, 201, 120, 74, 9, 61}, kairos.ArmControl: {354, 354, 350, 118, 41, 33, 20, 11, 3, 9},
	} {
		for i, step := range analysis.FunnelSteps() {
			w.rollup(id, arm, step, n[i])
		}
	}
	w.rollup(id, kairos.ArmHoldout, analysis.StepHeldOut, 200)
	w.rollup(id, kairos.ArmOptimised, analysis.StepBounced, 16)
	w.rollup(id, kairos.ArmOptimised, analysis.StepMachineOpened, 44)
	w.rollup(id, kairos.ArmOptimised, analysis.StepUnsubscribed, 5)
	w.revenue(id, kairos.ArmOptimised, "", 61, 1)
	w.revenue(id, kairos.ArmOptimised, "EUR", 61, 24.90)
	w.revenue(id, kairos.ArmControl, "", 9, 1)
	w.revenue(id, kairos.ArmControl, "EUR", 9, 24.90)
	w.revenue(id, kairos.ArmHoldout, "", 4, 1)
	w.revenue(id, kairos.ArmHoldout, "EUR", 4, 24.90)
	at := func(d time.Duration, kind, data string) {
		w.event(kairos.Event{Kind: kind, OccurredAt: noon.Add(d), Campaign: id, Contact: first, Notification: first, Data: json.RawMessage(data)})
	}
	w.event(kairos.Event{Kind: kairos.CampaignLaunched, OccurredAt: noon, Campaign: id})
	at(time.Second, kairos.NotificationSent, `{}`)
	at(2*time.Second, kairos.NotificationAccepted, `{"code":"250"}`)
	at(9*time.Minute, kairos.NotificationOpened, `{}`)
	at(10*time.Minute, kairos.NotificationClicked, `{"link":1,"url":"https://shop.example/autumn?sku=4711"}`)
	at(11*time.Minute, kairos.PageViewed, `{}`)
	at(14*time.Minute, kairos.PaymentReceived, `{"amount":"24.90","currency":"EUR"}`)
	return id
}

const mailSource = "From: Kairos <news@example.com>\r\nTo: Ada <ada@example.com>\r\nSubject: =?utf-8?q?Autumn_has_come_=F0=9F=8D=82?=\r\n" +
	"Message-ID: <1@example.com>\r\nList-Unsubscribe: <http://localhost/u/t>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello Ada, autumn has come.\r\n" +
	"--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n%s\r\n--b--\r\n"

// caught puts a mail with that HTML into the inbox.
func (w *world) caught(to, html string) *devstack.Message {
	return w.mail.Deliver("news@example.com", []string{to}, []byte(strings.Replace(mailSource, "%s", html, 1)))
}
