package token

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// encoding has one spelling per token: no padding, spare bits zero.
var encoding = base64.RawURLEncoding.Strict()

// Mint returns the token of c under the signing key, about
// 87 + 4/3*len(c.Destination) characters. Claims that do not Validate have no
// token: Mint returns "". Check a destination that comes from a template or a
// person before.
func (r *Keyring) Mint(c Claims) string {
	var room [512]byte
	return string(r.AppendMint(room[:0], c))
}

// AppendMint appends the token of c to dst and allocates nothing beside dst.
// For claims that do not Validate it appends nothing.
func (r *Keyring) AppendMint(dst []byte, c Claims) []byte {
	if c.Validate() != nil {
		return dst
	}
	root := r.keys[r.signing]
	key := &root.purposes[c.Purpose]
	s := key.scratch.Get().(*scratch)

	s.buf = appendPlaintext(s.buf[:0], c)
	s.mac.Reset()
	_, _ = s.mac.Write(s.buf) // a hash never returns an error
	sum := s.mac.Sum(s.sum[:0])

	s.raw = append(s.raw[:0], version1, root.id)
	s.raw = append(s.raw, sum[:nonceLen]...)
	s.raw = key.aead.Seal(s.raw, s.raw[headerLen:], s.buf, s.raw[:headerLen])
	dst = encoding.AppendEncode(dst, s.raw)

	key.scratch.Put(s)
	return dst
}

// Open returns the claims of a token that any key of the ring minted for
// purpose. Everything else is ErrBadToken: a changed or cut character, another
// purpose, an unknown version or key, more than MaxLen characters.
func (r *Keyring) Open(purpose Purpose, token string) (Claims, error) {
	const shortest = headerLen + nonceLen + fixedLen + tagLen
	if !purpose.valid() || len(token) > MaxLen || encoding.DecodedLen(len(token)) < shortest {
		return Claims{}, ErrBadToken
	}
	// Go's decoder skips line ends, which would give a token many spellings.
	if strings.ContainsAny(token, "\r\n") {
		return Claims{}, ErrBadToken
	}
	var head [3]byte
	if _, err := encoding.Decode(head[:], []byte(token[:4])); err != nil || head[0] != version1 {
		return Claims{}, ErrBadToken
	}
	root := r.keys[head[1]]
	if root == nil {
		return Claims{}, ErrBadToken
	}
	key := &root.purposes[purpose]
	s := key.scratch.Get().(*scratch)
	defer key.scratch.Put(s)

	var err error
	s.buf = append(s.buf[:0], token...)
	if s.raw, err = encoding.AppendDecode(s.raw[:0], s.buf); err != nil {
		return Claims{}, ErrBadToken
	}
	header, nonce, sealed := s.raw[:headerLen], s.raw[headerLen:headerLen+nonceLen], s.raw[headerLen+nonceLen:]
	if s.buf, err = key.aead.Open(s.buf[:0], nonce, sealed, header); err != nil {
		return Claims{}, ErrBadToken
	}
	c, ok := parsePlaintext(s.buf)
	if !ok || c.Purpose != purpose {
		return Claims{}, ErrBadToken
	}
	return c, nil
}

func appendPlaintext(dst []byte, c Claims) []byte {
	dst = append(dst, byte(c.Purpose))
	dst = append(dst, c.Campaign[:]...)
	dst = append(dst, c.Notification[:]...)
	dst = binary.BigEndian.AppendUint16(dst, c.Link)
	return append(dst, c.Destination...)
}

func parsePlaintext(b []byte) (Claims, bool) {
	if len(b) < fixedLen {
		return Claims{}, false
	}
	c := Claims{Purpose: Purpose(b[0]), Link: binary.BigEndian.Uint16(b[33:35])}
	copy(c.Campaign[:], b[1:17])
	copy(c.Notification[:], b[17:33])
	c.Destination = string(b[fixedLen:])
	return c, true
}
