package dashboard

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"time"
)

const (
	cookieName = "kairos_dashboard"
	cookiePath = "/dashboard"
	sessionAge = 12 * time.Hour
	recheck    = 30 * time.Second // a revoked key ends its sessions within it
)

// sessions hold the API key itself, sealed (AES-256-GCM): a session is worth
// what its key is worth at that moment, and no process needs to remember it.
type sessions struct {
	seal         cipher.AEAD
	authenticate func(ctx context.Context, key string) (Visitor, bool)
	known        memo[holder]
}

// holder is who holds a key.
type holder struct {
	Visitor
	ok bool
}

func newSessions(secret []byte, authenticate func(ctx context.Context, key string) (Visitor, bool)) (*sessions, error) {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("kairos dashboard session 1"))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("make session seal: %w", err)
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make session seal: %w", err)
	}
	return &sessions{seal: seal, authenticate: authenticate}, nil
}

// issue returns the cookie of a session that begins now.
func (s *sessions) issue(key string, now time.Time, secure bool) *http.Cookie {
	ends := now.Add(sessionAge)
	plain := append(binary.BigEndian.AppendUint64(nil, uint64(ends.Unix())), key...)
	return &http.Cookie{
		Name: cookieName, Value: base64.RawURLEncoding.EncodeToString(s.seal.Seal(nil, nil, plain, []byte(cookieName))),
		Path: cookiePath, Expires: ends, MaxAge: int(sessionAge / time.Second),
		HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode,
	}
}

// end returns the cookie that ends a session.
func (s *sessions) end(secure bool) *http.Cookie {
	return &http.Cookie{Name: cookieName, Path: cookiePath, MaxAge: -1, HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode}
}

// who tells whose session a request belongs to.
func (s *sessions) who(r *http.Request, now time.Time) (Visitor, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil || len(c.Value) > 4096 {
		return Visitor{}, false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return Visitor{}, false
	}
	plain, err := s.seal.Open(nil, nil, sealed, []byte(cookieName))
	if err != nil || len(plain) < 8 || now.Unix() >= int64(binary.BigEndian.Uint64(plain)) {
		return Visitor{}, false
	}
	key := string(plain[8:])
	digest := sha256.Sum256(plain[8:])
	h, err := s.known.get(r.Context(), string(digest[:]), recheck, func(ctx context.Context) (holder, error) {
		v, ok := s.authenticate(ctx, key)
		return holder{v, ok}, nil
	})
	return h.Visitor, err == nil && h.ok
}
