package eventlog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kairos"
)

// copyFrom is the number of events from which a COPY is worth its savepoint.
const copyFrom = 256

// copySQL takes what appendRow writes.
const copySQL = `COPY events (id, kind, version, subject, key, occurred_at, day, campaign, contact, notification, ticket, data)
	FROM STDIN (FORMAT binary)`

const copyColumns = 12

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// appendCopy copies events that are all new. A repeat among them fails the
// whole of it and leaves the transaction as it was.
func appendCopy(ctx context.Context, tx pgx.Tx, events []kairos.Event) (n int64, err error) {
	buf := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= 4<<20 {
			buffers.Put(buf)
		}
	}()
	b := append((*buf)[:0], "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...) // no flags, no extension
	for i := range events {
		b = appendRow(b, &events[i])
	}
	b = append(b, 0xff, 0xff)
	*buf = b

	point, err := tx.Begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("copy %d events: %w", len(events), err)
	}
	tag, err := point.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(b), copySQL)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("copy %d events: %w", len(events), err), point.Rollback(ctx))
	}
	if err := point.Commit(ctx); err != nil {
		return 0, fmt.Errorf("copy %d events: %w", len(events), err)
	}
	return tag.RowsAffected(), nil
}

// epoch is Postgres' own: timestamps and dates are counted from it.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// appendRow appends an event in COPY's binary format (PostgreSQL manual, COPY,
// "Binary Format"): the number of columns, then each as its length and bytes.
func appendRow(b []byte, e *kairos.Event) []byte {
	if e.ID.IsZero() {
		e.ID = kairos.NewID()
	}
	subject := e.About()
	b = binary.BigEndian.AppendUint16(b, copyColumns)
	b = appendID(b, e.ID)
	b = appendText(b, e.Kind)
	b = binary.BigEndian.AppendUint32(b, 2)
	b = binary.BigEndian.AppendUint16(b, uint16(max(e.Version, 1)))
	b = appendID(b, subject)
	b = appendText(b, e.Key)
	b = binary.BigEndian.AppendUint32(b, 8)
	b = binary.BigEndian.AppendUint64(b, uint64(e.OccurredAt.Unix()-epoch.Unix())*1_000_000+uint64(e.OccurredAt.Nanosecond()/1000))
	b = binary.BigEndian.AppendUint32(b, 4)
	b = binary.BigEndian.AppendUint32(b, uint32(int32(e.OccurredAt.UTC().Truncate(24*time.Hour).Sub(epoch)/(24*time.Hour))))
	for _, id := range [...]kairos.ID{e.Campaign, e.Contact, e.Notification, e.Ticket} {
		b = appendID(b, id)
	}
	if len(e.Data) == 0 {
		return append(b, 0xff, 0xff, 0xff, 0xff)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Data)+1))
	return append(append(b, 1), e.Data...) // jsonb, version 1
}

// appendID appends a uuid; the zero ID is NULL.
func appendID(b []byte, id kairos.ID) []byte {
	if id.IsZero() {
		return append(b, 0xff, 0xff, 0xff, 0xff)
	}
	return append(append(b, 0, 0, 0, 16), id[:]...)
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

// isRepeat reports whether a fact was in the log already (unique_violation).
func isRepeat(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "23505"
}
