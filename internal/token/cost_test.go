//go:build !race

package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/internal/instructions"
)

// TestInstructionsOfTokens: beside the cryptography itself, which takes a few
// times as much on processors without instructions for it.
func TestInstructionsOfTokens(t *testing.T) {
	r := ring(t, secretA)
	c := Claims{PurposeClick, kairos.NewID(), kairos.NewID(), 1, "https://shop.example.com/" + strings.Repeat("x", 60)}
	plain := appendPlaintext(nil, c)
	mac := hmac.New(sha256.New, make([]byte, 32))
	block, err := aes.NewCipher(make([]byte, 32))
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	var sum [sha256.Size]byte
	nonce, head, room := make([]byte, nonceLen), make([]byte, headerLen), make([]byte, 0, MaxLen)
	seal := func() {
		mac.Reset()
		_, _ = mac.Write(plain)
		mac.Sum(sum[:0])
		aead.Seal(room, nonce, plain, head)
	}
	sealed := aead.Seal(nil, nonce, plain, head)
	open := func() {
		if _, err := aead.Open(room, nonce, sealed, head); err != nil {
			panic(err)
		}
	}
	tok, buf := r.Mint(c), make([]byte, 0, MaxLen)
	instructions.CheckBeside(t, "minting a click's token", 2903, seal, func() { buf = r.AppendMint(buf[:0], c) })
	instructions.CheckBeside(t, "opening a click's token", 5474, open, func() {
		if _, err := r.Open(PurposeClick, tok); err != nil {
			panic(err)
		}
	})
}
