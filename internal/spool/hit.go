package spool

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kairos"
)

// The payload of a hit, version 1. Numbers are little endian.
//
//	version 1 | flags 1 | occurred_at i64 (Unix ns) | campaign 16 | notification 16 | event version i16
//	kind length u8 | kind | key length u16 | key | data, a JSON object, to the end
//
// A payload that begins with "{" is a kairos.Hit as JSON: it may say more
// (contact, ticket, external id), and collectors wrote nothing else
// before this version.
const (
	hitVersion = 1
	hitKeyed   = 1 << 0 // the key was chosen by the client
	hitFixed   = 1 + 1 + 8 + 16 + 16 + 2
)

// errHit does not quote the payload, which may hold what belongs to a person.
var errHit = errors.New("is no hit")

// AppendHit appends the payload of a hit. The event's id is not in it: it is
// the record's. What the compact form can't hold is written as JSON.
func AppendHit(dst []byte, h *kairos.Hit) []byte {
	e := &h.Event
	if ns := e.OccurredAt.UnixNano(); !time.Unix(0, ns).Equal(e.OccurredAt) || len(e.Kind) > 255 || len(e.Key) > 1<<16-1 ||
		!e.Contact.IsZero() || !e.Ticket.IsZero() || h.ExternalID != "" {
		whole := *h // so that h itself need not live on the heap
		raw, err := json.Marshal(whole)
		if err != nil {
			return dst // only for data that is no JSON; an empty payload is refused when it is read
		}
		return append(dst, raw...)
	}
	var flags byte
	if h.Keyed {
		flags = hitKeyed
	}
	dst = append(dst, hitVersion, flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.OccurredAt.UnixNano()))
	dst = append(dst, e.Campaign[:]...)
	dst = append(dst, e.Notification[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(e.Version))
	dst = append(append(dst, byte(len(e.Kind))), e.Kind...)
	dst = append(binary.LittleEndian.AppendUint16(dst, uint16(len(e.Key))), e.Key...)
	return append(dst, e.Data...)
}

// ParseHit reads a payload in any form there ever was; id is the record's and
// wins. Data points into the payload where that is binary. What the event says
// is not checked. It returns a kairos.ErrInvalid.
func ParseHit(id kairos.ID, payload []byte) (h kairos.Hit, err error) {
	if len(payload) > 0 && payload[0] == hitVersion {
		err = parseBinary(payload, &h)
	} else {
		h, err = parseJSON(payload)
	}
	if err != nil {
		return kairos.Hit{}, fmt.Errorf("read hit: %w: %w", err, kairos.ErrInvalid)
	}
	h.Event.ID, h.Event.OccurredAt = id, h.Event.OccurredAt.UTC()
	return h, nil
}

func parseJSON(b []byte) (kairos.Hit, error) {
	var h kairos.Hit
	if json.Unmarshal(b, &h) != nil {
		return h, errHit
	}
	return h, nil
}

func parseBinary(b []byte, h *kairos.Hit) error {
	if len(b) < hitFixed+1 || b[1]&^hitKeyed != 0 {
		return errHit
	}
	e := &h.Event
	h.Keyed = b[1]&hitKeyed != 0
	e.OccurredAt = time.Unix(0, int64(binary.LittleEndian.Uint64(b[2:])))
	copy(e.Campaign[:], b[10:])
	copy(e.Notification[:], b[26:])
	e.Version = int16(binary.LittleEndian.Uint16(b[42:]))
	n := int(b[hitFixed])
	b = b[hitFixed+1:]
	if len(b) < n+2 {
		return errHit
	}
	e.Kind = kindOf(b[:n])
	b = b[n:]
	n = int(binary.LittleEndian.Uint16(b))
	b = b[2:]
	if len(b) < n {
		return errHit
	}
	e.Key = string(b[:n])
	if b = b[n:]; len(b) > 0 {
		e.Data = b[:len(b):len(b)]
	}
	return nil
}

// kindOf makes no new string of the kinds that come all day.
func kindOf(b []byte) string {
	switch string(b) {
	case kairos.NotificationClicked:
		return kairos.NotificationClicked
	case kairos.NotificationOpened:
		return kairos.NotificationOpened
	case kairos.PageViewed:
		return kairos.PageViewed
	}
	return string(b)
}
