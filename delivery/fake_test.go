package delivery

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
	"kairos/internal/token"
)

// fake is a provider whose answers a test writes. It counts what it accepted,
// which is what a receiving side would count.
type fake struct {
	name   string
	limits Limits
	answer func(ctx context.Context, m *Message) Result // nil: accepted

	mu       sync.Mutex
	accepted map[kairos.ID]int // by contact
	calls    int
	messages []*Message
}

func newFake(batch, concurrency int) *fake {
	return &fake{name: "fake", limits: Limits{Batch: batch, Concurrency: concurrency, Timeout: 5 * time.Second}, accepted: map[kairos.ID]int{}}
}

func (f *fake) Name() string            { return f.name }
func (f *fake) Channel() kairos.Channel { return kairos.Email }
func (f *fake) Limits() Limits          { return f.limits }
func (f *fake) Close() error            { return nil }

func (f *fake) Send(ctx context.Context, msgs []*Message) []Result {
	out := make([]Result, len(msgs))
	f.mu.Lock()
	f.calls++
	f.messages = append(f.messages, msgs...)
	f.mu.Unlock()
	for i, m := range msgs {
		out[i] = Result{Outcome: Accepted, ProviderID: "p-" + m.Ref.String()}
		if f.answer != nil {
			out[i] = f.answer(ctx, m)
		}
		if out[i].Outcome == Accepted {
			f.accept(m)
		}
	}
	return out
}

func (f *fake) accept(m *Message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.accepted[m.Contact]++
}

func (f *fake) total() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.accepted {
		n += c
	}
	return n
}

func (f *fake) most() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.accepted {
		n = max(n, c)
	}
	return n
}

// world is one database with one planned campaign.
type world struct {
	t        testing.TB
	ctx      context.Context
	pool     *pgxpool.Pool
	clock    *kairos.ManualClock
	ring     *token.Keyring
	campaign kairos.ID
	template kairos.ID
	people   []kairos.ID
	notes    []kairos.ID
	batches  []kairos.ID
}

var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// plan makes a running campaign of n people in batches of size.
func plan(t testing.TB, n, size int, change ...func(*kairos.CampaignSpec)) *world {
	t.Helper()
	return planIn(t, devstack.NewDB(t), n, size, change...)
}

func planIn(t testing.TB, pool *pgxpool.Pool, n, size int, change ...func(*kairos.CampaignSpec)) *world {
	t.Helper()
	w := &world{t: t, ctx: context.Background(), pool: pool, clock: kairos.NewManualClock(start), campaign: kairos.NewIDAt(start), template: kairos.NewID()}
	var err error
	w.ring, err = token.ParseKeyring("1:00112233445566778899aabbccddeeff")
	require.NoError(t, err)
	spec := kairos.CampaignSpec{Name: "Autumn", Purpose: "marketing", Topic: "news", Template: w.template, Channels: []kairos.Channel{kairos.Email}}
	for _, c := range change {
		c(&spec)
	}
	kind := "campaign"
	if !spec.Marketing() {
		kind = "transactional"
	}
	_, err = w.pool.Exec(w.ctx, `INSERT INTO templates VALUES ($1, 'a', 'email', 1, $2, $2)`, w.template, start)
	require.NoError(t, err)
	_, err = w.pool.Exec(w.ctx, `INSERT INTO template_versions VALUES ($1, 1, 'Hi {{ contact.first_name }}',
		'<html><body><p>Hello {{ contact.first_name }} of {{ contact.city }}</p><a href="https://shop.example/a?b=1#c">go</a></body></html>', '', $2)`, w.template, start)
	require.NoError(t, err)
	_, err = w.pool.Exec(w.ctx, `INSERT INTO campaigns (id, name, kind, purpose, state, spec, template, template_version, audience_size, created_at, updated_at, launched_at, expanded_at)
		VALUES ($1, $2, $3, $4, 'running', $5, $6, 1, $7, $8, $8, $8, $8)`, w.campaign, spec.Name, kind, spec.Purpose, spec, w.template, n, start)
	require.NoError(t, err)
	w.add(n, size, kind)
	return w
}

func (w *world) add(n, size int, kind string) {
	t := w.t
	taskKind := kairos.KindSend
	if kind == "transactional" {
		taskKind = kairos.KindUrgent
	}
	var people, notes [][]any
	var batches []batch.Batch
	for at := 0; at < n; at += size {
		r := kairos.NewIDRange(start)
		b := batch.Batch{ID: kairos.NewID(), Kind: taskKind, Campaign: w.campaign, Channel: kairos.Email, Slot: start, Size: min(size, n-at), Ticket: kairos.NewID()}
		for i := range b.Size {
			p, id := kairos.NewID(), r.Nth(i)
			email := fmt.Sprintf("P%d@example.org", len(w.people))
			people = append(people, []any{p, email, fmt.Sprintf("p%d@example.org", len(w.people)), "Ann", "Lee", `{"city":"Oslo"}`, "{}", start, start})
			notes = append(notes, []any{id, w.campaign, p, "", b.ID, "email", "planned", "all", 1.0, start, start})
			w.people, w.notes = append(w.people, p), append(w.notes, id)
			b.Hi = id
			if i == 0 {
				b.Lo = id
			}
		}
		w.batches = append(w.batches, b.ID)
		batches = append(batches, b)
	}
	require.NoError(t, pg.InTx(w.ctx, w.pool, func(tx pgx.Tx) error {
		if _, err := tx.CopyFrom(w.ctx, pgx.Identifier{"contacts"}, []string{"id", "email", "email_key", "first_name", "last_name", "attributes", "preferences", "created_at", "updated_at"}, pgx.CopyFromRows(people)); err != nil {
			return err
		}
		if _, err := tx.CopyFrom(w.ctx, pgx.Identifier{"notifications"}, []string{"id", "campaign", "contact", "step", "batch", "channel", "state", "arm", "propensity", "planned_at", "decided_at"}, pgx.CopyFromRows(notes)); err != nil {
			return err
		}
		_, err := batch.Insert(w.ctx, tx, batches...)
		return err
	}))
}

func (w *world) delivery(providers ...Provider) *Delivery {
	w.t.Helper()
	return w.deliveryWith(Options{Providers: providers})
}

func (w *world) deliveryWith(o Options) *Delivery {
	w.t.Helper()
	o.Keyring, o.PublicURL, o.From = w.ring, "https://go.example/", Address{"Shop", "news@shop.example"}
	d, err := New(w.pool, w.clock, o)
	require.NoError(w.t, err)
	return d
}

// due queues what is due and returns the tasks.
func (w *world) due() []kairos.Ref {
	w.t.Helper()
	var all []kairos.Ref
	for _, kind := range []string{kairos.KindUrgent, kairos.KindSend} {
		bells, err := batch.Due(w.ctx, w.pool, kind, w.clock.Now(), 1000)
		refs := batch.Refs(bells)
		require.NoError(w.t, err)
		all = append(all, refs...)
	}
	return all
}

// drain sends whatever is due until nothing is.
func (w *world) drain(d *Delivery) {
	w.t.Helper()
	for range 100 {
		refs := w.due()
		if len(refs) == 0 {
			return
		}
		for _, ref := range refs {
			_, err := d.Send(w.ctx, SendTask{ref})
			require.NoError(w.t, err)
		}
	}
	w.t.Fatal("there is always more to send")
}

// counts returns the rows of a table by state.
func (w *world) counts(table string) map[string]int {
	w.t.Helper()
	rows, err := w.pool.Query(w.ctx, `SELECT state, count(*) FROM `+table+` GROUP BY 1`)
	require.NoError(w.t, err)
	out := map[string]int{}
	var state string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&state, &n}, func() error { out[state] = n; return nil })
	require.NoError(w.t, err)
	return out
}

func (w *world) events() map[string]int {
	w.t.Helper()
	rows, err := w.pool.Query(w.ctx, `SELECT kind, count(*) FROM events GROUP BY 1`)
	require.NoError(w.t, err)
	out := map[string]int{}
	var kind string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&kind, &n}, func() error { out[kind] = n; return nil })
	require.NoError(w.t, err)
	return out
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	_, err := w.pool.Exec(w.ctx, sql, args...)
	require.NoError(w.t, err)
}

func (w *world) append(events ...kairos.Event) {
	w.t.Helper()
	require.NoError(w.t, pg.InTx(w.ctx, w.pool, func(tx pgx.Tx) error {
		_, err := eventlog.Append(w.ctx, tx, events...)
		return err
	}))
}

// eventually polls until ok.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// feedback lets delivery read the log to its end. Other tests' transactions
// hold the settled part back, so it may take a few calls.
func (w *world) feedback(d *Delivery) {
	w.t.Helper()
	w.eventually("the end of the log", func() bool {
		require.NoError(w.t, d.Feedback(w.ctx))
		var behind int
		require.NoError(w.t, w.pool.QueryRow(w.ctx, `
			SELECT count(*) FROM events e WHERE (e.xid, e.position) > (
				SELECT coalesce(max(xid::text::bigint), 0)::text::xid8, coalesce(max(position), 0) FROM event_cursors WHERE reader = $1)
			AND e.kind <> ALL ($2)`, feedbackReader, []string{kairos.NotificationSent, kairos.NotificationAccepted, kairos.NotificationUnknown, kairos.NotificationResolved, kairos.NotificationSkipped}).Scan(&behind))
		return behind == 0
	})
}
