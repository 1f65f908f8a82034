// Package pg opens connection pools to Postgres the way all of Kairos uses them.
//
// Takes: a connection URL or key=value string, and options.
// Gives: a *pgxpool.Pool whose connections speak UTC and know kairos.ID, and
// InTx, which runs a function inside one transaction.
// Owns: nothing; the caller closes the pool.
// Promises: a timestamptz comes back in UTC, a kairos.ID travels in binary as
// uuid (the zero ID is NULL, both ways), no statement or lock waits for ever,
// and one connection found dead after a restart of the server tells of all.
// Fails: with an error that wraps pgx's own when the URL is malformed or the
// server can't be reached; the text never holds the password.
package pg

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DefaultMaxConns is the size of a pool when neither the URL (pool_max_conns)
// nor WithMaxConns says otherwise.
const DefaultMaxConns = 10

// Option changes a pool's configuration before it is opened.
type Option func(*pgxpool.Config)

// WithMaxConns bounds the pool at n connections; n < 1 keeps the default.
func WithMaxConns(n int) Option {
	return func(c *pgxpool.Config) {
		if n > 0 {
			c.MaxConns = int32(min(n, 1<<15))
			c.MinConns = min(c.MinConns, c.MaxConns)
		}
	}
}

// WithApplicationName replaces "kairos" as the name in pg_stat_activity.
func WithApplicationName(name string) Option {
	return func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["application_name"] = name }
}

// WithStatementTimeout replaces the default of two minutes; 0 means no limit.
func WithStatementTimeout(d time.Duration) Option {
	return func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(d.Milliseconds(), 10)
	}
}

// Open connects a pool to url, a postgres:// URL or a key=value string as libpq
// reads it, and checks that the server answers. Parameters in the URL win over
// the defaults, options win over both.
func Open(ctx context.Context, url string, opts ...Option) (*pgxpool.Pool, error) {
	cfg, err := Config(url, opts...)
	if err != nil {
		return nil, err
	}
	w := new(watch)
	cfg.ConnConfig.Tracer = w
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open postgres pool: %w", err)
	}
	w.pool.Store(pool)
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("reach postgres: %w", err)
	}
	return pool, nil
}

// Config returns the configuration that Open uses, for callers that add hooks
// of their own before pgxpool.NewWithConfig.
func Config(url string, opts ...Option) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read postgres url: %w", err)
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	params := cfg.ConnConfig.RuntimeParams
	for name, value := range map[string]string{
		"application_name":                    "kairos",
		"statement_timeout":                   "120000", // milliseconds
		"lock_timeout":                        "30000",
		"idle_in_transaction_session_timeout": "120000",
	} {
		if _, set := params[name]; !set {
			params[name] = value
		}
	}
	for name := range params {
		if strings.EqualFold(name, "timezone") {
			delete(params, name)
		}
	}
	params["timezone"] = "UTC"
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	if !strings.Contains(url, "pool_max_conns") {
		cfg.MaxConns = DefaultMaxConns
	}
	cfg.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		Register(conn.TypeMap())
		return nil
	}
	for _, opt := range opts {
		opt(cfg)
	}
	return cfg, nil
}

// Register teaches a connection's type map kairos.ID (uuid), []kairos.ID
// (uuid[]) and to return times in UTC. Open calls it for each connection.
func Register(m *pgtype.Map) {
	id := &pgtype.Type{Name: "uuid", OID: pgtype.UUIDOID, Codec: idCodec{}}
	m.RegisterType(id)
	m.RegisterType(&pgtype.Type{
		Name: "_uuid", OID: pgtype.UUIDArrayOID,
		Codec: idArrayCodec{&pgtype.ArrayCodec{ElementType: id}},
	})
	registerIDDefaults(m)

	instant := &pgtype.Type{
		Name: "timestamptz", OID: pgtype.TimestamptzOID,
		Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
	}
	m.RegisterType(instant)
	m.RegisterType(&pgtype.Type{
		Name: "_timestamptz", OID: pgtype.TimestamptzArrayOID,
		Codec: &pgtype.ArrayCodec{ElementType: instant},
	})
}
