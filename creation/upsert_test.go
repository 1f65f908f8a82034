package creation

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos/internal/devstack"
	"kairos/internal/pg"
)

// TestUpsertNamesTheRowPostgresRefuses: a value that slips through the checks
// costs its own row, not its neighbours.
func TestUpsertNamesTheRowPostgresRefuses(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	ctx := context.Background()
	rows := make([]row, 9)
	for i := range rows {
		rows[i].fields[fieldExternalID] = string(rune('a' + i))
		rows[i].attributes = `{"n":1}`
	}
	rows[2].attributes, rows[7].attributes = `{"n":1e999999}`, `{"n":`
	for round := range 2 { // new people, then known ones
		var out []outcome
		require.NoError(t, pg.InTx(ctx, pool, func(tx pgx.Tx) (err error) {
			out, err = upsert(ctx, tx, time.Now(), rows)
			return err
		}))
		for i, o := range out {
			if i == 2 || i == 7 {
				require.Equal(t, "holds a value that can't be stored", o.reason)
				continue
			}
			require.Empty(t, o.reason)
			require.Equal(t, round == 0, o.created)
		}
	}
	var n int
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM contacts`).Scan(&n))
	require.Equal(t, 7, n)
}
