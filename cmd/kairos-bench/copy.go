package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// bareCopy is the ceiling of a stage that fills a table: the same rows, which
// the stage has parsed and made, go by one binary COPY from a file into a twin
// of the table with the same columns and indexes. It returns how long that
// took, commit included.
func (w *world) bareCopy(ctx context.Context, table, where string, want int64) (time.Duration, error) {
	path := filepath.Join(w.dir, table+".copy")
	f, err := os.Create(path)
	if err != nil {
		return 0, fmt.Errorf("keep rows of %s: %w", table, err)
	}
	defer func() { _ = f.Close(); _ = os.Remove(path) }()
	twin := table + "_twin"
	conn, err := w.pool.Acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("copy %s: %w", table, err)
	}
	defer conn.Release()
	if _, err := conn.Conn().PgConn().CopyTo(ctx, f, "COPY (SELECT * FROM "+table+" "+where+") TO STDOUT (FORMAT binary)"); err != nil {
		return 0, fmt.Errorf("read %s: %w", table, err)
	}
	if _, err := f.Seek(0, 0); err != nil {
		return 0, fmt.Errorf("read %s: %w", table, err)
	}
	// Made in a transaction of its own: COPY into a table made in the same one
	// would skip the log of Postgres.
	for _, s := range []string{
		"DROP TABLE IF EXISTS " + twin, "CREATE TABLE " + twin + " (LIKE " + table + " INCLUDING ALL EXCLUDING IDENTITY)", "CHECKPOINT",
	} {
		if _, err := conn.Exec(ctx, s); err != nil {
			return 0, fmt.Errorf("make twin of %s: %w", table, err)
		}
	}
	began := time.Now()
	tag, err := conn.Conn().PgConn().CopyFrom(ctx, f, "COPY "+twin+" FROM STDIN (FORMAT binary)")
	took := time.Since(began)
	if err != nil {
		return 0, fmt.Errorf("fill twin of %s: %w", table, err)
	}
	if tag.RowsAffected() != want {
		return 0, fmt.Errorf("twin of %s has %d rows, not %d", table, tag.RowsAffected(), want)
	}
	_, err = conn.Exec(ctx, "DROP TABLE "+twin)
	return took, err
}
