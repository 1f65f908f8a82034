package eventlog

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"kairos"
)

const columnsRead = `id, kind, version, subject, key, occurred_at, recorded_at, campaign, contact, notification, ticket, data, xid, position`

// columnsOfFacts stand in the same places.
const columnsOfFacts = `NULL::uuid, kind, 0::smallint, NULL::uuid, key, occurred_at, recorded_at, campaign, contact, notification, NULL::uuid, data, xid, position`

// formats are those that Postgres answers columnsRead in when the statement is
// prepared, which is how pgx asks unless it is told otherwise.
var formats = [...]int16{
	pgtype.BinaryFormatCode, pgtype.TextFormatCode, pgtype.BinaryFormatCode, pgtype.BinaryFormatCode, pgtype.TextFormatCode,
	pgtype.BinaryFormatCode, pgtype.BinaryFormatCode, pgtype.BinaryFormatCode, pgtype.BinaryFormatCode, pgtype.BinaryFormatCode,
	pgtype.BinaryFormatCode, pgtype.TextFormatCode, pgtype.BinaryFormatCode, pgtype.BinaryFormatCode,
}

// collect reads rows of columnsRead. A reader of the log takes in thousands of
// events at once: they are decoded by hand where the formats are as expected.
func collect(rows pgx.Rows, err error) ([]kairos.Event, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []kairos.Event
	d := decoder{kinds: map[string]string{}}
	for rows.Next() {
		var e kairos.Event
		if d.knows(rows) {
			d.event(&e, rows.RawValues())
		} else if e, err = scan(rows); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// decoder reads rows as Postgres sends them: ids as 16 bytes, numbers big-endian,
// timestamps in microseconds since epoch.
type decoder struct {
	asked, known bool
	kinds        map[string]string // each once: there are few
	text         []byte            // what is left to keep keys and data in
}

func (d *decoder) knows(rows pgx.Rows) bool {
	if d.asked {
		return d.known
	}
	d.asked, d.known = true, true
	for i, f := range rows.FieldDescriptions() {
		d.known = d.known && f.Format == formats[i]
	}
	return d.known
}

func (d *decoder) event(e *kairos.Event, raw [][]byte) {
	for i, id := range [...]*kairos.ID{&e.ID, nil, nil, &e.Subject, nil, nil, nil, &e.Campaign, &e.Contact, &e.Notification, &e.Ticket} {
		if id != nil && raw[i] != nil {
			copy(id[:], raw[i])
		}
	}
	kind, ok := d.kinds[string(raw[1])]
	if !ok {
		kind = string(raw[1])
		d.kinds[kind] = kind
	}
	e.Kind = kind
	e.Version = int16(binary.BigEndian.Uint16(raw[2]))
	e.Key = string(raw[4])
	e.OccurredAt, e.RecordedAt = timeOf(raw[5]), timeOf(raw[6])
	if raw[11] != nil {
		e.Data = d.keep(raw[11])
	}
	e.Cursor = kairos.Cursor{XID: binary.BigEndian.Uint64(raw[12]), Position: int64(binary.BigEndian.Uint64(raw[13]))}
}

// keep copies b; the driver uses its memory again.
func (d *decoder) keep(b []byte) []byte {
	const piece = 16 << 10
	if len(b) > piece/4 {
		return append([]byte(nil), b...)
	}
	if len(b) > len(d.text) {
		d.text = make([]byte, piece)
	}
	n := copy(d.text, b)
	kept := d.text[:n:n]
	d.text = d.text[n:]
	return kept
}

func timeOf(raw []byte) time.Time {
	micros := int64(binary.BigEndian.Uint64(raw))
	seconds, rest := micros/1_000_000, micros%1_000_000
	return time.Unix(epoch.Unix()+seconds, rest*1000).UTC()
}

func scan(r pgx.CollectableRow) (e kairos.Event, err error) {
	var data []byte
	err = r.Scan(&e.ID, &e.Kind, &e.Version, &e.Subject, &e.Key, &e.OccurredAt, &e.RecordedAt,
		&e.Campaign, &e.Contact, &e.Notification, &e.Ticket, &data, &e.Cursor.XID, &e.Cursor.Position)
	if data != nil {
		e.Data = data
	}
	return e, err
}
