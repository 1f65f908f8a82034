package track

import (
	"context"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"kairos"
	"kairos/internal/spool"
	"kairos/internal/token"
)

// hitOf is the part of a hit that a collector knows.
func (c *Collector) hitOf(claims token.Claims, kind string, data []byte) kairos.Hit {
	return kairos.Hit{Event: kairos.Event{
		Kind: kind, Version: 1, OccurredAt: c.opts.Clock.Now(), Campaign: claims.Campaign, Notification: claims.Notification, Data: data,
	}}
}

// appendClick appends the data of a click.
func appendClick(dst []byte, link uint16, machine, url string) []byte {
	dst = strconv.AppendUint(append(dst, `{"link":`...), uint64(link), 10)
	if machine != "" {
		dst = append(append(append(dst, `,"machine":"`...), machine...), '"')
	}
	return append(appendString(append(dst, `,"url":`...), url), '}')
}

// appendOpen appends the data of an open, which has some only when a machine
// did it.
func appendOpen(dst []byte, machine string) []byte {
	if machine == "" {
		return dst
	}
	return append(append(append(dst, `{"machine":"`...), machine...), `"}`...)
}

const hexDigits = "0123456789abcdef"

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
	id, h := kairos.NewID(), c.hitOf(claims, kind, data)
	h.Event.Key, h.Keyed = key, key != ""
	ctx, cancel := context.WithTimeout(ctx, c.opts.Wait)
	defer cancel()
	return id, c.opts.Spool.Append(ctx, id, spool.AppendHit(make([]byte, 0, 512+len(data)), &h))
}
