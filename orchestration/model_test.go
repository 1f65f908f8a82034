package orchestration

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
)

// everyHour is an order of all hours, evening first.
func everyHour() []byte {
	return []byte{19, 20, 18, 21, 17, 12, 8, 9, 13, 16, 22, 7, 10, 11, 14, 15, 23, 6, 0, 5, 1, 4, 2, 3}
}

// registered puts a trained model into the registry.
func registered(t testing.TB, pool *pgxpool.Pool, version int, state, verdict string, hours []byte) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `
		INSERT INTO timing_models (version, state, code, seed, requested_by, request_reason, verdict, hours, canary, created_at)
		OVERRIDING SYSTEM VALUE VALUES ($1, $2, 'test', 1, 'test', 'test', $3, $4, '{"share": 0.5}', $5)`,
		version, state, verdict, hours, monday)
	require.NoError(t, err)
}

// scores gives people an order of hours of their own under a model.
func scores(t testing.TB, pool *pgxpool.Pool, version int, hours []byte, people ...kairos.ID) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `
		INSERT INTO timing_scores SELECT $1, p, 0, $2 FROM unnest($3::uuid[]) p`, version, hours, people)
	require.NoError(t, err)
}
