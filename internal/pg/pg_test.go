package pg_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"kairos/internal/devstack"
	"kairos/internal/pg"
)

func TestOpenSetsUpTheSession(t *testing.T) {
	ctx := context.Background()
	url := devstack.NewDBURL(t)
	for name, c := range map[string]struct {
		url  string
		opts []pg.Option
		want map[string]string
		max  int32
	}{
		"defaults": {url, nil, map[string]string{
			"application_name": "kairos", "timezone": "UTC", "statement_timeout": "2min",
			"lock_timeout": "30s", "idle_in_transaction_session_timeout": "2min",
		}, pg.DefaultMaxConns},
		"options": {url, []pg.Option{pg.WithMaxConns(3), pg.WithApplicationName("x"), pg.WithStatementTimeout(0)},
			map[string]string{"application_name": "x", "statement_timeout": "0"}, 3},
		"url wins over defaults": {url + "&statement_timeout=5000&pool_max_conns=4&TimeZone=Europe/Berlin", nil,
			map[string]string{"statement_timeout": "5s", "timezone": "UTC"}, 4},
		"options win over url": {url + "&pool_max_conns=4", []pg.Option{pg.WithMaxConns(2)}, nil, 2},
	} {
		t.Run(name, func(t *testing.T) {
			db, err := pg.Open(ctx, c.url, c.opts...)
			require.NoError(t, err)
			defer db.Close()
			require.Equal(t, c.max, db.Config().MaxConns)
			for setting, want := range c.want {
				var got string
				require.NoError(t, db.QueryRow(ctx, `SELECT current_setting($1)`, setting).Scan(&got))
				require.Equal(t, want, got, setting)
			}
		})
	}
}

func TestOpenFailsWithoutThePassword(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	for _, url := range []string{
		"postgres://kairos:sesame@127.0.0.1:1/kairos?connect_timeout=2",
		"postgres://kairos:sesame@127.0.0.1:port/kairos",
	} {
		_, err := pg.Open(context.Background(), url)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "sesame")
	}
}

func TestTimesComeBackInUTC(t *testing.T) {
	ctx := context.Background()
	db := devstack.NewDB(t)
	var at time.Time
	var many []time.Time
	local := time.Date(2031, 7, 1, 12, 0, 0, 0, time.FixedZone("elsewhere", -7*3600))
	require.NoError(t, db.QueryRow(ctx, `SELECT $1::timestamptz, ARRAY[$1::timestamptz]`, local).Scan(&at, &many))
	require.Equal(t, local.UTC(), at)
	require.Equal(t, []time.Time{local.UTC()}, many)
}

func TestInTx(t *testing.T) {
	ctx := context.Background()
	db := devstack.NewDB(t)
	_, err := db.Exec(ctx, `CREATE TABLE n (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)`)
	require.NoError(t, err)
	count := func() (n int) {
		require.NoError(t, db.QueryRow(ctx, `SELECT count(*) FROM n`).Scan(&n))
		return n
	}
	insert := func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO n VALUES (1)`)
		return err
	}
	boom := errors.New("boom")

	require.ErrorIs(t, pg.InTx(ctx, db, func(tx pgx.Tx) error {
		require.NoError(t, insert(tx))
		return boom
	}), boom)
	require.Zero(t, count())

	require.PanicsWithValue(t, "oh", func() {
		_ = pg.InTx(ctx, db, func(tx pgx.Tx) error {
			require.NoError(t, insert(tx))
			panic("oh")
		})
	})
	require.Zero(t, count())

	gone, cancel := context.WithCancel(ctx)
	require.ErrorIs(t, pg.InTx(gone, db, func(tx pgx.Tx) error {
		require.NoError(t, insert(tx))
		cancel()
		return nil
	}), context.Canceled)
	require.Zero(t, count())
	require.ErrorIs(t, pg.InTx(gone, db, insert), context.Canceled)

	require.NoError(t, pg.InTx(ctx, db, insert))
	require.Equal(t, 1, count())

	// The deferred constraint speaks at commit; its code stays readable.
	err = pg.InTx(ctx, db, insert)
	var pgErr *pgconn.PgError
	require.ErrorAs(t, err, &pgErr)
	require.Equal(t, "23505", pgErr.Code)
	require.Equal(t, 1, count())

	// Inside a transaction it is a savepoint.
	require.NoError(t, pg.InTx(ctx, db, func(tx pgx.Tx) error {
		_ = pg.InTx(ctx, tx, func(inner pgx.Tx) error {
			_, err := inner.Exec(ctx, `INSERT INTO n VALUES (2)`)
			require.NoError(t, err)
			return boom
		})
		_, err := tx.Exec(ctx, `INSERT INTO n VALUES (3)`)
		return err
	}))
	require.Equal(t, 2, count())
	require.Zero(t, db.Stat().AcquiredConns())
}
