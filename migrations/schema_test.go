package migrations_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos/internal/devstack"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestSchemaDrift holds what the migrations make against what was reviewed:
// every column, index and function of the schema, one a line.
func TestSchemaDrift(t *testing.T) {
	t.Parallel()
	pool := devstack.NewDB(t)
	rows, err := pool.Query(t.Context(), `
		SELECT format('column %s.%s %s%s%s%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
		              CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
		              CASE WHEN a.attgenerated = 's' THEN ' GENERATED ' || pg_get_expr(d.adbin, d.adrelid)
		                   WHEN a.attidentity <> '' THEN ' IDENTITY'
		                   WHEN d.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) ELSE '' END,
		              CASE WHEN c.relkind = 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(c.oid) ELSE '' END)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
		WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname NOT LIKE 'goose%'
		UNION ALL
		SELECT 'index ' || pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
		WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition AND c.relname NOT LIKE 'goose%'
		UNION ALL
		SELECT format('check %s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
		WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f') AND NOT (SELECT relispartition FROM pg_class WHERE oid = conrelid)
		UNION ALL
		SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace
		ORDER BY 1`)
	require.NoError(t, err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	got := strings.Join(lines, "\n") + "\n"
	const golden = "testdata/schema.txt"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err, "run with -update once")
	require.Equal(t, string(want), got, "the schema has changed: review it and run `go test ./migrations -run SchemaDrift -update`")
}
