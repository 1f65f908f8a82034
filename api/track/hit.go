package track

import (
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"

	"kairos"
	"kairos/internal/token"
)

// hit is the part of a kairos.Hit that a collector knows.
type hit struct {
	id                     kairos.ID
	kind, key              string
	at                     time.Time
	campaign, notification kairos.ID
	data                   func(dst []byte) []byte // appends a JSON object; nil: none
}

// appendHit appends what json.Marshal makes of the kairos.Hit, without its
// detours.
func appendHit(dst []byte, h hit) []byte {
	dst = append(dst, `{"event":{"id":`...)
	dst = appendID(dst, h.id)
	dst = append(dst, `,"kind":`...)
	dst = appendString(dst, h.kind)
	dst = append(dst, `,"version":1`...)
	if h.key != "" {
		dst = append(dst, `,"key":`...)
		dst = appendString(dst, h.key)
	}
	dst = append(dst, `,"occurred_at":"`...)
	dst = h.at.AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, '"')
	if !h.campaign.IsZero() {
		dst = append(dst, `,"campaign":`...)
		dst = appendID(dst, h.campaign)
	}
	if !h.notification.IsZero() {
		dst = append(dst, `,"notification":`...)
		dst = appendID(dst, h.notification)
	}
	if h.data != nil {
		dst = append(dst, `,"data":`...)
		dst = h.data(dst)
	}
	dst = append(dst, '}')
	if h.key != "" {
		dst = append(dst, `,"keyed":true`...)
	}
	return append(dst, '}')
}

const hexDigits = "0123456789abcdef"

func appendID(dst []byte, id kairos.ID) []byte {
	dst = append(dst, '"')
	for i, b := range id {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return append(dst, '"')
}

// appendString appends s as a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c < ' ':
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			default:
				dst = append(dst, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		dst = utf8.AppendRune(dst, r) // RuneError is U+FFFD
		i += n
	}
	return append(dst, '"')
}

// keep spools a hit that must not be lost: nil means that it is on disk.
func (c *Collector) keep(ctx context.Context, claims token.Claims, kind, key string, data json.RawMessage) (kairos.ID, error) {
	h := hit{id: kairos.NewID(), kind: kind, key: key, at: c.opts.Clock.Now(), campaign: claims.Campaign, notification: claims.Notification}
	if len(data) > 0 {
		h.data = func(dst []byte) []byte { return append(dst, data...) }
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Wait)
	defer cancel()
	return h.id, c.opts.Spool.Append(ctx, h.id, appendHit(make([]byte, 0, 512+len(data)), h))
}
