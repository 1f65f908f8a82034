package analysis

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

// people writes the notifications of a campaign and numbers them from 1.
func (w *world) people(campaign kairos.ID, people int) {
	w.t.Helper()
	w.exec(`INSERT INTO notifications (id, campaign, contact, channel, state, arm, propensity, planned_at, decided_at)
		SELECT (lpad(to_hex((extract(epoch FROM $2::timestamptz) * 1000)::bigint + i / 100), 12, '0') || '7' || substr(md5(i::text), 1, 3) || 'a' || substr(md5(i::text), 4, 15))::uuid,
		       $1, gen_random_uuid(), 'email', 'planned', (ARRAY['control', 'optimised', 'explore'])[1 + i % 3], 1, $2, $2
		FROM generate_series(1, $3::int) i`, campaign, noon, people)
	w.exec(`CREATE TABLE numbered AS SELECT row_number() OVER (ORDER BY id) AS i, id, contact FROM notifications WHERE campaign = $1`, campaign)
	w.exec(`CREATE UNIQUE INDEX ON numbered (i)`)
}

// insert writes an event of a kind for everybody that where names.
func (w *world) insert(campaign kairos.ID, kind, key, data, where string, after int, args ...any) {
	w.t.Helper()
	w.exec(`INSERT INTO events (id, kind, subject, key, occurred_at, day, campaign, contact, notification, data)
		SELECT gen_random_uuid(), $2, id, $3, $4::timestamptz + make_interval(secs => $5), ($4::timestamptz)::date, $1, contact, id, $6::jsonb
		FROM numbered WHERE `+where+` ORDER BY i`, append([]any{campaign, kind, key, noon, after, data}, args...)...)
}

// planned, left and happened write a phase of a campaign for people, in
// transactions of 1,000 as the stages do, and return how many events it has.
func (w *world) planned(campaign kairos.ID, people int) int {
	for from := 1; from <= people; from += 1000 {
		w.insert(campaign, kairos.NotificationPlanned, "", `{}`, `i BETWEEN $7 AND $8`, 0, from, from+999)
	}
	return people
}

func (w *world) left(campaign kairos.ID, people int) int {
	for from := 1; from <= people; from += 1000 {
		w.insert(campaign, kairos.NotificationSent, "1", `{"provider":"smtp"}`, `i BETWEEN $7 AND $8`, 60, from, from+999)
		w.insert(campaign, kairos.NotificationAccepted, "1", `{"provider":"smtp","code":"250"}`, `i BETWEEN $7 AND $8`, 60, from, from+999)
	}
	return 2 * people
}

func (w *world) happened(campaign kairos.ID, kind, data string, after, people int) int {
	for from := 1; from <= people; from += 1000 {
		w.insert(campaign, kind, "a", data, `i BETWEEN $7 AND $8`, after, from, min(from+999, people))
	}
	return people
}

// populate writes the log of one campaign in SQL: planned, sent and accepted
// for everybody; then opens (20 %), clicks (5 %), views (4 %) and payments
// (2 %). It returns how many events there are.
func (w *world) populate(campaign kairos.ID, people int) int {
	w.t.Helper()
	w.people(campaign, people)
	w.planned(campaign, people)
	w.left(campaign, people)
	w.insert(campaign, kairos.NotificationOpened, "a", `{"agent":"Mozilla/5.0"}`, `i % 5 = 0`, 3600)
	w.insert(campaign, kairos.NotificationClicked, "a", `{"link":1,"url":"https://shop.example/"}`, `i % 20 = 0`, 3700)
	w.insert(campaign, kairos.PageViewed, "a", `{"path":"/"}`, `i % 25 = 0`, 3800)
	w.insert(campaign, kairos.PaymentReceived, "a", `{"amount":"19.90","currency":"EUR"}`, `i % 50 = 0`, 4000)
	return people*3 + people/5 + people/20 + people/25 + people/50
}

func BenchmarkFold(b *testing.B) {
	for _, people := range []int{10_000, 300_000} {
		b.Run(fmt.Sprintf("people=%d", people), func(b *testing.B) {
			w := newWorld(b, Options{})
			c := w.campaign(kairos.CampaignSpec{Cost: kairos.Cost{Fixed: one}})
			events := w.populate(c, people)
			w.settled()
			b.ResetTimer()
			for range b.N {
				require.NoError(b, w.a.Rebuild(context.Background()))
			}
			b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
			b.StopTimer()
			f, err := w.a.Funnel(context.Background(), c)
			require.NoError(b, err)
			require.Equal(b, int64(people), f.Steps[1].Unique)
			require.Equal(b, int64(people/50), f.Steps[9].Unique)
		})
	}
}

// BenchmarkFoldMixed folds 100,000 events: a campaign's own three of each
// person, what followed within the day, and (organic) pages seen and payments
// made a day later by people that are known.
func BenchmarkFoldMixed(b *testing.B) {
	for _, organic := range []int{0, 12_000} {
		b.Run(fmt.Sprintf("organic=%d", organic), func(b *testing.B) {
			w := newWorld(b, Options{})
			c := w.campaign(kairos.CampaignSpec{Cost: kairos.Cost{Fixed: one}})
			events := w.populate(c, (100_000-organic)*100/331) + organic
			w.clock.Set(noon.Add(72 * hour))
			w.exec(`INSERT INTO contacts (id, timezone, created_at, updated_at) SELECT contact, 'Europe/Berlin', $1, $1 FROM numbered`, noon)
			w.exec(`INSERT INTO events (id, kind, subject, key, occurred_at, day, contact, data)
				SELECT gen_random_uuid(), CASE WHEN i % 2 = 0 THEN 'page.viewed' ELSE 'product.viewed' END, contact, '', at, at::date, contact, '{}'
				FROM (SELECT i, contact, $1::timestamptz + make_interval(hours => 25 + (i % 24)::int) AS at FROM numbered WHERE i <= $2) x`, noon, organic)
			w.settled()
			b.ResetTimer()
			for range b.N {
				require.NoError(b, w.a.Rebuild(context.Background()))
			}
			b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
			b.StopTimer()
			var profiles int
			require.NoError(b, w.pool.QueryRow(context.Background(), `SELECT count(*) FROM profiles`).Scan(&profiles))
			require.Equal(b, organic, profiles)
		})
	}
}

func BenchmarkReports(b *testing.B) {
	ctx := context.Background()
	w := newWorld(b, Options{})
	c := w.campaign(kairos.CampaignSpec{Cost: kairos.Cost{Fixed: one}})
	w.populate(c, 300_000)
	w.settled()
	require.NoError(b, w.a.Rebuild(ctx))
	b.Run("funnel", func(b *testing.B) {
		for range b.N {
			_, err := w.a.Funnel(ctx, c)
			require.NoError(b, err)
		}
	})
	b.Run("roi", func(b *testing.B) {
		for range b.N {
			_, err := w.a.ROI(ctx, c)
			require.NoError(b, err)
		}
	})
}
