package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"sync"
)

// Keyring holds root keys by their id, 0 to 255. The first one signs, all of
// them verify. It is immutable, safe for concurrent use and prints no secret.
type Keyring struct {
	signing byte
	keys    [256]*rootKey
	count   int
}

// rootKey is one root secret with everything derived from it.
type rootKey struct {
	id       byte
	prk      []byte // HKDF-Extract of the secret; the secret itself is not kept
	purposes [purposes + 1]purposeKey
}

// purposeKey seals and opens the tokens of one key id and one purpose.
type purposeKey struct {
	aead    cipher.AEAD
	scratch *sync.Pool // of *scratch whose mac is keyed with the nonce key
}

// scratch is the working memory of one Mint or Open.
type scratch struct {
	mac hash.Hash
	buf []byte
	raw []byte
	sum [sha256.Size]byte
}

func newRootKey(id byte, secret []byte) (*rootKey, error) {
	prk, err := hkdf.Extract(sha256.New, secret, nil)
	if err != nil {
		return nil, fmt.Errorf("extract root key: %w", err)
	}
	k := &rootKey{id: id, prk: prk}
	for p := PurposeOpen; p <= purposes; p++ {
		seal, err := k.expand(fmt.Sprintf("kairos token v1 key %d %s seal", id, p))
		if err != nil {
			return nil, err
		}
		nonce, err := k.expand(fmt.Sprintf("kairos token v1 key %d %s nonce", id, p))
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(seal)
		if err != nil {
			return nil, fmt.Errorf("make cipher: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("make cipher: %w", err)
		}
		k.purposes[p] = purposeKey{aead: aead, scratch: &sync.Pool{New: func() any {
			return &scratch{mac: hmac.New(sha256.New, nonce)}
		}}}
	}
	return k, nil
}

func (k *rootKey) expand(info string) ([]byte, error) {
	key, err := hkdf.Expand(sha256.New, k.prk, info, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return key, nil
}

// SigningID returns the id of the key that signs.
func (r *Keyring) SigningID() byte { return r.signing }

// DeriveKey returns 32 bytes from the signing key for another use, such as
// "settings" or "session". Different purposes give independent keys, none of
// which is a key of tokens. Store SigningID beside what is sealed with it, and
// come back with DeriveKeyFrom after a rotation.
func (r *Keyring) DeriveKey(purpose string) []byte {
	key, _ := r.DeriveKeyFrom(r.signing, purpose)
	return key
}

// DeriveKeyFrom is DeriveKey for any key of the ring; false when the ring has
// no key with this id.
func (r *Keyring) DeriveKeyFrom(id byte, purpose string) ([]byte, bool) {
	k := r.keys[id]
	if k == nil {
		return nil, false
	}
	key, err := k.expand("kairos derived v1 " + purpose)
	if err != nil {
		return nil, false // not with 32 bytes of SHA-256 output
	}
	return key, true
}

// String says how many keys there are and which one signs.
func (r *Keyring) String() string {
	return fmt.Sprintf("keyring of %d, key %d signs", r.count, r.signing)
}

// GoString keeps the keys out of %#v.
func (r *Keyring) GoString() string { return r.String() }
