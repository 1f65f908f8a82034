package eventlog

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/devstack"
)

// What is decoded by hand is what the driver would have said.
func TestDecodedByHandAsByTheDriver(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := devstack.NewDB(t)
	long := make([]byte, 9000)
	for i := range long {
		long[i] = 'x'
	}
	written := []kairos.Event{
		{Kind: "notification.planned", Notification: kairos.NewID(), Campaign: kairos.NewID(), Contact: kairos.NewID(), Ticket: kairos.NewID(),
			Key: "ключ", Version: 3, OccurredAt: time.Date(1987, 5, 4, 3, 2, 1, 987654000, time.UTC), Data: []byte(`{"a": [1, "ü"], "b": null}`)},
		{Kind: "custom.kind", Contact: kairos.NewID(), OccurredAt: time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC)},
		{Kind: "custom.kind", Contact: kairos.NewID(), OccurredAt: time.Date(2026, 1, 2, 3, 4, 5, 1000, time.UTC), Data: []byte(`{"long": "` + string(long) + `"}`)},
	}
	require.NoError(t, pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := Append(ctx, tx, written...)
		return err
	}))
	query := `SELECT ` + columnsRead + ` FROM events ORDER BY position`
	rows, err := pool.Query(ctx, query)
	require.NoError(t, err)
	want, err := pgx.CollectRows(rows, scan)
	require.NoError(t, err)
	require.Len(t, want, len(written))
	for i, f := range [][]kairos.Event{want, nil} { // as facts: the same without what they leave out
		got, err := Read(ctx, pool, kairos.Cursor{}, Filter{Facts: i == 1}, 10)
		require.NoError(t, err)
		if f == nil {
			for _, e := range want {
				e.ID, e.Version, e.Subject, e.Ticket = kairos.ID{}, 0, kairos.ID{}, kairos.ID{}
				f = append(f, e)
			}
		}
		if len(got) > 0 { // a neighbour's transaction may hold the log back
			require.Equal(t, f, got)
		}
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		rows, err := pool.Query(ctx, query, mode)
		d := &decoder{}
		require.NoError(t, err)
		require.Equal(t, mode == pgx.QueryExecModeCacheStatement, d.knows(rows), "formats of mode %s", mode)
		got, err := collect(rows, err)
		require.NoError(t, err)
		require.Equal(t, want, got, "mode %s", mode)
	}
}

func TestDecodeStaysFrugal(t *testing.T) {
	id := make([]byte, 16)
	number := make([]byte, 8)
	raw := [][]byte{id, []byte("notification.sent"), {0, 1}, id, []byte("1"), number, number, id, id, id, nil, []byte(`{"provider": "smtp"}`), number, number}
	d := decoder{kinds: map[string]string{}}
	var e kairos.Event
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { d.event(&e, raw) }), 1.0)
}

// A reader of rare kinds does not pass over all the others.
func TestRareKindsAreReadByTheirOwnIndex(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	pool := devstack.NewDB(t)
	require.False(t, Filter{}.onlyRare())
	require.False(t, Filter{Kinds: []string{kairos.ContactErased, kairos.NotificationSent}}.onlyRare())
	require.True(t, Filter{Kinds: []string{kairos.ContactErased}}.onlyRare())
	rows, err := pool.Query(ctx, `EXPLAIN SELECT * FROM events WHERE xid < '9' AND (xid, position) > ('1'::xid8, 0) AND kind = ANY ('{contact.erased}') AND `+rareSQL+`
		ORDER BY xid, position LIMIT 10`)
	require.NoError(t, err)
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(t, err)
	require.Contains(t, strings.Join(plan, "\n"), "events_rest_xid_position_idx1", "the partial index")
}
