package pg_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
	"kairos/internal/devstack"
	"kairos/internal/pg"
)

func TestIDTravelsAsUUID(t *testing.T) {
	ctx := context.Background()
	db := devstack.NewDB(t)
	id := kairos.MustID("0195f0a1-2b3c-7d4e-8f50-123456789abc")
	var none *kairos.ID
	for name, c := range map[string]struct {
		param any
		text  *string // as Postgres writes it
		back  kairos.ID
	}{
		"value":           {id, new(id.String()), id},
		"pointer":         {&id, new(id.String()), id},
		"zero is NULL":    {kairos.ID{}, nil, kairos.ID{}},
		"zero by pointer": {&kairos.ID{}, nil, kairos.ID{}},
		"nil pointer":     {none, nil, kairos.ID{}},
		"text":            {id.String(), new(id.String()), id},
		"bytes":           {[16]byte(id), new(id.String()), id},
	} {
		t.Run(name, func(t *testing.T) {
			var text *string
			var back kairos.ID
			var pointer *kairos.ID
			row := db.QueryRow(ctx, `SELECT $1::uuid::text, $1::uuid, $1::uuid`, c.param)
			back = id // must be overwritten by NULL
			require.NoError(t, row.Scan(&text, &back, &pointer))
			require.Equal(t, c.text, text)
			require.Equal(t, c.back, back)
			if c.text == nil {
				require.Nil(t, pointer)
			} else {
				require.Equal(t, c.back, *pointer)
			}
		})
	}
}

func TestIDTravelsInEveryMode(t *testing.T) {
	ctx := context.Background()
	db := devstack.NewDB(t)
	id := kairos.NewID()
	ids := []kairos.ID{id, {}, kairos.NewID()}
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			var one, none kairos.ID
			var many []kairos.ID
			row := db.QueryRow(ctx, `SELECT $1::uuid, $2::uuid, $3::uuid[]`, mode, id, kairos.ID{}, ids)
			require.NoError(t, row.Scan(&one, &none, &many))
			require.Equal(t, id, one)
			require.Zero(t, none)
			require.Equal(t, ids, many)
		})
	}
}

func TestIDArrays(t *testing.T) {
	ctx := context.Background()
	db := devstack.NewDB(t)
	a, b := kairos.NewID(), kairos.NewID()
	for name, ids := range map[string][]kairos.ID{
		"nil is NULL": nil,
		"empty":       {},
		"one":         {a},
		"with none":   {a, {}, b},
	} {
		t.Run(name, func(t *testing.T) {
			var back []kairos.ID
			var text *string
			require.NoError(t, db.QueryRow(ctx, `SELECT $1::uuid[], $1::uuid[]::text`, ids).Scan(&back, &text))
			require.Equal(t, ids, back)
			require.Equal(t, ids == nil, text == nil)

			rows, err := db.Query(ctx, `SELECT id FROM unnest($1::uuid[]) WITH ORDINALITY AS u(id, n) ORDER BY n`, ids)
			require.NoError(t, err)
			listed, err := pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
			require.NoError(t, err)
			require.Len(t, listed, len(ids))
			for i := range ids {
				require.Equal(t, ids[i], listed[i])
			}
		})
	}
	var found bool
	require.NoError(t, db.QueryRow(ctx, `SELECT $1::uuid = ANY($2::uuid[])`, b, []kairos.ID{a, b}).Scan(&found))
	require.True(t, found)
	var nested []kairos.ID
	require.ErrorContains(t, db.QueryRow(ctx, `SELECT ARRAY[[$1::uuid],[$1]]`, a).Scan(&nested), "dimensions")
}

func TestIDThroughCopyAndStructs(t *testing.T) {
	ctx := context.Background()
	db := devstack.NewDB(t)
	_, err := db.Exec(ctx, `CREATE TABLE things (id uuid PRIMARY KEY, parent_id uuid, others uuid[], at timestamptz)`)
	require.NoError(t, err)
	type thing struct {
		ID       kairos.ID
		ParentID kairos.ID
		Others   []kairos.ID
		At       time.Time
	}
	at := time.Date(2031, 3, 30, 1, 30, 0, 123456000, time.UTC)
	span := kairos.NewIDRange(at)
	var want []thing
	for i := range 500 {
		th := thing{ID: span.Nth(i), Others: []kairos.ID{span.Nth(i), {}}, At: at}
		if i > 0 {
			th.ParentID = span.Nth(i - 1)
		}
		want = append(want, th)
	}
	n, err := db.CopyFrom(ctx, pgx.Identifier{"things"}, []string{"id", "parent_id", "others", "at"},
		pgx.CopyFromSlice(len(want), func(i int) ([]any, error) {
			return []any{want[i].ID, want[i].ParentID, want[i].Others, want[i].At.In(time.FixedZone("elsewhere", 3600))}, nil
		}))
	require.NoError(t, err)
	require.EqualValues(t, 500, n)

	rows, err := db.Query(ctx, `SELECT id, parent_id, others, at FROM things ORDER BY id`)
	require.NoError(t, err)
	got, err := pgx.CollectRows(rows, pgx.RowToStructByName[thing])
	require.NoError(t, err)
	require.Equal(t, want, got) // deeply: times in UTC too
	var orphans int
	require.NoError(t, db.QueryRow(ctx, `SELECT count(*) FROM things WHERE parent_id IS NULL`).Scan(&orphans))
	require.Equal(t, 1, orphans)

	rows, err = db.Query(ctx, `SELECT id FROM things WHERE id = @id`, pgx.StrictNamedArgs{"id": span.Nth(7)})
	require.NoError(t, err)
	one, err := pgx.CollectExactlyOneRow(rows, pgx.RowToMap)
	require.NoError(t, err)
	require.Equal(t, [16]byte(span.Nth(7)), one["id"])
}

func TestIDArrayCodecAgreesWithItself(t *testing.T) {
	m := pgtype.NewMap()
	pg.Register(m)
	rapid.Check(t, func(t *rapid.T) {
		var ids []kairos.ID
		for _, b := range rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 16, 16)).Draw(t, "ids") {
			ids = append(ids, kairos.ID(b))
		}
		for _, format := range []int16{pgtype.BinaryFormatCode, pgtype.TextFormatCode} {
			raw, err := m.Encode(pgtype.UUIDArrayOID, format, ids, nil)
			if err != nil {
				t.Fatal(err)
			}
			var back []kairos.ID
			if err := m.Scan(pgtype.UUIDArrayOID, format, raw, &back); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(ids) != fmt.Sprint(back) {
				t.Fatalf("format %d: %v became %v", format, ids, back)
			}
		}
	})
}

func FuzzIDArray(f *testing.F) {
	m := pgtype.NewMap()
	pg.Register(m)
	raw, err := m.Encode(pgtype.UUIDArrayOID, pgtype.BinaryFormatCode, []kairos.ID{kairos.NewID(), {}}, nil)
	require.NoError(f, err)
	f.Add(raw)
	f.Add(raw[:30])
	f.Fuzz(func(t *testing.T, raw []byte) {
		var ids []kairos.ID
		err := m.Scan(pgtype.UUIDArrayOID, pgtype.BinaryFormatCode, raw, &ids)
		if err == nil {
			require.LessOrEqual(t, len(ids)*4, len(raw))
		}
	})
}

// The direct plans against pgx's own way through driver.Valuer and text.
func BenchmarkID(b *testing.B) {
	ours, stock := pgtype.NewMap(), pgtype.NewMap()
	pg.Register(ours)
	ids := make([]kairos.ID, 1000)
	for i := range ids {
		ids[i] = kairos.NewID()
	}
	for name, m := range map[string]*pgtype.Map{"direct": ours, "stock": stock} {
		buf := make([]byte, 0, 64<<10)
		b.Run("encode/one/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Encode(pgtype.UUIDOID, pgtype.BinaryFormatCode, ids[0], buf); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("encode/1000/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Encode(pgtype.UUIDArrayOID, pgtype.BinaryFormatCode, ids, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("scan/one/"+name, func(b *testing.B) {
			b.ReportAllocs()
			var id kairos.ID
			for b.Loop() {
				if err := m.Scan(pgtype.UUIDOID, pgtype.BinaryFormatCode, ids[0][:], &id); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestIDTakesTheBinaryPath(t *testing.T) {
	m := pgtype.NewMap()
	pg.Register(m)
	id := kairos.NewID()
	require.EqualValues(t, pgtype.BinaryFormatCode, m.FormatCodeForOID(pgtype.UUIDOID))
	require.EqualValues(t, pgtype.BinaryFormatCode, m.FormatCodeForOID(pgtype.UUIDArrayOID))
	buf := make([]byte, 0, 64)
	var boxed any = id
	allocs := testing.AllocsPerRun(100, func() {
		raw, err := m.Encode(pgtype.UUIDOID, pgtype.BinaryFormatCode, boxed, buf)
		if err != nil || len(raw) != 16 {
			t.Fatal(raw, err)
		}
	})
	require.Zero(t, allocs, "36 characters of text would be allocated")
}
