package creation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
	"kairos/internal/batch"
	"kairos/internal/eventlog"
	"kairos/internal/pg"
)

// Formats of an import.
const (
	FormatCSV    = "csv"
	FormatNDJSON = "ndjson"
)

// Import is a file of contacts on its way in. Rows = Created + Updated +
// Rejected; they grow while it runs.
type Import struct {
	ID         kairos.ID  `json:"id"`
	Format     string     `json:"format"`
	State      string     `json:"state"`    // running, finished, failed
	Received   bool       `json:"received"` // the whole body is here
	Bytes      int64      `json:"bytes"`    // received so far
	Rows       int64      `json:"rows"`     // done so far
	Created    int64      `json:"created"`
	Updated    int64      `json:"updated"` // met a known person, also where nothing changed
	Rejected   int64      `json:"rejected"`
	Errors     []RowError `json:"errors"`          // the first 1,000
	Error      string     `json:"error,omitempty"` // why it failed
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
}

// bodyEndedEarly is the error of an import whose sender went away. The rows
// that came before stay.
const bodyEndedEarly = "body ended early"

// importLock is the first key of the advisory locks that receivers of imports
// hold; the second is made of the import's id.
const importLock = 0x6b61696d

// ImportTask asks for the next chunks of an import to be stored as contacts.
type ImportTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (ImportTask) Kind() string { return kairos.KindImport }

type importPayload struct {
	Import    kairos.ID `json:"import"`
	Separator string    `json:"separator,omitempty"` // csv
}

// StartImport receives a body of any size in bounded memory and returns when
// all of it is stored; work on its rows begins with its first chunk. format is
// csv or ndjson. A body whose first row is no header of contacts is
// ErrInvalid; one that ends in an error leaves a failed import and is an error
// too. ErrUnavailable: too many are being received.
func (c *Creation) StartImport(ctx context.Context, format string, body io.Reader) (Import, error) {
	end := rowEnd(lineEnd)
	if format != FormatCSV && format != FormatNDJSON {
		return Import{}, kairos.Invalid("format", "must be csv or ndjson")
	}
	select {
	case c.uploads <- struct{}{}:
		defer func() { <-c.uploads }()
	default:
		return Import{}, fmt.Errorf("%d imports are being received: %w", c.opts.Uploads, kairos.ErrUnavailable)
	}
	cut := newCutter(body, end)
	u := &upload{c: c, cut: cut, format: format, id: kairos.NewIDAt(c.clock.Now())}
	if err := u.begin(); err != nil {
		return Import{}, err
	}
	// From here a sender who goes away, which cancels the context, ends the body
	// only: what came stays.
	ctx = context.WithoutCancel(ctx)
	wait, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := c.pool.Acquire(wait)
	if err != nil {
		return Import{}, fmt.Errorf("start import: %w", err)
	}
	defer conn.Release()
	u.conn = conn
	if err := u.open(ctx); err != nil {
		return Import{}, err
	}
	err = u.receive(ctx)
	if err := errors.Join(err, u.close(ctx)); err != nil {
		return Import{}, err
	}
	i, err := c.Import(ctx, u.id)
	if err == nil && cut.err != nil {
		return i, fmt.Errorf("receive import %s: %s: %w", u.id, bodyEndedEarly, cut.err)
	}
	return i, err
}

// upload is an import being received.
type upload struct {
	c         *Creation
	cut       *cutter
	conn      *pgxpool.Conn
	id        kairos.ID
	format    string
	header    []string
	separator byte
	rows      int64 // received
	chunks    int
}

// begin reads what must make sense before there is an import: the byte order
// mark, and the header of a CSV body.
func (u *upload) begin() error {
	u.cut.fill()
	broken := func() error {
		if u.cut.err == nil {
			return nil
		}
		return fmt.Errorf("receive import: %s: %w", bodyEndedEarly, u.cut.err)
	}
	u.cut.buf = bytes.TrimPrefix(u.cut.buf, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(u.cut.buf, []byte("\xff\xfe")) || bytes.HasPrefix(u.cut.buf, []byte("\xfe\xff")) {
		return kairos.Invalid("body", "is UTF-16: send it as UTF-8")
	}
	for len(u.cut.buf) > 0 && (u.cut.buf[0] == '\n' || u.cut.buf[0] == '\r') {
		u.cut.buf = u.cut.buf[1:]
	}
	if len(u.cut.buf) == 0 {
		return cmp.Or(broken(), kairos.Invalid("body", "is empty"))
	}
	if u.format == FormatNDJSON {
		if first := bytes.TrimLeft(u.cut.buf, " \t\r\n"); len(first) > 0 && first[0] != '{' {
			return kairos.Invalid("body", "is not NDJSON: its first line is no JSON object")
		}
		return nil
	}
	head := u.cut.buf[:min(len(u.cut.buf), maxHeader)]
	separator := csvSeparator(string(firstLine(head)))
	u.cut.end = csvRowEnd(separator)
	n, _ := u.cut.end(head)
	if n < 0 {
		if err := broken(); err != nil {
			return err
		}
		if len(head) == maxHeader || !u.cut.atEOF {
			return kairos.Invalid("header", "is longer than %d KiB, or the lines don't end in LF", maxHeader>>10)
		}
		n = len(head)
	}
	names, err := splitCSV(nil, string(head[:n]), separator)
	if err != nil {
		return kairos.Invalid("header", err.Error())
	}
	if _, err := newCSVTable(names, separator); err != nil {
		return err
	}
	u.header, u.separator = names, separator
	u.cut.buf = u.cut.buf[n:]
	return nil
}

func firstLine(b []byte) []byte {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return line
}

// open makes the import's row and takes the lock that tells it is being
// received: it is released when this process ends, however it does.
func (u *upload) open(ctx context.Context) error {
	if _, err := u.conn.Exec(ctx, `SELECT pg_advisory_lock($1, hashtext($2))`, importLock, u.id.String()); err != nil {
		return fmt.Errorf("start import: %w", err)
	}
	_, err := u.conn.Exec(ctx, `
		INSERT INTO imports (id, format, state, header, created_at) VALUES ($1, $2, 'running', $3, $4)`,
		u.id, u.format, u.header, u.c.clock.Now())
	if err != nil {
		return errors.Join(fmt.Errorf("insert import: %w", err), u.unlock(ctx))
	}
	return nil
}

// receive stores chunk after chunk. What the sender did wrong is in cut.err.
func (u *upload) receive(ctx context.Context) error {
	for {
		data, rows := u.cut.next(u.c.opts.ChunkSize)
		if len(data) > 0 {
			if err := u.put(ctx, data, rows); err != nil {
				return err
			}
		}
		if u.cut.atEOF && len(u.cut.buf) == 0 || u.cut.err != nil && len(data) < u.c.opts.ChunkSize {
			return nil
		}
	}
}

// put stores a chunk, and a batch where no work is under way: that is where no
// chunk waits, since whoever stores a chunk's contacts goes on to the next under
// the same lock of the import's row.
func (u *upload) put(ctx context.Context, data []byte, rows int64) error {
	err := pg.InTx(ctx, u.conn, func(tx pgx.Tx) error {
		var idle bool
		if _, err := tx.Exec(ctx, `UPDATE imports SET chunks = chunks + 1, bytes = bytes + $2 WHERE id = $1`, u.id, len(data)); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM import_chunks WHERE import = $1)`, u.id).Scan(&idle); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `INSERT INTO import_chunks (import, seq, first_row, data) VALUES ($1, $2, $3, $4)`,
			u.id, u.chunks, u.rows+1, data)
		if err != nil || !idle {
			return err
		}
		payload := importPayload{Import: u.id}
		if u.format == FormatCSV {
			payload.Separator = string(rune(u.separator))
		}
		_, err = batch.Insert(ctx, tx, batch.Batch{Kind: kairos.KindImport, Slot: u.c.clock.Now(), Size: int(rows), Payload: payload})
		return err
	})
	if err != nil {
		return fmt.Errorf("store chunk %d of import %s: %w", u.chunks, u.id, err)
	}
	u.chunks++
	u.rows += rows
	return nil
}

// close marks the body as received, ends the import where nothing waits any
// more, and gives the lock back.
func (u *upload) close(ctx context.Context) error {
	failure := ""
	if !u.cut.atEOF || u.cut.err != nil {
		failure = bodyEndedEarly
	}
	now := u.c.clock.Now()
	err := pg.InTx(ctx, u.conn, func(tx pgx.Tx) error { return endBody(ctx, tx, u.id, failure, now) })
	return errors.Join(err, u.unlock(ctx))
}

func (u *upload) unlock(ctx context.Context) error {
	if _, err := u.conn.Exec(ctx, `SELECT pg_advisory_unlock($1, hashtext($2))`, importLock, u.id.String()); err != nil {
		_ = u.conn.Conn().Close(ctx) // ends the session and with it the lock
		return fmt.Errorf("end import: %w", err)
	}
	return nil
}

// endBody records that no more chunks will come; failure is "" or why.
func endBody(ctx context.Context, tx pgx.Tx, id kairos.ID, failure string, now time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE imports SET received = true, error = nullif($2, '') WHERE id = $1 AND NOT received`, id, failure)
	if err != nil {
		return fmt.Errorf("end body of import %s: %w", id, err)
	}
	return settleImport(ctx, tx, id, now)
}

// settleImport ends an import when its body is here and no chunk waits. The
// caller has locked its row.
func settleImport(ctx context.Context, tx pgx.Tx, id kairos.ID, now time.Time) error {
	var counts []byte
	err := tx.QueryRow(ctx, `
		UPDATE imports SET state = CASE WHEN error IS NULL THEN 'finished' ELSE 'failed' END, finished_at = $2
		WHERE id = $1 AND state = 'running' AND received AND NOT EXISTS (SELECT FROM import_chunks WHERE import = $1)
		RETURNING jsonb_strip_nulls(jsonb_build_object('state', state, 'rows', rows, 'created', created, 'updated', updated,
			'rejected', rejected, 'error', error))`, id, now).Scan(&counts)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("settle import %s: %w", id, err)
	}
	_, err = eventlog.Append(ctx, tx, kairos.Event{Kind: kairos.ImportFinished, Subject: id, OccurredAt: now, Data: counts})
	return err
}
