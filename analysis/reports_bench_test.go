package analysis

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

// BenchmarkReportsAtSize asks for reports where the tables are large: half of
// KAIROS_JOURNEYS messages (default 200,000) are one campaign's, the other half
// fifty campaigns', and the log holds as many events, all folded but the last. No
// report may cost more for it.
func BenchmarkReportsAtSize(b *testing.B) {
	journeys := 200_000
	if n, err := strconv.Atoi(os.Getenv("KAIROS_JOURNEYS")); err == nil {
		journeys = n
	}
	ctx := context.Background()
	w := newWorld(b, Options{})
	spec := optimisedSpec(kairos.Experiment{Holdout: 0.1, Control: 0.2, Explore: 0.1})
	spec.Cost = kairos.Cost{Fixed: one}
	large := w.campaign(spec)
	campaigns := []kairos.ID{large}
	for range 50 {
		campaigns = append(campaigns, w.campaign(spec))
	}
	w.exec(`SELECT kairos_ensure_partitions($1::date, 30, 30)`, noon)
	const step = 100_000
	for from := 1; from <= journeys; from += step {
		w.exec(`WITH j AS (
			INSERT INTO journeys (notification, campaign, contact, arm, channel, starts_at, sent_at, until_at, clicked_at, state)
			SELECT gen_random_uuid(), CASE WHEN i % 2 = 0 THEN $1 ELSE ($2::uuid[])[2 + (i / 2) % 50] END, gen_random_uuid(),
			       (ARRAY['control', 'optimised', 'optimised', 'explore', 'holdout'])[1 + i % 5], 'email', $3::timestamptz,
			       CASE WHEN i % 5 < 4 THEN $3::timestamptz END, $3::timestamptz,
			       CASE WHEN i % 20 = 0 THEN $3::timestamptz END, '{"start": 1772452800000000, "planned": true}'
			FROM generate_series($4::int, $5::int) i RETURNING notification, campaign, contact)
			INSERT INTO events (id, kind, subject, key, occurred_at, day, campaign, contact, notification)
			SELECT gen_random_uuid(), 'page.viewed', notification, '', $3::timestamptz, ($3::timestamptz)::date - $4::int / 100000 % 20, campaign, contact, notification FROM j`,
			large, campaigns, noon, from, min(from+step-1, journeys))
	}
	w.exec(`INSERT INTO arms ` + armsRecounted)
	w.exec(`INSERT INTO rollups SELECT campaign, arm, channel, step, count(*), count(*) FROM journeys, unnest(CASE WHEN arm = 'holdout' THEN ARRAY['held_out'] ELSE $1::text[] END) AS step GROUP BY 1, 2, 3, 4`, FunnelSteps())
	w.exec(`INSERT INTO revenue SELECT campaign, arm, currency, 1000, 1000, 19900, 1000, 1000, 19900, 396010 FROM arms, unnest(ARRAY['', 'EUR', 'USD']) AS currency`)
	w.exec(`INSERT INTO event_cursors (reader, xid, position) SELECT $1, xid, position - 1 FROM events ORDER BY xid DESC, position DESC LIMIT 1`, reader)
	w.exec(`ANALYZE`)
	for name, report := range map[string]func() error{
		"funnel":        func() error { _, err := w.a.Funnel(ctx, large); return err },
		"roi":           func() error { _, err := w.a.ROI(ctx, large); return err },
		"timing":        func() error { _, err := w.a.Timing(ctx, large); return err },
		"timing-period": func() error { _, err := w.a.TimingOf(ctx, time.Time{}, time.Time{}); return err },
		"funnel-small":  func() error { _, err := w.a.Funnel(ctx, campaigns[7]); return err },
	} {
		b.Run(fmt.Sprintf("%s/journeys=%d", name, journeys), func(b *testing.B) {
			took := make([]time.Duration, 0, b.N)
			for range b.N {
				began := time.Now()
				require.NoError(b, report())
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
