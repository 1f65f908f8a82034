package token

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

// -update adds vectors that testdata does not have yet. It never changes one
// that is there: links with those tokens are in people's mailboxes.
var update = flag.Bool("update", false, "add missing golden vectors; existing ones stay as they are")

const goldenFile = "testdata/golden_v1.json"

type vector struct {
	Name         string    `json:"name"`
	Secret       string    `json:"secret"` // in the form of KAIROS_SECRET
	Purpose      string    `json:"purpose"`
	Campaign     kairos.ID `json:"campaign"`
	Notification kairos.ID `json:"notification"`
	Link         uint16    `json:"link"`
	Destination  string    `json:"destination"`
	Token        string    `json:"token"`
}

func (v vector) claims(t *testing.T) Claims {
	t.Helper()
	for p := PurposeOpen; p <= purposes; p++ {
		if p.String() == v.Purpose {
			return Claims{p, v.Campaign, v.Notification, v.Link, v.Destination}
		}
	}
	t.Fatalf("vector %q has unknown purpose %q", v.Name, v.Purpose)
	return Claims{}
}

// goldenInputs are the vectors as they are asked for; their tokens are in testdata.
func goldenInputs() []vector {
	const (
		hexKey    = "7:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
		base64Key = "0:q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
		phrase    = "correct horse battery staple"
		rotated   = "255:ffeeddccbbaa99887766554433221100,7:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	)
	campaign := kairos.MustID("0190d3a4-5b6c-7d8e-9fa0-b1c2d3e4f506")
	notification := kairos.MustID("0190d3a4-5b6d-7001-8002-000300040005")
	var out []vector
	for _, key := range []struct{ name, secret string }{
		{"hex", hexKey}, {"base64", base64Key}, {"passphrase", phrase}, {"rotated", rotated},
	} {
		for _, link := range []struct {
			name    string
			purpose Purpose
			no      uint16
			dest    string
		}{
			{"open", PurposeOpen, 0, ""},
			{"click", PurposeClick, 1, "https://shop.example/offer?id=17&utm_source=kairos#top"},
			{"click unicode", PurposeClick, 65535, "https://пример.example/Straße/日本?q=🎁"},
			{"click without destination", PurposeClick, 2, ""},
			{"click long", PurposeClick, 300, "https://shop.example/" + strings.Repeat("a/b?", 500)},
			{"unsubscribe", PurposeUnsubscribe, 0, ""},
			{"track", PurposeTrack, 1, ""},
		} {
			out = append(out, vector{key.name + ": " + link.name, key.secret, link.purpose.String(), campaign, notification, link.no, link.dest, ""})
		}
	}
	return append(out, vector{"hex: no ids", hexKey, "click", kairos.ID{}, kairos.ID{}, 0, "x", ""})
}

func TestGolden(t *testing.T) {
	var stored []vector
	raw, err := os.ReadFile(goldenFile)
	if err == nil {
		require.NoError(t, json.Unmarshal(raw, &stored))
	} else {
		require.True(t, *update, "%v; -update makes it", err)
	}
	byName := map[string]bool{}
	for _, v := range stored {
		require.False(t, byName[v.Name], "%q twice", v.Name)
		byName[v.Name] = true
	}
	for _, v := range goldenInputs() {
		if !byName[v.Name] {
			require.True(t, *update, "no vector %q; -update adds it", v.Name)
			v.Token = ring(t, v.Secret).Mint(v.claims(t))
			stored = append(stored, v)
		}
	}
	if *update {
		var b strings.Builder
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		require.NoError(t, enc.Encode(stored))
		require.NoError(t, os.WriteFile(goldenFile, []byte(b.String()), 0o644))
	}
	require.GreaterOrEqual(t, len(stored), 29, "vectors have been removed")
	for _, v := range stored {
		t.Run(v.Name, func(t *testing.T) {
			claims := v.claims(t)
			got, err := ring(t, v.Secret).Open(claims.Purpose, v.Token)
			require.NoError(t, err)
			require.Equal(t, claims, got)
			require.Equal(t, v.Token, ring(t, v.Secret).Mint(claims), "minting has changed under version 1")
		})
	}
}
