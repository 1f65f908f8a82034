package kairos

import (
	"crypto/rand"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// ID is a UUID (RFC 9562). Kairos mints version 7, whose first 48 bits are a
// Unix time in milliseconds, so ids sort by the time they were made and a
// month of campaigns is one range of ids. The zero ID means "none" and is
// stored as NULL.
type ID [16]byte

// NewID mints a version 7 id at the present moment of the machine.
func NewID() ID { return NewIDAt(time.Now()) }

// NewIDAt mints a version 7 id whose time part is at.
func NewIDAt(at time.Time) ID {
	var id ID
	if _, err := rand.Read(id[6:]); err != nil {
		panic(err) // crypto/rand never fails on a supported platform
	}
	id.stamp(at)
	return id
}

func (id *ID) stamp(at time.Time) {
	ms := uint64(max(at.UnixMilli(), 0))
	id[0], id[1], id[2] = byte(ms>>40), byte(ms>>32), byte(ms>>24)
	id[3], id[4], id[5] = byte(ms>>16), byte(ms>>8), byte(ms)
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
}

// IDRange mints ids that follow one another: Nth(0) < Nth(1) < ... and no id of
// another range lies between them (54 random bits apart). A batch of
// notifications is such a range, which lets one index serve both "this
// notification" and "all of this batch". A range holds 2^20 ids.
type IDRange struct{ base ID }

// NewIDRange starts a range at the given time.
func NewIDRange(at time.Time) IDRange { return IDRange{NewIDAt(at)} }

// Nth returns the nth id of the range, 0 <= n < 1<<20.
func (r IDRange) Nth(n int) ID {
	if n < 0 || n >= 1<<20 {
		panic("kairos: id range exhausted")
	}
	id := r.base
	tail := binary.BigEndian.Uint32(id[12:])
	binary.BigEndian.PutUint32(id[12:], tail&^(1<<20-1)|uint32(n))
	return id
}

// ParseID reads the canonical 36-character form (upper or lower case).
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, Invalid("id", "is not a UUID")
	}
	src := s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36]
	if _, err := hex.Decode(id[:], []byte(src)); err != nil {
		return ID{}, Invalid("id", "is not a UUID")
	}
	return id, nil
}

// MustID is ParseID for constants in tests; it panics on a bad form.
func MustID(s string) ID {
	id, err := ParseID(s)
	if err != nil {
		panic(err)
	}
	return id
}

// IsZero reports whether id is "none".
func (id ID) IsZero() bool { return id == ID{} }

// Time returns the moment in a version 7 id, to the millisecond.
func (id ID) Time() time.Time {
	ms := uint64(id[0])<<40 | uint64(id[1])<<32 | uint64(id[2])<<24 | uint64(id[3])<<16 | uint64(id[4])<<8 | uint64(id[5])
	return time.UnixMilli(int64(ms)).UTC()
}

// String returns the canonical lower-case form.
func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], id[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], id[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], id[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], id[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], id[10:16])
	return string(b[:])
}

// MarshalText implements encoding.TextMarshaler; the zero ID is "".
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return []byte{}, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler; "" is the zero ID.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// Value implements driver.Valuer; the zero ID is NULL. Pools opened by
// internal/pg bypass it with a binary codec.
func (id ID) Value() (driver.Value, error) {
	if id.IsZero() {
		return nil, nil
	}
	return id.String(), nil
}

// Scan implements sql.Scanner; NULL is the zero ID.
func (id *ID) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*id = ID{}
		return nil
	case string:
		return id.UnmarshalText([]byte(v))
	case []byte:
		if len(v) == 16 {
			copy(id[:], v)
			return nil
		}
		return id.UnmarshalText(v)
	case [16]byte:
		*id = v
		return nil
	}
	return fmt.Errorf("scan id from %T", src)
}
