package kairos

import (
	"fmt"
	"strconv"
	"strings"
)

// String returns the form clients hold: "xid-position", "" for the start.
func (c Cursor) String() string {
	if c.IsZero() {
		return ""
	}
	return strconv.FormatUint(c.XID, 10) + "-" + strconv.FormatInt(c.Position, 10)
}

// IsZero reports whether c is the start of the log.
func (c Cursor) IsZero() bool { return c == Cursor{} }

// MarshalText implements encoding.TextMarshaler.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Cursor) UnmarshalText(b []byte) (err error) {
	*c, err = ParseCursor(string(b))
	return err
}

// ParseCursor reads the form of String.
func ParseCursor(s string) (Cursor, error) {
	if s == "" {
		return Cursor{}, nil
	}
	x, p, ok := strings.Cut(s, "-")
	xid, err1 := strconv.ParseUint(x, 10, 64)
	pos, err2 := strconv.ParseInt(p, 10, 64)
	if !ok || err1 != nil || err2 != nil || pos < 0 {
		return Cursor{}, fmt.Errorf("parse cursor: %w", Invalid("after", "is not a cursor of this log"))
	}
	return Cursor{XID: xid, Position: pos}, nil
}
