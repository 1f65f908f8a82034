package devstack

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// MissingError says which program is not on this machine and how to get it.
type MissingError struct {
	Part     string // "Postgres server binaries"
	Install  string // a command
	Variable string // environment variable that names the place instead
}

// Error implements error in one line that can be shown as it is.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s not found: install them with `%s` or set %s", e.Part, e.Install, e.Variable)
}

// Environment variables that say where the programs are.
const (
	PGBinDirVariable = "KAIROS_PG_BINDIR" // directory with initdb and postgres
	RedisVariable    = "KAIROS_REDIS_BIN" // path of redis-server or valkey-server
)

// findPostgres returns the first directory that holds both initdb and postgres.
// getenv reads the environment: os.Getenv outside of tests.
func findPostgres(getenv func(string) string) (string, error) {
	missing := &MissingError{"Postgres server binaries", "apt-get install postgresql", PGBinDirVariable}
	if dir := getenv(PGBinDirVariable); dir != "" {
		if holds(dir, "initdb", "postgres") {
			return dir, nil
		}
		return "", fmt.Errorf("%s=%s holds no initdb and postgres: %w", PGBinDirVariable, dir, missing)
	}
	dirs := filepath.SplitList(getenv("PATH"))
	for _, dir := range filepath.SplitList(getenv("PATH")) {
		if !holds(dir, "pg_config") {
			continue
		}
		if out, err := exec.Command(filepath.Join(dir, "pg_config"), "--bindir").Output(); err == nil {
			dirs = append(dirs, strings.TrimSpace(string(out)))
		}
	}
	if getenv("PATH") != "" { // an empty PATH searches nowhere, so that tests can have a bare machine
		for _, pattern := range []string{
			"/usr/lib/postgresql/*/bin", // Debian
			"/usr/pgsql-*/bin",          // Red Hat
			"/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin",
			"/Applications/Postgres.app/Contents/Versions/*/bin",
		} {
			dirs = append(dirs, newestFirst(pattern)...)
		}
	}
	for _, dir := range dirs {
		if !holds(dir, "initdb", "postgres") {
			continue
		}
		// A link in PATH may point into a directory that holds only half of
		// what the server needs beside it; go to where the binary stands.
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil && holds(filepath.Dir(real), "initdb", "postgres") {
			return filepath.Dir(real), nil
		}
		return dir, nil
	}
	return "", missing
}

// findRedis returns the path of redis-server or valkey-server.
func findRedis(getenv func(string) string) (string, error) {
	missing := &MissingError{"Redis server binaries", "apt-get install redis-server", RedisVariable}
	if path := getenv(RedisVariable); path != "" {
		if holds(filepath.Dir(path), filepath.Base(path)) {
			return path, nil
		}
		return "", fmt.Errorf("%s=%s is not a program: %w", RedisVariable, path, missing)
	}
	if getenv("PATH") == "" {
		return "", missing
	}
	dirs := append(filepath.SplitList(getenv("PATH")), "/usr/local/bin", "/usr/bin", "/usr/sbin", "/opt/homebrew/bin")
	for _, name := range []string{"redis-server", "valkey-server"} {
		for _, dir := range dirs {
			if holds(dir, name) {
				return filepath.Join(dir, name), nil
			}
		}
	}
	return "", missing
}

func holds(dir string, programs ...string) bool {
	if dir == "" {
		return false
	}
	for _, name := range programs {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// newestFirst sorts directories by the first number in their path, descending:
// .../postgresql/16/bin comes before .../postgresql/9.6/bin.
func newestFirst(pattern string) []string {
	dirs, _ := filepath.Glob(pattern) // only a malformed pattern fails
	slices.SortFunc(dirs, func(a, b string) int {
		return cmp.Or(-cmp.Compare(versionIn(a), versionIn(b)), -strings.Compare(a, b))
	})
	return dirs
}

func versionIn(path string) float64 {
	start := strings.IndexAny(path, "0123456789")
	if start < 0 {
		return 0
	}
	end := start
	for end < len(path) && (path[end] == '.' || path[end] >= '0' && path[end] <= '9') {
		end++
	}
	v, _ := strconv.ParseFloat(strings.TrimRight(path[start:end], "."), 64)
	return v
}
