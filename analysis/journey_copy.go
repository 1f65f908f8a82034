package analysis

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"kairos"
)

// pgEpoch is where Postgres counts timestamps from, in Unix microseconds.
var pgEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// copyJourneys copies journeys that the table does not have.
func copyJourneys(ctx context.Context, tx pgx.Tx, journeys []*journey) error {
	if len(journeys) == 0 {
		return nil
	}
	b := make([]byte, 0, 400*len(journeys))
	b = append(b, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...) // no flags, no extension
	for _, j := range journeys {
		b = j.appendRow(b)
	}
	b = append(b, 0xff, 0xff)
	_, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(b), `
		COPY journeys (notification, campaign, contact, arm, channel, model, starts_at, sent_at, until_at, opened_at, clicked_at, state)
		FROM STDIN (FORMAT binary)`)
	if err != nil {
		return fmt.Errorf("copy %d journeys: %w", len(journeys), err)
	}
	return nil
}

// appendRow appends a journey in COPY's binary format (PostgreSQL manual, COPY,
// "Binary Format"): the number of columns, then each as its length and bytes.
func (j *journey) appendRow(b []byte) []byte {
	v := j.reading()
	b = binary.BigEndian.AppendUint16(b, 12)
	for _, id := range [...]kairos.ID{j.notification, j.campaign, j.contact} {
		b = append(append(b, 0, 0, 0, 16), id[:]...)
	}
	for _, s := range [...]string{string(j.arm), string(j.channel)} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	if j.model == 0 {
		b = append(b, 0xff, 0xff, 0xff, 0xff)
	} else {
		b = binary.BigEndian.AppendUint32(append(b, 0, 0, 0, 4), uint32(int32(j.model)))
	}
	for _, at := range [...]int64{v.start, v.sent, v.until, v.opened, v.clicked} {
		if at == 0 {
			b = append(b, 0xff, 0xff, 0xff, 0xff)
		} else {
			b = binary.BigEndian.AppendUint64(append(b, 0, 0, 0, 8), uint64(at-pgEpoch))
		}
	}
	from := len(b)
	b = append(b, 0, 0, 0, 0, 1) // jsonb, version 1
	b = j.facts.appendJSON(b)
	binary.BigEndian.PutUint32(b[from:], uint32(len(b)-from-4))
	return b
}

// moments are Unix microseconds as an array of timestamptz; 0 is NULL.
type moments []int64

// Dimensions implements pgtype.ArrayGetter.
func (m moments) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(m)), LowerBound: 1}}
}

// Index implements pgtype.ArrayGetter.
func (m moments) Index(i int) any {
	if m[i] == 0 {
		return pgtype.Timestamptz{}
	}
	return pgtype.Timestamptz{Time: time.UnixMicro(m[i]), Valid: true}
}

// IndexType implements pgtype.ArrayGetter.
func (m moments) IndexType() any { return pgtype.Timestamptz{} }
