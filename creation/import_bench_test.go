package creation

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/devstack"
	"kairos/internal/pg"
)

// benchRows is 100,000, or what KAIROS_BENCH_ROWS says.
func benchRows(b *testing.B) int {
	if v := os.Getenv("KAIROS_BENCH_ROWS"); v != "" {
		n, err := strconv.Atoi(v)
		require.NoError(b, err)
		return n
	}
	return 100_000
}

// benchBody is a CSV of n people with five attributes.
func benchBody(n int) []byte {
	var buf bytes.Buffer
	buf.WriteString("email,external_id,first_name,timezone,plan,seats,city,since,score\n")
	for i := range n {
		fmt.Fprintf(&buf, "person%d@example.com,ext-%d,Ann,Europe/Vienna,pro,%d,Vienna,2024-01-01,%d.5\n", i, i, i%50, i%7)
	}
	return buf.Bytes()
}

// benchImport receives and stores a body and returns how long both took.
func benchImport(b *testing.B, c *Creation, pool *pgxpool.Pool, body []byte) time.Duration {
	ctx := context.Background()
	start := time.Now()
	received := make(chan error, 1)
	var i Import
	go func() {
		var err error
		i, err = c.StartImport(ctx, FormatCSV, bytes.NewReader(body))
		received <- err
	}()
	for done := false; ; {
		bells, err := batch.Due(ctx, pool, kairos.KindImport, time.Now().Add(time.Hour), 8)
		refs := batch.Refs(bells)
		require.NoError(b, err)
		for _, ref := range refs {
			_, err := c.ImportChunk(ctx, ImportTask{Ref: ref})
			require.NoError(b, err)
		}
		if done && len(refs) == 0 {
			break
		}
		select {
		case err := <-received:
			require.NoError(b, err)
			done = true
		case <-time.After(5 * time.Millisecond):
		}
	}
	took := time.Since(start)
	i, err := c.Import(ctx, i.ID)
	require.NoError(b, err)
	require.Equal(b, "finished", i.State)
	require.Zero(b, i.Rejected, "%v", i.Errors)
	return took
}

// benchCopy copies the same rows, parsed before, into a table and nothing else.
func benchCopy(b *testing.B, c *Creation, pool *pgxpool.Pool, body []byte, like string) time.Duration {
	ctx := context.Background()
	_, err := pool.Exec(ctx, `DROP TABLE IF EXISTS bare; CREATE TABLE bare (LIKE contacts INCLUDING DEFAULTS `+like+`)`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(b, err)
	head := bytes.IndexByte(body, '\n') + 1
	names, err := splitCSV(nil, string(body[:head]), ',')
	require.NoError(b, err)
	table, err := newCSVTable(names, ',')
	require.NoError(b, err)
	cut := newCutter(bytes.NewReader(body[head:]), csvRowEnd(','))
	var buffers []*copyBuffer
	for {
		data, _ := cut.next(2 << 20)
		if len(data) == 0 {
			break
		}
		p := table.parse(c, string(data), 1)
		s := newSorting(time.Now(), nil, len(p.rows))
		out := make([]outcome, len(p.rows))
		for i := range p.rows {
			s.add(&p.rows[i], i, out)
		}
		buffers = append(buffers, encodeContacts(time.Now(), s.people))
	}
	runtime.GC()
	start := time.Now()
	for _, buf := range buffers {
		require.NoError(b, pg.InTx(ctx, pool, func(tx pgx.Tx) error { return buf.send(ctx, tx, "bare") }))
	}
	return time.Since(start)
}

// BenchmarkImport reports rows/s from the first byte of the body to the last
// contact, beside a bare COPY of the same rows in the same run: into a table
// without indexes, and into one with those of contacts. again/s is the same file
// once more, which changes nothing.
func BenchmarkImport(b *testing.B) {
	n := benchRows(b)
	body := benchBody(n)
	b.Run(strconv.Itoa(n), func(b *testing.B) {
		var first, again, bare, indexed time.Duration
		for b.Loop() {
			pool := devstack.NewDB(b)
			c := New(pool, kairos.SystemClock{}, Options{})
			bare += benchCopy(b, c, pool, body, "")
			indexed += benchCopy(b, c, pool, body, "INCLUDING INDEXES")
			_, err := pool.Exec(context.Background(), `DROP TABLE bare`)
			require.NoError(b, err)
			first += benchImport(b, c, pool, body)
			again += benchImport(b, c, pool, body)
		}
		rate := func(d time.Duration) float64 { return float64(n) * float64(b.N) / d.Seconds() }
		b.ReportMetric(rate(first), "rows/s")
		b.ReportMetric(rate(again), "again/s")
		b.ReportMetric(rate(bare), "bare-copy/s")
		b.ReportMetric(rate(indexed), "indexed-copy/s")
		b.ReportMetric(0, "ns/op")
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-sys")
	})
}

func BenchmarkParseCSV(b *testing.B) {
	const n = 20_000
	body := benchBody(n)
	head := bytes.IndexByte(body, '\n') + 1
	names, _ := splitCSV(nil, string(body[:head]), ',')
	table, err := newCSVTable(names, ',')
	require.NoError(b, err)
	c := New(nil, kairos.SystemClock{}, Options{})
	data := string(body[head:])
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		p := table.parse(c, data, 1)
		require.Len(b, p.rows, n)
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
