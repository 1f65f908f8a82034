package devstack_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"kairos/internal/devstack"
	"kairos/migrations"
)

func TestNewDBIsMigratedEmptyAndIsolated(t *testing.T) {
	ctx := context.Background()
	for range 3 {
		t.Run("one", func(t *testing.T) {
			t.Parallel()
			db := devstack.NewDB(t)
			current, latest, err := migrations.Version(ctx, db)
			require.NoError(t, err)
			require.Equal(t, latest, current)
			require.Positive(t, latest)
			_, err = db.Exec(ctx, `CREATE TABLE mine (n int)`)
			require.NoError(t, err, "another test's table is visible")
		})
	}
}

func TestNewDBURLServesAnyClient(t *testing.T) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, devstack.NewDBURL(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close(ctx)) }()
	var zone string
	require.NoError(t, conn.QueryRow(ctx, `SHOW timezone`).Scan(&zone))
	require.Equal(t, "UTC", zone)
}

func TestNewRedisKeepsNothingOverRestart(t *testing.T) {
	ctx := context.Background()
	server := devstack.NewRedisServer(t)
	opts, err := redis.ParseURL(server.URL())
	require.NoError(t, err)
	client := redis.NewClient(opts)
	defer func() { require.NoError(t, client.Close()) }()
	require.NoError(t, client.Set(ctx, "k", "v", 0).Err())
	require.Equal(t, "v", client.Get(ctx, "k").Val())
	policy, err := client.ConfigGet(ctx, "maxmemory-policy").Result()
	require.NoError(t, err)
	require.Equal(t, "noeviction", policy["maxmemory-policy"])
	require.NoError(t, server.Stop(true))
	require.Zero(t, server.PID())
	require.NoError(t, server.Start(ctx))
	require.ErrorIs(t, client.Get(ctx, "k").Err(), redis.Nil)
}

func TestNewPostgresKeepsDataOverRestarts(t *testing.T) {
	ctx := context.Background()
	server := devstack.NewPostgres(t, devstack.PostgresOptions{Fsync: true})
	url := server.URL("")
	for i, immediate := range []bool{false, true} {
		conn, err := pgx.Connect(ctx, url)
		require.NoError(t, err)
		_, err = conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS kept (n int)`)
		require.NoError(t, err)
		_, err = conn.Exec(ctx, `INSERT INTO kept VALUES (1)`)
		require.NoError(t, err)
		pid := server.PID()
		require.NoError(t, server.Stop(immediate))
		require.Error(t, conn.Ping(ctx))
		require.NoError(t, server.Start(ctx))
		require.NotEqual(t, pid, server.PID())
		again, err := pgx.Connect(ctx, url)
		require.NoError(t, err)
		var n int
		require.NoError(t, again.QueryRow(ctx, `SELECT count(*) FROM kept`).Scan(&n))
		require.Equal(t, i+1, n)
		require.NoError(t, again.Close(ctx))
	}
}

func TestStackKeepsNamedDirectory(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(keptDir(t), "a directory with a name that makes the path of the socket too long for the kernel", "data")
	for i := range 2 {
		s, err := devstack.Start(ctx, devstack.Options{Dir: dir, Fsync: true})
		require.NoError(t, err)
		_, err = devstack.Start(ctx, devstack.Options{Dir: dir})
		require.ErrorContains(t, err, "in use")
		conn, err := pgx.Connect(ctx, s.DatabaseURL())
		require.NoError(t, err)
		_, err = conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS kept (n int)`)
		require.NoError(t, err)
		_, err = conn.Exec(ctx, `INSERT INTO kept VALUES (1)`)
		require.NoError(t, err)
		var n int
		require.NoError(t, conn.QueryRow(ctx, `SELECT count(*) FROM kept`).Scan(&n))
		require.Equal(t, i+1, n)
		require.NoError(t, conn.Close(ctx))
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
	}
}

func TestStacksSideBySide(t *testing.T) {
	ctx := context.Background()
	one, err := devstack.Start(ctx, devstack.Options{})
	require.NoError(t, err)
	two, err := devstack.Start(ctx, devstack.Options{EmbeddedRedis: true, InMemory: true, NoCache: true})
	require.NoError(t, err)
	require.NotEqual(t, one.DatabaseURL(), two.DatabaseURL())
	require.NotEqual(t, one.RedisURL(), two.RedisURL())
	for _, s := range []*devstack.Stack{one, two} {
		opts, err := redis.ParseURL(s.RedisURL())
		require.NoError(t, err)
		client := redis.NewClient(opts)
		require.NoError(t, client.Set(ctx, "k", "v", 1100*time.Millisecond).Err())
		require.Eventually(t, func() bool { return client.Exists(ctx, "k").Val() == 0 }, 5*time.Second, 50*time.Millisecond)
		require.NoError(t, client.Close())
		require.NoError(t, s.Close())
		require.NoDirExists(t, s.Dir())
	}
	_, err = os.Stat(one.Dir())
	require.ErrorIs(t, err, os.ErrNotExist)
}

func BenchmarkNewDB(b *testing.B) {
	devstack.NewDB(b)
	for b.Loop() {
		devstack.NewDB(b)
	}
}
