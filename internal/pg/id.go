package pg

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"kairos"
)

// idCodec is pgx's uuid codec with direct plans for kairos.ID, whose zero
// value is NULL. Without it pgx would go through driver.Valuer and sql.Scanner,
// that is through 36 characters of text.
type idCodec struct{ pgtype.UUIDCodec }

// PlanEncode implements pgtype.Codec.
func (c idCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(kairos.ID); ok {
		if format == pgtype.BinaryFormatCode {
			return encodeIDBinary{}
		}
		return encodeIDText{}
	}
	return c.UUIDCodec.PlanEncode(m, oid, format, value)
}

// PlanScan implements pgtype.Codec.
func (c idCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	if _, ok := target.(*kairos.ID); ok {
		if format == pgtype.BinaryFormatCode {
			return scanIDBinary{}
		}
		return scanIDText{}
	}
	return c.UUIDCodec.PlanScan(m, oid, format, target)
}

type encodeIDBinary struct{}

func (encodeIDBinary) Encode(value any, buf []byte) ([]byte, error) {
	id := value.(kairos.ID)
	if id.IsZero() {
		return nil, nil
	}
	return append(buf, id[:]...), nil
}

type encodeIDText struct{}

func (encodeIDText) Encode(value any, buf []byte) ([]byte, error) {
	id := value.(kairos.ID)
	if id.IsZero() {
		return nil, nil
	}
	return append(buf, id.String()...), nil
}

type scanIDBinary struct{}

func (scanIDBinary) Scan(src []byte, target any) error {
	id := target.(*kairos.ID)
	switch len(src) {
	case 0:
		*id = kairos.ID{}
	case 16:
		copy(id[:], src)
	default:
		return fmt.Errorf("scan uuid of %d bytes", len(src))
	}
	return nil
}

type scanIDText struct{}

func (scanIDText) Scan(src []byte, target any) error {
	return target.(*kairos.ID).UnmarshalText(src)
}

// idArrayCodec is pgx's array codec with direct plans for []kairos.ID, which
// carries thousands of ids per statement through unnest($1::uuid[]).
type idArrayCodec struct{ *pgtype.ArrayCodec }

// PlanEncode implements pgtype.Codec.
func (c idArrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.([]kairos.ID); ok {
		if format == pgtype.BinaryFormatCode {
			return encodeIDsBinary{}
		}
		return encodeIDsText{}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

// PlanScan implements pgtype.Codec.
func (c idArrayCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	if _, ok := target.(*[]kairos.ID); ok && format == pgtype.BinaryFormatCode {
		return scanIDsBinary{}
	}
	return c.ArrayCodec.PlanScan(m, oid, format, target)
}

type encodeIDsBinary struct{}

// Encode writes Postgres' binary array: number of dimensions, has-null flag,
// element oid, then per dimension its length and lower bound, then per element
// a length (-1 for NULL) and the bytes (array_send in arrayfuncs.c).
func (encodeIDsBinary) Encode(value any, buf []byte) ([]byte, error) {
	ids := value.([]kairos.ID)
	if ids == nil {
		return nil, nil
	}
	dims, hasNull := uint32(1), uint32(0)
	if len(ids) == 0 {
		dims = 0
	}
	for i := range ids {
		if ids[i].IsZero() {
			hasNull = 1
			break
		}
	}
	buf = binary.BigEndian.AppendUint32(buf, dims)
	buf = binary.BigEndian.AppendUint32(buf, hasNull)
	buf = binary.BigEndian.AppendUint32(buf, pgtype.UUIDOID)
	if dims == 0 {
		return buf, nil
	}
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(ids)))
	buf = binary.BigEndian.AppendUint32(buf, 1)
	for i := range ids {
		if ids[i].IsZero() {
			buf = binary.BigEndian.AppendUint32(buf, 0xffffffff)
			continue
		}
		buf = binary.BigEndian.AppendUint32(buf, 16)
		buf = append(buf, ids[i][:]...)
	}
	return buf, nil
}

type encodeIDsText struct{}

func (encodeIDsText) Encode(value any, buf []byte) ([]byte, error) {
	ids := value.([]kairos.ID)
	if ids == nil {
		return nil, nil
	}
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = "NULL"
		if !id.IsZero() {
			parts[i] = id.String()
		}
	}
	return append(append(append(buf, '{'), strings.Join(parts, ",")...), '}'), nil
}

type scanIDsBinary struct{}

func (scanIDsBinary) Scan(src []byte, target any) error {
	dst := target.(*[]kairos.ID)
	if src == nil {
		*dst = nil
		return nil
	}
	ids, err := decodeIDs(src)
	if err != nil {
		return fmt.Errorf("scan uuid[]: %w", err)
	}
	*dst = ids
	return nil
}

func decodeIDs(src []byte) ([]kairos.ID, error) {
	short := fmt.Errorf("array of %d bytes ends early", len(src))
	if len(src) < 12 {
		return nil, short
	}
	dims := binary.BigEndian.Uint32(src)
	if dims == 0 {
		return []kairos.ID{}, nil
	}
	if dims != 1 {
		return nil, fmt.Errorf("array has %d dimensions", dims)
	}
	if len(src) < 20 {
		return nil, short
	}
	n := binary.BigEndian.Uint32(src[12:])
	rest := src[20:]
	if uint64(n)*4 > uint64(len(rest)) {
		return nil, short
	}
	ids := make([]kairos.ID, n)
	for i := range ids {
		if len(rest) < 4 {
			return nil, short
		}
		size := binary.BigEndian.Uint32(rest)
		rest = rest[4:]
		if size == 0xffffffff {
			continue
		}
		if size != 16 {
			return nil, fmt.Errorf("element of %d bytes", size)
		}
		if len(rest) < 16 {
			return nil, short
		}
		copy(ids[i][:], rest)
		rest = rest[16:]
	}
	return ids, nil
}

// registerIDDefaults names the types for parameters whose OID is unknown.
func registerIDDefaults(m *pgtype.Map) {
	m.RegisterDefaultPgType(kairos.ID{}, "uuid")
	m.RegisterDefaultPgType((*kairos.ID)(nil), "uuid")
	m.RegisterDefaultPgType([]kairos.ID(nil), "_uuid")
}
