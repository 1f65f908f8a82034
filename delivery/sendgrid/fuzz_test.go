package sendgrid

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzWebhook: whatever is posted, what comes out is a usable event without an
// address, and the same body gives the same keys.
func FuzzWebhook(f *testing.F) {
	f.Add([]byte(`[{"event":"bounce","type":"blocked","email":"a@example.com","timestamp":1767225600,` +
		`"notification":"019a0000-0000-7000-8000-000000000001","attempt":"019a0000-0000-7000-8000-000000000001.1",` +
		`"reason":"550 <a@example.com> unknown","status":"5.1.1","sg_event_id":"x"}]`))
	f.Add([]byte(`[{"event":"deferred","attempt":"5","kairos_attempt":"019a0000-0000-7000-8000-000000000001.2",` +
		`"timestamp":"1767225600.5","notification":"019A0000-0000-7000-8000-000000000001","sg_machine_open":true}]`))
	f.Add([]byte(`[null,1,{},[{"event":"click","url":"https://x"}]]`))
	now := time.Unix(1767312000, 0)
	f.Fuzz(func(t *testing.T, body []byte) {
		events, ignored, err := parseEvents(body, now)
		if err != nil {
			require.Empty(t, events)
			return
		}
		var all []json.RawMessage
		require.NoError(t, json.Unmarshal(body, &all))
		require.Equal(t, len(all), len(events)+ignored)
		again, _, err := parseEvents(body, now)
		require.NoError(t, err)
		for i, e := range events {
			require.Equal(t, e.Key, again[i].Key)
			require.False(t, e.Notification.IsZero())
			require.Len(t, e.Key, 32)
			require.True(t, e.OccurredAt.Before(now.Add(25*time.Hour)))
			require.NotContains(t, string(e.Data), "@")
			var d data
			require.NoError(t, json.Unmarshal(e.Data, &d))
			require.Equal(t, "sendgrid", d.Source)
		}
	})
}

// FuzzJSON: what is written reads back.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c\n\r\t\x00\x1f", "Zoë 🎉 \u2028", "a\xffb\xf0\x9f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		require.NoError(t, json.Unmarshal(appendJSON(nil, s), &got))
		if utf8.ValidString(s) {
			require.Equal(t, s, got)
		}
	})
}
