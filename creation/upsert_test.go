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

// TestInsertNewStoresAllOrNothing: people who turn out to be known, and rows
// that belong together, are left to those who look first.
func TestInsertNewStoresAllOrNothing(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	ctx := context.Background()
	of := func(names ...string) []row {
		rows := make([]row, len(names)/2)
		for i := range rows {
			rows[i].fields[fieldExternalID], rows[i].fields[fieldEmail], rows[i].emailKey = names[2*i], names[2*i+1], names[2*i+1]
		}
		return rows
	}
	insert := func(rows []row) (out []outcome) {
		require.NoError(t, pg.InTx(ctx, pool, func(tx pgx.Tx) (err error) {
			if out, err = insertNew(ctx, tx, time.Now(), rows); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `SELECT`) // the transaction goes on in either case
			return err
		}))
		return out
	}
	require.Len(t, insert(of("1", "a@x", "2", "", "", "b@x")), 3)
	require.Nil(t, insert(of("3", "c@x", "1", "")), "a known person")
	require.Nil(t, insert(of("3", "c@x", "4", "b@x")), "a known address")
	require.Nil(t, insert(of("3", "c@x", "3", "d@x")), "two rows of one person")
	require.Nil(t, insert(of("3", "c@x", "4", "c@x")), "two people of one address")
	bad := of("3", "c@x", "4", "d@x")
	bad[1].attributes = `{"n":1e999999}`
	require.Nil(t, insert(bad), "what can't be stored")
	require.NotNil(t, insert(nil))
	var n int
	require.NoError(t, pool.QueryRow(ctx, `SELECT count(*) FROM contacts`).Scan(&n))
	require.Equal(t, 3, n)
}
