package creation

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// copyContacts inserts the people that are new, as one COPY in Postgres' binary
// format (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format").
func copyContacts(ctx context.Context, tx pgx.Tx, now time.Time, people []*person) error {
	return encodeContacts(now, people).send(ctx, tx, "contacts")
}

func encodeContacts(now time.Time, people []*person) *copyBuffer {
	b := newCopyBuffer(len(people)*256, contactCopy+", created_at, updated_at")
	for _, p := range people {
		if !p.fresh {
			continue
		}
		b.person(p, 13)
		b.instant(now)
		b.instant(now)
	}
	return b
}

// contactCopy names the columns that copyBuffer.person fills.
const contactCopy = "id, external_id, email, email_key, phone, first_name, last_name, locale, timezone, region, attributes"

// updateContacts lays what was said about known people over what is stored and
// writes only the rows that differ. Whoever was erased meanwhile stays so.
func updateContacts(ctx context.Context, tx pgx.Tx, now time.Time, people []*person) error {
	var known []*person
	for _, p := range people {
		if !p.fresh {
			known = append(known, p)
		}
	}
	if len(known) == 0 {
		return nil
	}
	slices.SortFunc(known, func(a, b *person) int { return bytes.Compare(a.id[:], b.id[:]) })
	_, err := tx.Exec(ctx, `
		CREATE TEMPORARY TABLE IF NOT EXISTS contact_changes (id uuid, external_id text, email text, email_key text, phone text,
			first_name text, last_name text, locale text, timezone text, region text, attributes jsonb, gone text[])
			ON COMMIT DELETE ROWS;
		TRUNCATE contact_changes;
		SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off`, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return fmt.Errorf("prepare changes of contacts: %w", err)
	}
	b := newCopyBuffer(len(known)*256, contactCopy+", gone")
	for _, p := range known {
		b.person(p, 12)
		b.texts(p.drop)
	}
	if err := b.send(ctx, tx, "contact_changes"); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		UPDATE contacts c SET external_id = coalesce(t.external_id, c.external_id), email = coalesce(t.email, c.email),
			email_key = coalesce(t.email_key, c.email_key), phone = coalesce(t.phone, c.phone),
			first_name = coalesce(t.first_name, c.first_name), last_name = coalesce(t.last_name, c.last_name),
			locale = coalesce(t.locale, c.locale), timezone = coalesce(t.timezone, c.timezone),
			region = coalesce(t.region, c.region), attributes = (c.attributes - t.gone) || t.attributes, updated_at = $1
		FROM contact_changes t
		WHERE c.id = t.id AND c.erased_at IS NULL
		  AND ((t.external_id, t.email, t.phone, t.first_name, t.last_name, t.locale, t.timezone, t.region) IS DISTINCT FROM
		       (c.external_id, c.email, c.phone, c.first_name, c.last_name, c.locale, c.timezone, c.region)
		    OR t.attributes <> '{}' OR t.gone <> '{}')
		  AND (coalesce(t.external_id, c.external_id), coalesce(t.email, c.email), coalesce(t.phone, c.phone),
		       coalesce(t.first_name, c.first_name), coalesce(t.last_name, c.last_name), coalesce(t.locale, c.locale),
		       coalesce(t.timezone, c.timezone), coalesce(t.region, c.region), (c.attributes - t.gone) || t.attributes) IS DISTINCT FROM
		      (c.external_id, c.email, c.phone, c.first_name, c.last_name, c.locale, c.timezone, c.region, c.attributes)`, now)
	if err != nil {
		return fmt.Errorf("update contacts: %w", err)
	}
	return nil
}

// copyBuffer builds the body of a binary COPY.
type copyBuffer struct {
	buf     []byte
	rows    int
	columns string
}

// postgresEpoch is 2000-01-01 in microseconds of Unix time.
const postgresEpoch = 946684800_000_000

func newCopyBuffer(size int, columns string) *copyBuffer {
	b := &copyBuffer{buf: make([]byte, 0, size+64), columns: columns}
	b.buf = append(b.buf, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	return b
}

// person begins a tuple of so many columns with those of contactCopy.
func (b *copyBuffer) person(p *person, columns uint16) {
	b.rows++
	b.buf = binary.BigEndian.AppendUint16(b.buf, columns)
	b.bytes(p.id[:])
	for f, v := range p.fields {
		b.text(v)
		if f == fieldEmail {
			b.text(p.emailKey)
		}
	}
	b.json(p.attributes)
}

func (b *copyBuffer) bytes(v []byte) {
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(len(v)))
	b.buf = append(b.buf, v...)
}

// text appends a text; "" is NULL.
func (b *copyBuffer) text(v string) {
	if v == "" {
		b.buf = append(b.buf, 0xff, 0xff, 0xff, 0xff)
		return
	}
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(len(v)))
	b.buf = append(b.buf, v...)
}

// json appends a jsonb; "" is the empty object. Its binary form is a version
// byte and the text.
func (b *copyBuffer) json(v string) {
	if v == "" {
		v = "{}"
	}
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(len(v)+1))
	b.buf = append(b.buf, 1)
	b.buf = append(b.buf, v...)
}

func (b *copyBuffer) instant(t time.Time) {
	b.buf = binary.BigEndian.AppendUint32(b.buf, 8)
	b.buf = binary.BigEndian.AppendUint64(b.buf, uint64(t.UnixMicro()-postgresEpoch))
}

// texts appends a text[] of one dimension.
func (b *copyBuffer) texts(v []string) {
	size := 12
	if len(v) > 0 {
		size = 20
	}
	for _, s := range v {
		size += 4 + len(s)
	}
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(size))
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(min(len(v), 1))) // dimensions
	b.buf = binary.BigEndian.AppendUint32(b.buf, 0)                      // no NULL
	b.buf = binary.BigEndian.AppendUint32(b.buf, 25)                     // text
	if len(v) == 0 {
		return
	}
	b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(len(v)))
	b.buf = binary.BigEndian.AppendUint32(b.buf, 1)
	for _, s := range v {
		b.buf = binary.BigEndian.AppendUint32(b.buf, uint32(len(s)))
		b.buf = append(b.buf, s...)
	}
}

// send copies into a table; without rows it does nothing.
func (b *copyBuffer) send(ctx context.Context, tx pgx.Tx, table string) error {
	if b.rows == 0 {
		return nil
	}
	b.buf = append(b.buf, 0xff, 0xff)
	sql := "COPY " + table + " (" + b.columns + ") FROM STDIN (FORMAT binary)"
	if _, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(b.buf), sql); err != nil {
		return fmt.Errorf("copy %d rows into %s: %w", b.rows, table, err)
	}
	return nil
}
