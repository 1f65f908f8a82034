package orchestration

import (
	"encoding/json"
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
)

// launched puts a running campaign with one page of n contacts into the
// database and returns its id and the page's contacts.
func launched(t testing.TB, pool *pgxpool.Pool, spec kairos.CampaignSpec, n int) (kairos.ID, []kairos.ID) {
	t.Helper()
	contacts := audience(t, pool, n)
	return launch(t, pool, spec, contacts), contacts
}

func audience(t testing.TB, pool *pgxpool.Pool, n int) []kairos.ID {
	t.Helper()
	contacts := make([]kairos.ID, n)
	for i := range contacts {
		contacts[i] = kairos.NewID()
	}
	_, err := pool.Exec(t.Context(), `
		INSERT INTO contacts (id, email, email_key, timezone, created_at, updated_at)
		SELECT c, c || '@example.com', c || '@example.com', (ARRAY['Europe/Berlin', 'America/New_York', 'Mars/Olympus', NULL])[1 + i % 4], now(), now()
		FROM unnest($1::uuid[]) WITH ORDINALITY AS u(c, i)`, contacts)
	require.NoError(t, err)
	return contacts
}

// launch puts a running campaign into the database whose pages are these.
func launch(t testing.TB, pool *pgxpool.Pool, spec kairos.CampaignSpec, pages ...[]kairos.ID) kairos.ID {
	t.Helper()
	raw, err := json.Marshal(spec)
	require.NoError(t, err)
	id, tpl := kairos.NewID(), kairos.NewID()
	for _, q := range []struct {
		sql  string
		args []any
	}{
		{`INSERT INTO templates VALUES ($1, 't', 'email', 1, now(), now())`, []any{tpl}},
		{`INSERT INTO template_versions VALUES ($1, 1, 's', 'h', 't', now())`, []any{tpl}},
		{`INSERT INTO campaigns (id, name, purpose, state, spec, template, template_version, created_at, updated_at, launched_at)
		  VALUES ($1, 'c', 'marketing', 'running', $2, $3, 1, $4, $4, $4)`, []any{id, raw, tpl, monday}},
	} {
		_, err := pool.Exec(t.Context(), q.sql, q.args...)
		require.NoError(t, err)
	}
	for i, contacts := range pages {
		_, err := pool.Exec(t.Context(), `INSERT INTO audience_pages VALUES ($1, $2, $3)`, id, i, contacts)
		require.NoError(t, err)
	}
	return id
}

func page(t testing.TB, pool *pgxpool.Pool, campaign kairos.ID) PlanTask {
	t.Helper()
	return pageTask(t, pool, campaign, 0)
}

// pageTask queues a page of a campaign.
func pageTask(t testing.TB, pool *pgxpool.Pool, campaign kairos.ID, number int) PlanTask {
	t.Helper()
	require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := batch.Insert(t.Context(), tx, batch.Batch{Kind: kairos.KindPlan, Campaign: campaign, Slot: monday, Payload: map[string]int{"page": number}})
		return err
	}))
	bells, err := batch.Due(t.Context(), pool, kairos.KindPlan, monday, 64)
	refs := batch.Refs(bells)
	require.NoError(t, err)
	require.Len(t, refs, 1)
	return PlanTask{refs[0]}
}

func count(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), sql, args...).Scan(&n))
	return n
}

func TestPlanTwiceIsOnce(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	o := New(pool, kairos.NewManualClock(monday), Options{BatchSize: 30})
	spec := optimised(kairos.Experiment{Holdout: .1, Control: .3, Explore: .3}).spec
	id, contacts := launched(t, pool, spec, 400)
	task := page(t, pool, id)
	tasks, err := o.Plan(t.Context(), task)
	require.NoError(t, err)
	require.NotEmpty(t, tasks)
	again, err := o.Plan(t.Context(), task)
	require.NoError(t, err)
	require.Empty(t, again)
	require.Equal(t, len(contacts), count(t, pool, `SELECT count(*) FROM notifications WHERE campaign = $1`, id))
	require.Equal(t, len(contacts), count(t, pool, `SELECT count(*) FROM events WHERE campaign = $1`, id))
	require.Equal(t, len(tasks), count(t, pool, `SELECT count(*) FROM batches WHERE campaign = $1 AND kind = 'delivery.send' AND state = 'planned'`, id))
	// Each batch is exactly the range of its ids, of one instant, and not over its size.
	require.Zero(t, count(t, pool, `
		SELECT count(*) FROM batches b WHERE kind = 'delivery.send' AND (
			size > 30 OR size <> (SELECT count(*) FROM notifications n WHERE n.id BETWEEN b.lo AND b.hi)
			OR size <> (SELECT count(*) FROM notifications n WHERE n.batch = b.id AND n.planned_at = b.slot))`))
	require.Equal(t, count(t, pool, `SELECT count(*) FROM notifications WHERE state = 'planned'`),
		count(t, pool, `SELECT coalesce(sum(size), 0) FROM batches WHERE kind = 'delivery.send'`))
	require.Positive(t, count(t, pool, `SELECT count(*) FROM notifications WHERE state = 'held_out' AND batch IS NULL`))
	require.Positive(t, count(t, pool, `SELECT count(*) FROM notifications WHERE reason = 'unknown_zone' AND state = 'planned' AND zone = 'UTC'`))
}

func TestPlanThatCrashesBeforeTheCommitLeavesNothing(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	o := New(pool, kairos.NewManualClock(monday), Options{})
	id, contacts := launched(t, pool, kairos.CampaignSpec{Purpose: "marketing", Schedule: kairos.Schedule{Mode: kairos.ModeNow}}, 10)
	task := page(t, pool, id)
	// Another holder takes the batch over while this one works: its commit must fail whole.
	_, err := pool.Exec(t.Context(), `
		CREATE FUNCTION steal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			UPDATE batches SET epoch = epoch + 1, state = 'planned' WHERE id = '`+task.Batch.String()+`'; RETURN NEW; END $$;
		CREATE TRIGGER steal AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION steal()`)
	require.NoError(t, err)
	_, err = o.Plan(t.Context(), task)
	require.ErrorIs(t, err, batch.ErrFenced)
	require.Zero(t, count(t, pool, `SELECT count(*) FROM notifications`))
	_, err = pool.Exec(t.Context(), `DROP TRIGGER steal ON events; UPDATE batches SET state = 'running', lease_until = now() - interval '1 s'`)
	require.NoError(t, err)
	require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := batch.Reissue(t.Context(), tx, task.Ref)
		return err
	}))
	bells, err := batch.Due(t.Context(), pool, kairos.KindPlan, monday, 64)
	refs := batch.Refs(bells)
	require.NoError(t, err)
	_, err = o.Plan(t.Context(), PlanTask{refs[0]})
	require.NoError(t, err)
	require.Equal(t, len(contacts), count(t, pool, `SELECT count(*) FROM notifications`))
}

func TestSuppressionBindsByAddressAndByPerson(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	o := New(pool, kairos.NewManualClock(monday), Options{})
	id, contacts := launched(t, pool, kairos.CampaignSpec{Purpose: "marketing", Schedule: kairos.Schedule{Mode: kairos.ModeNow}}, 4)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO suppressions (channel, address, scope, contact, reason, created_at) VALUES
		 ('email', sha256(convert_to($1::text || '@example.com', 'UTF8')), 'all', NULL, 'bounced', now()),
		 ('email', '\x00', 'marketing', $2, 'unsubscribed', now())`, contacts[0].String(), contacts[1])
	require.NoError(t, err)
	_, err = o.Plan(t.Context(), page(t, pool, id))
	require.NoError(t, err)
	rows, err := pool.Query(t.Context(), `SELECT contact, coalesce(reason, '') FROM notifications WHERE state = 'skipped'`)
	require.NoError(t, err)
	got := map[kairos.ID]string{}
	var who kairos.ID
	var why string
	_, err = pgx.ForEachRow(rows, []any{&who, &why}, func() error { got[who] = why; return nil })
	require.NoError(t, err)
	require.Equal(t, map[kairos.ID]string{contacts[0]: "suppressed", contacts[1]: "unsubscribed"}, got)
}

func TestNotifyWithOneKeyIsOneMessage(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	o := New(pool, kairos.NewManualClock(monday), Options{})
	id, contacts := launched(t, pool, kairos.CampaignSpec{Purpose: "transactional", Schedule: kairos.Schedule{Mode: kairos.ModeNow}}, 1)
	in := NotifyInput{Campaign: id, Contact: contacts[0], Key: "receipt-9", Data: map[string]any{"total": "12.50"}}
	ticket := kairos.Ticket{ID: kairos.NewID(), Origin: "api", CreatedAt: monday}
	first, created, err := o.Notify(t.Context(), in, ticket)
	require.NoError(t, err)
	require.True(t, created)
	second, created, err := o.Notify(t.Context(), in, ticket)
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, first, second)
	require.Equal(t, 1, count(t, pool, `SELECT count(*) FROM batches WHERE kind = 'delivery.send_first' AND priority = 1`))
	_, _, err = o.Notify(t.Context(), NotifyInput{Campaign: id, Contact: kairos.NewID()}, ticket)
	require.ErrorIs(t, err, kairos.ErrNotFound)
}

func TestForgetRemovesTheValuesOfErasedPeople(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	o := New(pool, kairos.NewManualClock(monday), Options{})
	id, contacts := launched(t, pool, kairos.CampaignSpec{Purpose: "transactional", Schedule: kairos.Schedule{Mode: kairos.ModeNow}}, 2)
	_, err := pool.Exec(t.Context(), `UPDATE campaigns SET kind = 'transactional'`)
	require.NoError(t, err)
	for _, c := range contacts {
		_, _, err := o.Notify(t.Context(), NotifyInput{Campaign: id, Contact: c, Data: map[string]any{"name": "Ada"}}, kairos.Ticket{})
		require.NoError(t, err)
	}
	require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := eventlog.Append(t.Context(), tx, kairos.Event{Kind: kairos.ContactErased, Contact: contacts[0], OccurredAt: monday})
		return err
	}))
	require.Eventually(t, func() bool {
		require.NoError(t, o.Forget(t.Context()))
		return count(t, pool, `SELECT count(*) FROM notifications WHERE data IS NULL`) == 1
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, 1, count(t, pool, `SELECT count(*) FROM notifications WHERE contact = $1 AND data IS NOT NULL`, contacts[1]))
}

func TestSweepCancelsWhatIsNotInFlight(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	o := New(pool, kairos.NewManualClock(monday), Options{BatchSize: 5})
	id, contacts := launched(t, pool, kairos.CampaignSpec{Purpose: "marketing", Schedule: kairos.Schedule{Mode: kairos.ModeNow}}, 12)
	_, err := o.Plan(t.Context(), page(t, pool, id))
	require.NoError(t, err)
	_, err = pool.Exec(t.Context(), `
		INSERT INTO attempts (notification, number, campaign, batch, epoch, provider, state, started_at)
		SELECT id, 1, campaign, batch, 1, 'smtp', 'sending', now() FROM notifications WHERE contact = $1`, contacts[3])
	require.NoError(t, err)
	require.NoError(t, pg.InTx(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), `UPDATE campaigns SET state = 'cancelled' WHERE id = $1`, id); err != nil {
			return err
		}
		return batch.CancelCampaign(t.Context(), tx, id)
	}))
	for range 2 {
		require.NoError(t, o.Sweep(t.Context()))
		require.Equal(t, 11, count(t, pool, `SELECT count(*) FROM notifications WHERE state = 'cancelled' AND reason = 'cancelled'`))
		require.Equal(t, 1, count(t, pool, `SELECT count(*) FROM notifications WHERE state = 'planned'`))
	}
}

func BenchmarkDecide(b *testing.B) {
	c := optimised(kairos.Experiment{Holdout: .05, Control: .2, Explore: .1})
	p := someone()
	loc := load(b, "Europe/Berlin")
	for b.Loop() {
		_ = decide(c, p, loc, true, monday)
	}
}
