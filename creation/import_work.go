package creation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/batch"
)

const (
	// maxImportErrors is how many row errors an import keeps.
	maxImportErrors = 1000
	// importStint is how long one task goes on from chunk to chunk before it
	// lets other imports have their turn.
	importStint = 10 * time.Second
)

// chunk is a part of an import, read and parsed.
type chunk struct {
	seq int
	// once it is stored
	refused int  // rows
	allNew  bool // every row that was not bad made a contact
	guessed bool // that was expected, and wrong
	*parsed
}

// ImportChunk stores chunk after chunk of an import as contacts, as if in their
// order. Each chunk's contacts, counts and end commit together, under the fence
// of the batch: a chunk counts once.
func (c *Creation) ImportChunk(ctx context.Context, task ImportTask) ([]kairos.Task, error) {
	claim, err := batch.Claim(ctx, c.pool, task.Ref, c.opts.Owner, batch.Lease)
	if err != nil || claim == nil {
		return nil, err
	}
	held, stop := batch.Keep(ctx, c.pool, task.Ref, c.opts.Owner, batch.Lease)
	defer stop()
	var payload importPayload
	if err := claim.Into(&payload); err != nil {
		return nil, err
	}
	w := &importWork{c: c, claim: claim, payload: payload, until: time.Now().Add(importStint)}
	if err := w.load(held); err != nil {
		return nil, err
	}
	next, err := w.run(held)
	if err != nil && (errors.Is(err, batch.ErrFenced) || errors.Is(context.Cause(held), batch.ErrFenced)) {
		return nil, nil // somebody else has it
	}
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", payload.Import, err)
	}
	return next, nil
}

type importWork struct {
	c       *Creation
	claim   *batch.Claimed
	payload importPayload
	parse   func(data string, first int64) *parsed
	errors  int // row errors the import keeps already
	until   time.Time

	oneByOne bool // chunks no longer go side by side
	newcomer bool // the last chunk was all new: the next is expected to be
	mixed    bool // that was wrong once
}

// load reads what all chunks share.
func (w *importWork) load(ctx context.Context) error {
	var format string
	var header []string
	err := w.c.pool.QueryRow(ctx, `SELECT format, header, jsonb_array_length(errors) FROM imports WHERE id = $1`, w.payload.Import).
		Scan(&format, &header, &w.errors)
	if err != nil {
		return missing(err, "import", w.payload.Import)
	}
	if format == FormatNDJSON {
		w.parse = func(data string, first int64) *parsed { return parseNDJSON(w.c, data, first) }
		return nil
	}
	if len(w.payload.Separator) != 1 {
		return fmt.Errorf("import %s has no separator: %w", w.payload.Import, kairos.ErrPermanent)
	}
	table, err := newCSVTable(header, w.payload.Separator[0])
	if err != nil {
		return err
	}
	w.parse = func(data string, first int64) *parsed { return table.parse(w.c, data, first) }
	return nil
}

// read loads and parses the first chunk after seq; nil: there is none.
func (w *importWork) read(ctx context.Context, seq int) (*chunk, error) {
	var data []byte
	var first int64
	k := &chunk{}
	err := w.c.pool.QueryRow(ctx, `
		SELECT seq, first_row, data FROM import_chunks WHERE import = $1 AND seq > $2 ORDER BY seq LIMIT 1`,
		w.payload.Import, seq).Scan(&k.seq, &first, &data)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read chunk: %w", err)
	}
	k.parsed = w.parse(string(data), first)
	return k, nil
}

// commit stores one chunk. over: the batch is finished; a task tells who goes
// on. A nil chunk means that nothing waits.
func (w *importWork) commit(ctx context.Context, k *chunk) (over bool, next []kairos.Task, err error) {
	err = w.c.writeContacts(ctx, func(tx pgx.Tx, now time.Time) (err error) {
		if k != nil {
			if err := w.store(ctx, tx, k, now, false); err != nil {
				return err
			}
		} else if _, err := tx.Exec(ctx, `SELECT FROM imports WHERE id = $1 FOR NO KEY UPDATE`, w.payload.Import); err != nil {
			return fmt.Errorf("lock import: %w", err)
		}
		over, next, err = w.conclude(ctx, tx, now, time.Now().After(w.until))
		return err
	})
	return over, next, err
}

// conclude ends a transaction that has locked the import's row: no chunk comes
// in before it commits. Where none waits, or stop is set, the batch is finished;
// who stores the next chunk then finds that none waits and makes a new one.
func (w *importWork) conclude(ctx context.Context, tx pgx.Tx, now time.Time, stop bool) (over bool, next []kairos.Task, err error) {
	// The fence comes last: held for long it would keep the lease from being extended.
	if err := batch.Hold(ctx, tx, w.claim.Ref); err != nil {
		return false, nil, err
	}
	var waits bool
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM import_chunks WHERE import = $1)`, w.payload.Import).Scan(&waits)
	if err != nil {
		return false, nil, fmt.Errorf("look for chunks: %w", err)
	}
	if waits && !stop {
		return false, nil, nil
	}
	if waits {
		refs, err := batch.Insert(ctx, tx, batch.Batch{Kind: kairos.KindImport, Slot: now, Payload: w.payload, Ticket: w.claim.Ticket})
		if err != nil {
			return false, nil, err
		}
		next = []kairos.Task{ImportTask{refs[0]}}
	} else if err := settleImport(ctx, tx, w.payload.Import, now); err != nil {
		return false, nil, err
	}
	return true, next, batch.Finish(ctx, tx, w.claim.Ref)
}

// store upserts a chunk's rows, removes the chunk and adds up the counts, which
// locks the import's row. fresh: only if all its people are new.
func (w *importWork) store(ctx context.Context, tx pgx.Tx, k *chunk, now time.Time, fresh bool) error {
	tag, err := tx.Exec(ctx, `DELETE FROM import_chunks WHERE import = $1 AND seq = $2`, w.payload.Import, k.seq)
	if err != nil {
		return fmt.Errorf("remove chunk: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return nil // done already
	}
	var out []outcome
	if w.newcomer && !w.mixed {
		if out, err = insertNew(ctx, tx, now, k.rows); err != nil {
			return err
		}
		k.guessed = out == nil
	}
	if out == nil && fresh {
		if known, err := lookUp(ctx, tx, k.rows); err != nil || len(known) > 0 {
			return errors.Join(err, errOutOfTurn)
		}
	}
	if out == nil {
		if out, err = upsert(ctx, tx, now, k.rows); err != nil {
			return err
		}
	}
	var created, updated int64
	bad := slices.Clone(k.bad)
	for i, o := range out {
		switch {
		case o.reason != "":
			bad = append(bad, RowError{Row: k.number[i], Error: o.reason})
		case o.created:
			created++
		default:
			updated++
		}
	}
	k.refused, k.allNew = len(bad), created == int64(len(k.rows))
	errs, err := firstErrors(bad, maxImportErrors-w.errors)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		UPDATE imports SET rows = rows + $2, created = created + $3, updated = updated + $4, rejected = rejected + $5,
			errors = CASE WHEN $6 = '[]'::jsonb THEN errors ELSE errors || $6 END
		WHERE id = $1`, w.payload.Import, k.total, created, updated, len(bad), errs)
	if err != nil {
		return fmt.Errorf("count chunk: %w", err)
	}
	return nil
}

// firstErrors returns up to n of the errors, by row, as JSON.
func firstErrors(bad []RowError, n int) (string, error) {
	slices.SortFunc(bad, func(a, b RowError) int { return cmp.Compare(a.Row, b.Row) })
	if n <= 0 || len(bad) == 0 {
		return "[]", nil
	}
	raw, err := json.Marshal(bad[:min(n, len(bad))])
	if err != nil {
		return "", fmt.Errorf("marshal row errors: %w", err)
	}
	return string(raw), nil
}
