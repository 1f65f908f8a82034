package token

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

const (
	secretA = "1:00112233445566778899aabbccddeeff"
	secretB = "2:ffeeddccbbaa99887766554433221100"
)

func ring(t testing.TB, s string) *Keyring {
	t.Helper()
	r, err := ParseKeyring(s)
	require.NoError(t, err)
	return r
}

func drawClaims(t *rapid.T) Claims {
	id := func(name string) (id kairos.ID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, name))
		return id
	}
	return Claims{
		Purpose:      Purpose(rapid.IntRange(1, purposes).Draw(t, "purpose")),
		Campaign:     id("campaign"),
		Notification: id("notification"),
		Link:         rapid.Uint16().Draw(t, "link"),
		Destination:  rapid.OneOf(rapid.String(), rapid.StringN(-1, -1, MaxDestination)).Draw(t, "destination"),
	}
}

func requireBad(t require.TestingT, r *Keyring, p Purpose, tok string) {
	c, err := r.Open(p, tok)
	require.Equal(t, ErrBadToken, err)
	require.Zero(t, c)
}

func TestRoundTrip(t *testing.T) {
	r := ring(t, secretA)
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaims(t)
		tok := r.Mint(c)
		require.LessOrEqual(t, len(tok), MaxLen)
		require.Equal(t, tok, r.Mint(c), "minting is deterministic")
		require.Equal(t, "x/"+tok, string(r.AppendMint([]byte("x/"), c)))
		got, err := r.Open(c.Purpose, tok)
		require.NoError(t, err)
		require.Equal(t, c, got)
	})
}

func TestAnyFlippedBitFails(t *testing.T) {
	r := ring(t, secretA+","+secretB)
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaims(t)
		raw, err := base64.RawURLEncoding.DecodeString(r.Mint(c))
		require.NoError(t, err)
		bit := rapid.IntRange(0, len(raw)*8-1).Draw(t, "bit")
		raw[bit/8] ^= 1 << (bit % 8)
		requireBad(t, r, c.Purpose, base64.RawURLEncoding.EncodeToString(raw))
	})
	// Every bit of the sealed bytes, and every other character in every place
	// of the spelling, for one token of each length modulo 3.
	for _, dest := range []string{"", "h", "ht"} {
		c := Claims{Purpose: PurposeClick, Link: 3, Destination: dest}
		tok := r.Mint(c)
		raw, err := base64.RawURLEncoding.DecodeString(tok)
		require.NoError(t, err)
		for bit := range len(raw) * 8 {
			raw[bit/8] ^= 1 << (bit % 8)
			requireBad(t, r, PurposeClick, base64.RawURLEncoding.EncodeToString(raw))
			raw[bit/8] ^= 1 << (bit % 8)
		}
		for i := range len(tok) {
			for ch := range 256 {
				if byte(ch) != tok[i] {
					requireBad(t, r, PurposeClick, tok[:i]+string([]byte{byte(ch)})+tok[i+1:])
				}
			}
		}
	}
}

func TestWrongPurposeFails(t *testing.T) {
	r := ring(t, secretA)
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaims(t)
		tok := r.Mint(c)
		for p := range 256 {
			if Purpose(p) != c.Purpose {
				requireBad(t, r, Purpose(p), tok)
			}
		}
	})
}

func TestRotation(t *testing.T) {
	before, after := ring(t, secretA), ring(t, secretB+","+secretA)
	gone, other := ring(t, secretB), ring(t, "1:ffeeddccbbaa99887766554433221100")
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaims(t)
		old := before.Mint(c)
		got, err := after.Open(c.Purpose, old)
		require.NoError(t, err, "an older key verifies")
		require.Equal(t, c, got)
		requireBad(t, gone, c.Purpose, old)  // unknown key id
		requireBad(t, other, c.Purpose, old) // same id, another secret

		fresh := after.Mint(c)
		require.NotEqual(t, old, fresh)
		_, err = gone.Open(c.Purpose, fresh)
		require.NoError(t, err, "the first key signs")
		requireBad(t, before, c.Purpose, fresh)
	})
}

// Nonces come from the plaintext, so one secret under two ids must not meet
// the same key and nonce with different additional data.
func TestSameSecretUnderTwoIDs(t *testing.T) {
	const hexKey = "00112233445566778899aabbccddeeff"
	c := Claims{Purpose: PurposeClick, Destination: "https://shop.example/"}
	a, err := base64.RawURLEncoding.DecodeString(ring(t, "1:"+hexKey).Mint(c))
	require.NoError(t, err)
	b, err := base64.RawURLEncoding.DecodeString(ring(t, "2:"+hexKey).Mint(c))
	require.NoError(t, err)
	require.NotEqual(t, a[2:14], b[2:14])
	require.NotEqual(t, a[14:], b[14:])
}

func TestOpenRefuses(t *testing.T) {
	r := ring(t, secretA)
	tok := r.Mint(Claims{Purpose: PurposeClick, Destination: "https://shop.example/a"})
	cases := map[string]string{
		"empty":              "",
		"one character":      "A",
		"only a header":      tok[:4],
		"cut":                tok[:len(tok)-1],
		"cut to the minimum": tok[:86],
		"longer":             tok + "A",
		"padded":             tok + "=",
		"standard alphabet":  strings.NewReplacer("-", "+", "_", "/").Replace(tok) + "+",
		"line end after":     tok + "\n",
		"line end before":    "\r\n" + tok,
		"line end inside":    tok[:10] + "\n" + tok[10:],
		"blank":              " " + tok,
		"not base64":         strings.Repeat("%", 120),
		"over-long":          strings.Repeat("A", MaxLen+1),
		"very long":          strings.Repeat("A", 1<<20),
	}
	for name, bad := range cases {
		t.Run(name, func(t *testing.T) { requireBad(t, r, PurposeClick, bad) })
	}
	require.ErrorIs(t, ErrBadToken, kairos.ErrNotFound)
}

func TestVersionAndKeyAreChecked(t *testing.T) {
	r := ring(t, secretA)
	raw, err := base64.RawURLEncoding.DecodeString(r.Mint(Claims{Purpose: PurposeOpen}))
	require.NoError(t, err)
	for v := range 256 {
		other := append([]byte{byte(v)}, raw[1:]...)
		if v != version1 {
			requireBad(t, r, PurposeOpen, base64.RawURLEncoding.EncodeToString(other))
		}
		other = append([]byte{version1, byte(v)}, raw[2:]...)
		if v != 1 {
			requireBad(t, r, PurposeOpen, base64.RawURLEncoding.EncodeToString(other))
		}
	}
}

func TestLongestDestination(t *testing.T) {
	r := ring(t, secretA)
	c := Claims{Purpose: PurposeClick, Destination: strings.Repeat("x", MaxDestination)}
	tok := r.Mint(c)
	require.Len(t, tok, MaxLen)
	got, err := r.Open(PurposeClick, tok)
	require.NoError(t, err)
	require.Equal(t, c, got)

	c.Destination += "x"
	require.ErrorIs(t, c.Validate(), kairos.ErrInvalid)
	require.Empty(t, r.Mint(c))
	require.Equal(t, []byte("kept"), r.AppendMint([]byte("kept"), c))
	require.Empty(t, r.Mint(Claims{}))
	require.Empty(t, r.Mint(Claims{Purpose: purposes + 1}))
}

func TestTrackFromClick(t *testing.T) {
	r := ring(t, secretA)
	click := Claims{PurposeClick, kairos.NewID(), kairos.NewID(), 9, "https://shop.example/"}
	opened, err := r.Open(PurposeClick, r.Mint(click))
	require.NoError(t, err)
	kt := r.Mint(opened.Track())
	got, err := r.Open(PurposeTrack, kt)
	require.NoError(t, err)
	require.Equal(t, Claims{PurposeTrack, click.Campaign, click.Notification, 9, ""}, got)
	requireBad(t, r, PurposeUnsubscribe, kt)
}

// Nothing of the claims can be read in the token.
func TestNothingReadable(t *testing.T) {
	r := ring(t, secretA)
	c := Claims{PurposeClick, kairos.NewID(), kairos.NewID(), 9, "https://shop.example/secret-offer"}
	raw, err := base64.RawURLEncoding.DecodeString(r.Mint(c))
	require.NoError(t, err)
	for _, s := range []string{string(c.Campaign[6:]), string(c.Notification[6:]), "shop", "offer"} {
		require.NotContains(t, string(raw), s)
	}
}

func TestConcurrentUse(t *testing.T) {
	r := ring(t, secretA)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				c := Claims{Purpose(1 + (g+i)%purposes), kairos.ID{byte(g)}, kairos.ID{byte(i)}, uint16(i), fmt.Sprintf("https://%d.example/%d", g, i)}
				got, err := r.Open(c.Purpose, r.Mint(c))
				if err != nil || got != c {
					t.Errorf("opened %v, %v; want %v", got, err, c)
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzOpen(f *testing.F) {
	r := ring(f, secretB+","+secretA)
	for p := PurposeOpen; p <= purposes; p++ {
		f.Add(uint8(p), r.Mint(Claims{Purpose: p, Link: 7, Destination: "https://shop.example/"}))
	}
	f.Add(uint8(0), "")
	f.Add(uint8(2), strings.Repeat("A", 87))
	f.Fuzz(func(t *testing.T, p uint8, tok string) {
		c, err := r.Open(Purpose(p), tok)
		if err != nil {
			require.Equal(t, ErrBadToken, err)
			require.Zero(t, c)
			return
		}
		require.Equal(t, Purpose(p), c.Purpose)
		require.Equal(t, tok, r.Mint(c), "one spelling for each token")
	})
}
