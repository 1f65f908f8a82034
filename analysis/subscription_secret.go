package analysis

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"kairos"
)

const (
	secretPrefix = "whsec_" // Standard Webhooks 1.0: followed by the key in base64
	secretBytes  = 32       // the standard asks for 24 to 64
)

var errSealed = errors.New("the secret can't be opened: the root key it was sealed under is missing")

// newSecret makes a secret and its sealed form.
func (a *Analysis) newSecret(subscription kairos.ID) (secret string, sealed []byte, err error) {
	key := make([]byte, secretBytes)
	if _, err := rand.Read(key); err != nil {
		return "", nil, fmt.Errorf("make secret: %w", err)
	}
	sealed, err = a.seal(subscription, key)
	return secretPrefix + base64.StdEncoding.EncodeToString(key), sealed, err
}

// seal encrypts a key with AES-256-GCM, bound to its subscription: the id of
// the sealing key (1 byte), the nonce (12), the text and its tag.
func (a *Analysis) seal(subscription kairos.ID, key []byte) ([]byte, error) {
	aead, err := a.aead(a.opts.SealID)
	if err != nil {
		return nil, fmt.Errorf("seal secret: %w", errors.Join(err, kairos.ErrUnavailable))
	}
	out := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(key)+aead.Overhead())
	out[0] = a.opts.SealID
	if _, err := rand.Read(out[1:]); err != nil {
		return nil, fmt.Errorf("seal secret: %w", err)
	}
	return aead.Seal(out, out[1:], key, subscription[:]), nil
}

func (a *Analysis) unseal(subscription kairos.ID, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, errSealed
	}
	aead, err := a.aead(sealed[0])
	if err != nil {
		return nil, err
	}
	n := 1 + aead.NonceSize()
	if len(sealed) < n {
		return nil, errSealed
	}
	key, err := aead.Open(nil, sealed[1:n], sealed[n:], subscription[:])
	if err != nil {
		return nil, errSealed
	}
	return key, nil
}

func (a *Analysis) aead(id byte) (cipher.AEAD, error) {
	if a.opts.SealKey == nil {
		return nil, errSealed
	}
	key, ok := a.opts.SealKey(id)
	if !ok {
		return nil, errSealed
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// signingKeys returns the keys that sign for a subscription now: its secret's,
// and for a while the one that was replaced.
func (a *Analysis) signingKeys(s *Subscription) ([][]byte, error) {
	key, err := a.unseal(s.ID, s.secret)
	if err != nil {
		return nil, err
	}
	keys := [][]byte{key}
	if s.formerUntil != nil && a.clock.Now().Before(*s.formerUntil) {
		if former, err := a.unseal(s.ID, s.former); err == nil {
			keys = append(keys, former)
		}
	}
	return keys, nil
}

// signature is the header webhook-signature of Standard Webhooks 1.0: for each
// key "v1," and the HMAC-SHA256 over id, Unix time and body, joined by dots, in
// base64.
func signature(keys [][]byte, id string, unix int64, body []byte) string {
	all := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(id + "." + strconv.FormatInt(unix, 10) + ".")) // a hash never fails
		_, _ = mac.Write(body)
		all[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(all, " ")
}
