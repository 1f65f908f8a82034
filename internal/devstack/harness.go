package devstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kairos/internal/pg"
)

// Goroutine is the function in which the shared server's goroutine waits; for
// goleak.IgnoreAnyFunction in packages that use NewDB.
const Goroutine = "kairos/internal/rig.(*Child).run"

// shared is the one Postgres of a test process. It starts with the first test
// that asks and ends with the process, however that ends: the kernel stops the
// server, the undertaker removes the directory. Nobody has to close it.
var shared harness

type harness struct {
	once     sync.Once
	err      error
	dir      string
	as       *account
	postgres *Postgres
	hearse   *undertaker // held: were it collected, its pipe would close
	count    atomic.Int64

	mu    sync.Mutex
	admin *pgx.Conn
}

// NewDB returns a pool on a database of the test's own, migrated and empty,
// which is dropped when the test ends. It fails the test when Postgres isn't
// installed. Commits aren't durable (see NewPostgres for that).
func NewDB(t testing.TB) *pgxpool.Pool {
	t.Helper()
	name := shared.create(t, TemplateDatabase)
	pool, err := pg.Open(context.Background(), shared.postgres.SocketURL(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closed := make(chan struct{})
		go func() { pool.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(5 * time.Second):
			t.Error("the test holds on to a connection: close its rows, transactions and acquired connections")
		}
	})
	return pool
}

// NewDBURL is NewDB for clients that connect themselves, over TCP.
func NewDBURL(t testing.TB) string {
	t.Helper()
	name := shared.create(t, TemplateDatabase)
	return shared.postgres.URL(name)
}

// NewEmptyDBURL is NewDBURL without the schema, for tests of migrations.
func NewEmptyDBURL(t testing.TB) string {
	t.Helper()
	name := shared.create(t, "template0")
	return shared.postgres.URL(name)
}

// create makes a database from a template and drops it when t ends.
func (h *harness) create(t testing.TB, template string) string {
	t.Helper()
	if err := h.start(); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test_%d", h.count.Add(1))
	if err := h.run("CREATE DATABASE " + name + " TEMPLATE " + template + " STRATEGY FILE_COPY"); err != nil {
		t.Fatalf("create test database: %v", err)
	}
	t.Cleanup(func() {
		if err := h.run("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("drop test database: %v", err)
		}
	})
	return name
}

// run executes a statement on the one administrative connection.
func (h *harness) run(statement string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if h.admin == nil || h.admin.IsClosed() {
		conn, err := pgx.Connect(ctx, h.postgres.SocketURL("postgres"))
		if err != nil {
			return fmt.Errorf("reach postgres: %w", err)
		}
		h.admin = conn
	}
	_, err := h.admin.Exec(ctx, statement, pgx.QueryExecModeSimpleProtocol)
	return err
}

func (h *harness) start() error {
	h.once.Do(func() { h.err = h.launch(context.Background()) })
	return h.err
}

func (h *harness) launch(ctx context.Context) (err error) {
	if err := h.home(); err != nil {
		return err
	}
	p, err := testPostgres(h.as, filepath.Join(h.dir, "pg"), PostgresOptions{})
	if err != nil {
		return err
	}
	if err := p.open(ctx, cacheDir(), func(string) {}); err != nil {
		return err
	}
	h.postgres = p
	return nil
}

// home makes the process's directory.
func (h *harness) home() (err error) {
	if h.as, err = serverAccount(); err != nil {
		return err
	}
	if h.dir, err = h.as.tempDir(memoryDir()); err != nil {
		return err
	}
	h.hearse, err = hireUndertaker(h.dir)
	return err
}

func testPostgres(as *account, dir string, opts PostgresOptions) (*Postgres, error) {
	bin, err := findPostgres(os.Getenv)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	if err := as.admit(dir); err != nil {
		return nil, err
	}
	opts.Dir = dir
	settings := map[string]string{"shared_buffers": "64MB", "max_wal_size": "1GB", "checkpoint_timeout": "1h"}
	for name, value := range opts.Settings {
		settings[name] = value
	}
	opts.Settings = settings
	return newPostgres(bin, as, opts)
}

// NewPostgres returns a server of the test's own, with the migrated, empty
// database `kairos`, to stop, kill and start again mid-flight.
func NewPostgres(t testing.TB, opts PostgresOptions) *Postgres {
	t.Helper()
	place := memoryDir()
	if opts.Fsync { // in memory there would be nothing to wait for
		place = ""
	}
	dir, as, hearse := testHome(t, place)
	p, err := testPostgres(as, filepath.Join(dir, "pg"), opts)
	if err == nil {
		t.Cleanup(func() { check(t, p.Stop(true), hearse.bury()) })
		err = p.open(context.Background(), cacheDir(), func(string) {})
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// NewRedis returns the redis:// URL of a server of the test's own.
func NewRedis(t testing.TB) string {
	t.Helper()
	return NewRedisServer(t).URL()
}

// NewRedisServer is NewRedis for tests that stop and start the server. It fails
// the test when no Redis server is installed: miniredis is not Redis.
func NewRedisServer(t testing.TB) *Redis {
	t.Helper()
	bin, err := findRedis(os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	dir, as, hearse := testHome(t, "")
	r, err := newRedis(bin, as, RedisOptions{Dir: dir})
	if err == nil {
		t.Cleanup(func() { check(t, r.Stop(true), hearse.bury()) })
		err = r.Start(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func testHome(t testing.TB, place string) (string, *account, *undertaker) {
	t.Helper()
	as, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := as.tempDir(place)
	if err != nil {
		t.Fatal(err)
	}
	u, err := hireUndertaker(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, as, u
}

func check(t testing.TB, errs ...error) {
	if err := errors.Join(errs...); err != nil {
		t.Errorf("end server: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}
