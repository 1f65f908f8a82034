package token

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestParseKeyring(t *testing.T) {
	const key = "00112233445566778899aabbccddeeff"
	c := Claims{Purpose: PurposeClick, Destination: "https://shop.example/"}
	base := ring(t, "1:"+key)
	same := map[string]string{
		"bare is key 1":        key,
		"upper-case hex":       "1:" + strings.ToUpper(key),
		"blanks around":        " 1 : " + key + " ",
		"base64":               "1:ABEiM0RVZneImaq7zN3u/w==",
		"base64 unpadded":      "1:ABEiM0RVZneImaq7zN3u/w",
		"base64 of URLs":       "1:ABEiM0RVZneImaq7zN3u_w",
		"first of two":         "1:" + key + ",2:" + strings.Repeat("ab", 16),
		"bare base64, padding": "ABEiM0RVZneImaq7zN3u/w==",
	}
	for name, s := range same {
		t.Run(name, func(t *testing.T) {
			r := ring(t, s)
			require.EqualValues(t, 1, r.SigningID())
			require.Equal(t, base.Mint(c), r.Mint(c))
		})
	}
	bad := map[string]struct{ s, says string }{
		"empty":               {" ", "is empty"},
		"short passphrase":    {"hunter2", "7 bytes of passphrase"},
		"fifteen characters":  {"1:abc def ghi jkl", "15 bytes of passphrase"},
		"short hex":           {"0123456789abcdef0123", "10 bytes of hex"},
		"short base64":        {"1:ABEiM0RVZneImaq7zA==", "13 bytes of base64"},
		"no secret":           {"3:", "0 bytes"},
		"id too large":        {"256:" + key, "0 to 255"},
		"negative id":         {"-1:" + key, "0 to 255"},
		"name as id":          {"main:" + key, "0 to 255"},
		"same id twice":       {"1:" + key + ",1:" + key, "two keys with id 1"},
		"no id among several": {"1:" + key + "," + key, "number 2 has no id"},
		"comma at the end":    {"1:" + key + ",", "number 2 has no id"},
	}
	for name, tc := range bad {
		t.Run(name, func(t *testing.T) {
			r, err := ParseKeyring(tc.s)
			require.ErrorIs(t, err, kairos.ErrInvalid)
			require.ErrorContains(t, err, tc.says)
			require.Nil(t, r)
			for part := range strings.FieldsFuncSeq(tc.s, func(r rune) bool { return r == ':' || r == ',' }) {
				if len(part) > 4 {
					require.NotContains(t, err.Error(), part, "the secret is in the error")
				}
			}
		})
	}
}

func TestDeriveKey(t *testing.T) {
	a := ring(t, secretA)
	rotated := ring(t, secretB+","+secretA)
	require.Len(t, a.DeriveKey("settings"), 32)
	require.Equal(t, a.DeriveKey("settings"), a.DeriveKey("settings"))
	require.NotEqual(t, a.DeriveKey("settings"), a.DeriveKey("sessions"))
	require.NotEqual(t, a.DeriveKey("settings"), rotated.DeriveKey("settings"))

	old, ok := rotated.DeriveKeyFrom(a.SigningID(), "settings")
	require.True(t, ok)
	require.Equal(t, a.DeriveKey("settings"), old)
	_, ok = rotated.DeriveKeyFrom(77, "settings")
	require.False(t, ok)
	require.Equal(t, "b07adf0f", fmt.Sprintf("%x", a.DeriveKey("settings")[:4]), "derived keys seal stored things; they never change")
}

func TestKeyringPrintsNoSecret(t *testing.T) {
	r := ring(t, "1:correct horse battery staple")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		got := fmt.Sprintf(verb, r)
		require.Equal(t, "keyring of 1, key 1 signs", got)
		require.False(t, bytes.Contains([]byte(got), []byte("horse")))
	}
}
