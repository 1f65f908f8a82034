package track

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

// What is written by hand means what encoding/json writes.
func TestAppendHitProperty(t *testing.T) {
	id := rapid.Custom(func(t *rapid.T) (id kairos.ID) {
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
		return id
	})
	anyText := rapid.OneOf(rapid.String(), rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
	}))
	rapid.Check(t, func(t *rapid.T) {
		h := hit{
			id: id.Draw(t, "event"), kind: anyText.Draw(t, "kind"), key: anyText.Draw(t, "key"),
			at: time.Unix(rapid.Int64Range(0, 1<<37).Draw(t, "s"), rapid.Int64Range(0, 1e9-1).Draw(t, "ns")).UTC(),
		}
		if rapid.Bool().Draw(t, "of a notification") {
			h.campaign, h.notification = id.Draw(t, "campaign"), id.Draw(t, "notification")
		}
		k := kairos.Hit{Keyed: h.key != "", Event: kairos.Event{
			ID: h.id, Kind: h.kind, Version: 1, Key: h.key, OccurredAt: h.at, Campaign: h.campaign, Notification: h.notification,
		}}
		if rapid.Bool().Draw(t, "data") {
			url := anyText.Draw(t, "url")
			raw, err := json.Marshal(map[string]any{"url": url})
			require.NoError(t, err)
			k.Event.Data = raw
			h.data = func(dst []byte) []byte { return append(appendString(append(dst, `{"url":`...), url), '}') }
		}
		if h.id.IsZero() { // encoding/json writes "", which no hit of ours has
			h.id[0], k.Event.ID[0] = 1, 1
		}
		theirs, err := json.Marshal(k)
		require.NoError(t, err)
		ours := appendHit([]byte("before"), h)
		require.Equal(t, "before", string(ours[:6]))
		ours = ours[6:]
		require.True(t, json.Valid(ours), "%s", ours)

		var a, b any
		require.NoError(t, json.Unmarshal(theirs, &a))
		require.NoError(t, json.Unmarshal(ours, &b))
		require.Equal(t, a, b)
		var back kairos.Hit
		require.NoError(t, json.Unmarshal(ours, &back))
		var want kairos.Hit
		require.NoError(t, json.Unmarshal(theirs, &want))
		back.Event.Data, want.Event.Data = nil, nil // compared above; escapes may differ
		require.Equal(t, want, back)
	})
}

// The one hit whose bytes are fixed: field order and all.
func TestAppendHitBytes(t *testing.T) {
	got := appendHit(nil, hit{
		id: campaign, kind: kairos.CTAClicked, key: `a"b`, at: noon, campaign: campaign, notification: notification,
		data: func(dst []byte) []byte { return append(dst, `{"a":1}`...) },
	})
	require.Equal(t, `{"event":{"id":"0193f2a0-0000-7000-8000-000000000001","kind":"cta.clicked","version":1,"key":"a\"b",`+
		`"occurred_at":"2026-11-20T12:00:00.123456789Z","campaign":"0193f2a0-0000-7000-8000-000000000001",`+
		`"notification":"0193f2a0-0000-7000-8000-000000000002","data":{"a":1}},"keyed":true}`, string(got))
}
