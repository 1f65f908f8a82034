package devstack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// machine makes a directory tree with programs and returns its root.
func machine(t *testing.T, programs ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, path := range programs {
		full := filepath.Join(root, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
		require.NoError(t, os.WriteFile(full, []byte("#!/bin/sh\n"), 0o755))
	}
	return root
}

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestMissingProgramsSayWhatToInstall(t *testing.T) {
	_, err := findPostgres(env())
	require.EqualError(t, err, "Postgres server binaries not found: install them with `apt-get install postgresql` or set KAIROS_PG_BINDIR")
	var missing *MissingError
	require.ErrorAs(t, err, &missing)
	_, err = findRedis(env())
	require.EqualError(t, err, "Redis server binaries not found: install them with `apt-get install redis-server` or set KAIROS_REDIS_BIN")

	half := machine(t, "bin/postgres")
	_, err = findPostgres(env(PGBinDirVariable, half+"/bin"))
	require.ErrorAs(t, err, &missing)
	_, err = findRedis(env(RedisVariable, half+"/bin/none"))
	require.ErrorAs(t, err, &missing)
}

func TestFindsADirectoryWithBothPrograms(t *testing.T) {
	root := machine(t, "half/postgres", "whole/initdb", "whole/postgres", "other/initdb", "other/postgres", "r/valkey-server")
	dir, err := findPostgres(env("PATH", root+"/half:"+root+"/whole:"+root+"/other"))
	require.NoError(t, err)
	require.Equal(t, root+"/whole", dir)
	dir, err = findPostgres(env("PATH", root+"/whole", PGBinDirVariable, root+"/other"))
	require.NoError(t, err)
	require.Equal(t, root+"/other", dir)

	// pg_config says where the rest is.
	config := machine(t, "bin/postgres", "bin/pg_config")
	require.NoError(t, os.WriteFile(config+"/bin/pg_config", []byte("#!/bin/sh\necho "+root+"/other\n"), 0o755))
	dir, err = findPostgres(env("PATH", config+"/bin"))
	require.NoError(t, err)
	require.Equal(t, root+"/other", dir)

	bin, err := findRedis(env("PATH", root+"/r", RedisVariable, root+"/r/valkey-server"))
	require.NoError(t, err)
	require.Equal(t, root+"/r/valkey-server", bin)
}

func TestNewestVersionComesFirst(t *testing.T) {
	root := t.TempDir()
	for _, v := range []string{"9.6", "15", "17", "16"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, "pg", v, "bin"), 0o755))
	}
	t.Chdir(root) // no digits above the version
	require.Equal(t, []string{"pg/17/bin", "pg/16/bin", "pg/15/bin", "pg/9.6/bin"}, newestFirst("pg/*/bin"))
}

func TestAccountIsToldWhichDirectoryItCantEnter(t *testing.T) {
	stranger := &account{name: "stranger", uid: 12345, gid: 12345}
	closed := filepath.Join(t.TempDir(), "closed")
	require.NoError(t, os.Mkdir(closed, 0o700))
	err := stranger.reach(filepath.Join(closed, "not", "yet", "there"))
	require.ErrorContains(t, err, "user stranger")
	require.ErrorContains(t, err, "chmod o+x")
	require.NoError(t, stranger.reach("/"))
	require.NoError(t, (*account)(nil).reach(closed))
}

func TestCacheKeepsTheNewestAndTheRecent(t *testing.T) {
	cache := t.TempDir()
	for _, name := range []string{"pg-a", "pg-b", "new-c"} {
		require.NoError(t, os.Mkdir(filepath.Join(cache, name), 0o700))
	}
	prune(cache, 1, 1<<62)
	left, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, left, 3, "all are recent")
	prune(cache, 1, 0)
	left, err = os.ReadDir(cache)
	require.NoError(t, err)
	require.Len(t, left, 1)
}
