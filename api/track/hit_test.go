package track

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What is written by hand means what encoding/json writes.
func TestDataProperty(t *testing.T) {
	anyText := rapid.OneOf(rapid.String(), rapid.Custom(func(t *rapid.T) string {
		return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
	}))
	rapid.Check(t, func(t *rapid.T) {
		url, link := anyText.Draw(t, "url"), rapid.Uint16().Draw(t, "link")
		want := map[string]any{"url": url, "link": link}
		who := rapid.SampledFrom([]string{"", "agent", "proxy"}).Draw(t, "machine")
		if who != "" {
			want["machine"] = who
		}
		theirs, err := json.Marshal(want)
		require.NoError(t, err)
		ours := appendClick([]byte("before"), link, who, url)
		require.Equal(t, "before", string(ours[:6]))
		var a, b any
		require.NoError(t, json.Unmarshal(theirs, &a))
		require.NoError(t, json.Unmarshal(ours[6:], &b))
		require.Equal(t, a, b)
	})
	require.Equal(t, `{"link":3,"machine":"agent","url":"https://a.example/\"x"}`, string(appendClick(nil, 3, "agent", `https://a.example/"x`)))
	require.Equal(t, `{"machine":"proxy"}`, string(appendOpen(nil, "proxy")))
	require.Empty(t, appendOpen(nil, ""))
}
