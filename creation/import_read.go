package creation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/pg"
)

const importColumns = `id, format, state, received, bytes, rows, created, updated, rejected, errors, coalesce(error, ''), created_at, finished_at`

func scanImport(r pgx.CollectableRow) (i Import, err error) {
	var errs []byte
	err = r.Scan(&i.ID, &i.Format, &i.State, &i.Received, &i.Bytes, &i.Rows, &i.Created, &i.Updated, &i.Rejected, &errs,
		&i.Error, &i.CreatedAt, &i.FinishedAt)
	if err == nil {
		err = json.Unmarshal(errs, &i.Errors)
		slices.SortFunc(i.Errors, func(a, b RowError) int { return cmp.Compare(a.Row, b.Row) })
		i.Errors = i.Errors[:min(len(i.Errors), maxImportErrors)]
	}
	return i, err
}

// Import returns an import with its progress.
func (c *Creation) Import(ctx context.Context, id kairos.ID) (Import, error) {
	rows, err := c.pool.Query(ctx, `SELECT `+importColumns+` FROM imports WHERE id = $1`, id)
	if err != nil {
		return Import{}, fmt.Errorf("read import %s: %w", id, err)
	}
	i, err := pgx.CollectExactlyOneRow(rows, scanImport)
	if err != nil {
		return Import{}, missing(err, "import", id)
	}
	return i, nil
}

// Imports lists imports, the newest first, and the cursor to go on from, "" at
// the end. Their row errors are left out.
func (c *Creation) Imports(ctx context.Context, limit int, after string) ([]Import, string, error) {
	limit, from, err := page(limit, after)
	if err != nil {
		return nil, "", err
	}
	rows, err := c.pool.Query(ctx, `
		SELECT id, format, state, received, bytes, rows, created, updated, rejected, '[]'::jsonb, coalesce(error, ''), created_at, finished_at
		FROM imports WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2`, from, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list imports: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanImport)
	if err != nil {
		return nil, "", fmt.Errorf("list imports: %w", err)
	}
	if len(list) > limit {
		return list[:limit], list[limit-1].ID.String(), nil
	}
	return list, "", nil
}

// endOrphanedImports ends the bodies of imports that nobody receives any more:
// their receiver's lock is free.
func (c *Creation) endOrphanedImports(ctx context.Context) error {
	rows, err := c.pool.Query(ctx, `SELECT id FROM imports WHERE state = 'running' AND NOT received ORDER BY id LIMIT 100`)
	if err != nil {
		return fmt.Errorf("list imports being received: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
	if err != nil {
		return fmt.Errorf("list imports being received: %w", err)
	}
	var errs []error
	for _, id := range ids {
		errs = append(errs, pg.InTx(ctx, c.pool, func(tx pgx.Tx) error {
			var free bool
			err := tx.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1, hashtext($2))`, importLock, id.String()).Scan(&free)
			if err != nil || !free {
				return err
			}
			return endBody(ctx, tx, id, bodyEndedEarly, c.clock.Now())
		}))
	}
	return errors.Join(errs...)
}
