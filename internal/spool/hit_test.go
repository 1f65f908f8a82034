package spool

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

func anyHit(t *rapid.T) kairos.Hit {
	id := rapid.Custom(func(t *rapid.T) (id kairos.ID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	})
	h := kairos.Hit{Keyed: rapid.Bool().Draw(t, "keyed"), Event: kairos.Event{
		Kind: rapid.String().Draw(t, "kind"), Version: rapid.Int16().Draw(t, "version"), Key: rapid.String().Draw(t, "key"),
		OccurredAt:   time.Unix(rapid.Int64Range(-1<<33, 1<<37).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC(),
		Campaign:     id.Draw(t, "campaign"),
		Notification: id.Draw(t, "notification"),
	}}
	if rapid.Bool().Draw(t, "data") {
		raw, err := json.Marshal(map[string]string{"url": rapid.String().Draw(t, "url")})
		require.NoError(t, err)
		h.Event.Data = raw
	}
	if rapid.IntRange(0, 3).Draw(t, "more") == 0 { // what the compact form has no place for
		h.ExternalID = rapid.String().Draw(t, "external id")
		h.Event.Contact, h.Event.Ticket = id.Draw(t, "contact"), id.Draw(t, "ticket")
	}
	return h
}

// A hit comes back as it was, whichever form it was written in.
func TestHitProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, id := anyHit(t), kairos.NewID()
		back, err := ParseHit(id, AppendHit([]byte("before"), &h)[6:])
		require.NoError(t, err)
		want := h
		want.Event.ID = id
		require.Equal(t, want, back)

		raw, err := json.Marshal(h)
		require.NoError(t, err)
		back, err = ParseHit(id, raw)
		require.NoError(t, err)
		require.Equal(t, want, back)
	})
}

// The bytes of version 1 are for ever: segments outlive the binary that wrote them.
func TestHitBytes(t *testing.T) {
	h := kairos.Hit{Keyed: true, Event: kairos.Event{
		Kind: kairos.CTAClicked, Version: 1, Key: "k", OccurredAt: time.Unix(1, 2).UTC(), Campaign: kairos.ID{1}, Notification: kairos.ID{2}, Data: []byte(`{"a":1}`),
	}}
	require.Equal(t, "\x01\x01\x02\xca\x9a\x3b\x00\x00\x00\x00"+
		"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+"\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"+
		"\x01\x00\x0bcta.clicked\x01\x00k"+`{"a":1}`, string(AppendHit(nil, &h)))
}

func TestHitRefused(t *testing.T) {
	whole := AppendHit(nil, &kairos.Hit{Event: kairos.Event{Kind: "a.b", Key: "key", OccurredAt: time.Unix(1, 0)}})
	for n := range whole { // without data nothing may be missing
		_, err := ParseHit(kairos.NewID(), whole[:n])
		require.ErrorIs(t, err, kairos.ErrInvalid, "%d bytes", n)
	}
	for _, payload := range []string{"", "{", "[]", "\x02", `{"event":1}`, "\x01\x80" + string(whole[2:])} {
		_, err := ParseHit(kairos.NewID(), []byte(payload))
		require.ErrorIs(t, err, kairos.ErrInvalid, "%q", payload)
	}
}

// Nothing on the disk makes the reader stumble, and what it understands it
// writes again with the same meaning.
func FuzzHit(f *testing.F) {
	h := kairos.Hit{Keyed: true, Event: kairos.Event{Kind: "a.b", Key: "key", OccurredAt: time.Unix(1, 0), Data: []byte(`{}`)}}
	f.Add(AppendHit(nil, &h))
	f.Add([]byte(`{"event":{"kind":"a.b","occurred_at":"2026-03-02T12:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		id := kairos.NewID()
		h, err := ParseHit(id, payload)
		if err != nil {
			require.ErrorIs(t, err, kairos.ErrInvalid)
			return
		}
		require.Equal(t, id, h.Event.ID)
		if payload[0] != hitVersion {
			return
		}
		again, err := ParseHit(id, AppendHit(nil, &h))
		require.NoError(t, err)
		require.Equal(t, h, again)
	})
}

func BenchmarkParseHit(b *testing.B) {
	h := kairos.Hit{Event: kairos.Event{Kind: kairos.NotificationClicked, Version: 1, OccurredAt: time.Unix(1, 0), Campaign: kairos.NewID(), Notification: kairos.NewID(),
		Data: []byte(`{"link":1,"url":"https://shop.example/autumn/of/this/year"}`)}}
	raw, err := json.Marshal(h)
	require.NoError(b, err)
	for name, payload := range map[string][]byte{"json": raw, "binary": AppendHit(nil, &h)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseHit(kairos.ID{1}, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
