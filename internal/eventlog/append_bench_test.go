package eventlog_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

// BenchmarkAppend records the events of one planned page, and of one window.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{64, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			pool := devstack.NewDB(b)
			campaign := kairos.NewID()

			for b.Loop() {
				ids := kairos.NewIDRange(at)
				events := make([]kairos.Event, n)
				for i := range events {
					events[i] = kairos.Event{
						Kind: kairos.NotificationPlanned, OccurredAt: at, Campaign: campaign, Contact: kairos.NewID(), Notification: ids.Nth(i),
					}
				}
				require.NoError(b, pg.InTx(b.Context(), pool, func(tx pgx.Tx) error {
					_, err := eventlog.Append(b.Context(), tx, events...)
					return err
				}))
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
