package delivery

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos/internal/pg"
)

// What a silent sender left open is read by itself, not once for each person of
// the campaign: after many kills take-over would be as slow as the campaign is
// large. The tables have no statistics, as while a campaign is young.
func TestSweepReadsOpenAttemptsAlone(t *testing.T) {
	const people, window = 5000, 64
	w := plan(t, people, 500)
	d := w.delivery(newFake(1, 1))
	b := w.open(d, window).run.b
	var rows int
	err := pg.InTx(w.ctx, byIndex{d}, func(tx pgx.Tx) error {
		open, err := d.openAttempts(w.ctx, tx, b.Campaign,
			`a.notification BETWEEN $2 AND $3 AND a.batch = $4 AND a.epoch <= $5 AND a.state = 'sending'`, b.Lo, b.Hi, b.Batch, b.Epoch)
		if err != nil {
			return err
		}
		require.Len(t, open, window)
		return tx.QueryRow(w.ctx, `SELECT sum(coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0))::int
			FROM pg_stat_xact_user_tables WHERE relname LIKE 'notifications%'`).Scan(&rows)
	})
	require.NoError(t, err)
	require.Positive(t, rows)
	require.LessOrEqual(t, rows, 2*window, "rows of notifications read for %d attempts", window)
}
