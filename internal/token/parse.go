package token

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"

	"kairos"
)

// MinSecret is the shortest root secret in bytes, after hex or base64 is undone.
const MinSecret = 16

// ParseKeyring reads KAIROS_SECRET: "id:secret[,id:secret...]" with ids from 0
// to 255, or a bare secret, which is key 1. The first key signs; put a new one
// in front to rotate and keep the old ones for as long as their links live.
//
// A secret is hex when it has nothing but hex digits, an even number of them;
// else base64 (either alphabet, padded or not) when it decodes to at least
// MinSecret bytes; else a passphrase, taken byte for byte. A secret cannot
// hold a comma, nor, without an id before it, a colon. `openssl rand -hex 32`
// makes a good one. Errors never repeat any of s.
func ParseKeyring(s string) (*Keyring, error) {
	if strings.TrimSpace(s) == "" {
		return nil, kairos.Invalid("secret", "is empty; `openssl rand -hex 32` makes one")
	}
	items := strings.Split(s, ",")
	ring := &Keyring{}
	for i, item := range items {
		id, text, err := splitKey(strings.TrimSpace(item), i+1, len(items))
		if err != nil {
			return nil, err
		}
		if ring.keys[id] != nil {
			return nil, kairos.Invalid("secret", "has two keys with id %d", id)
		}
		secret, err := decodeSecret(text, i+1)
		if err != nil {
			return nil, err
		}
		key, err := newRootKey(id, secret)
		if err != nil {
			return nil, err
		}
		ring.keys[id] = key
		ring.count++
		if i == 0 {
			ring.signing = id
		}
	}
	return ring, nil
}

// splitKey takes "id:secret" apart; nth counts from 1 and is for the errors.
func splitKey(item string, nth, of int) (byte, string, error) {
	number, text, found := strings.Cut(item, ":")
	if !found {
		if of > 1 {
			return 0, "", kairos.Invalid("secret", "needs the form id:secret for each of its %d keys; key number %d has no id", of, nth)
		}
		return 1, item, nil
	}
	id, err := strconv.ParseUint(strings.TrimSpace(number), 10, 8)
	if err != nil {
		return 0, "", kairos.Invalid("secret", "has something other than an id from 0 to 255 before the colon of key number %d", nth)
	}
	return byte(id), strings.TrimSpace(text), nil
}

func decodeSecret(text string, nth int) ([]byte, error) {
	short := func(n int, form string) error {
		return kairos.Invalid("secret", "has %d bytes of %s in key number %d; at least %d are needed (`openssl rand -hex 32` makes 32)", n, form, nth, MinSecret)
	}
	if text != "" && len(text)%2 == 0 {
		if b, err := hex.DecodeString(text); err == nil {
			if len(b) < MinSecret {
				return nil, short(len(b), "hex")
			}
			return b, nil
		}
	}
	plain := strings.TrimRight(text, "=")
	padded := len(plain) < len(text)
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		b, err := enc.DecodeString(plain)
		switch {
		case err != nil || strings.ContainsAny(plain, "\r\n"):
			continue
		case len(b) >= MinSecret:
			return b, nil
		case padded:
			return nil, short(len(b), "base64")
		}
	}
	if len(text) < MinSecret {
		return nil, short(len(text), "passphrase")
	}
	return []byte(text), nil
}
