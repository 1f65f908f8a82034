package analysis

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

// someFacts draws facts of every shape.
func someFacts(t *rapid.T) facts {
	number := rapid.IntRange(0, 3)
	moment := rapid.SampledFrom([]int64{0, 1, -5, 1772452800000001})
	f := facts{
		Slot: moment.Draw(t, "slot"), Start: moment.Draw(t, "start"), Links: number.Draw(t, "links"),
		Planned: rapid.Bool().Draw(t, "planned"), HeldOut: rapid.Bool().Draw(t, "held out"), Skipped: rapid.Bool().Draw(t, "skipped"),
		Delivered: rapid.Bool().Draw(t, "delivered"), Bounced: rapid.Bool().Draw(t, "bounced"),
		Complained: number.Draw(t, "complained"), Unsubscribed: number.Draw(t, "unsubscribed"),
		Opens: rapid.SliceOfN(moment, 0, 3).Draw(t, "opens"), MoreOpens: number.Draw(t, "more opens"), MachineOpens: number.Draw(t, "machine opens"),
		MoreClicks: number.Draw(t, "more clicks"), MoreMachineClicks: number.Draw(t, "more machine clicks"),
		Viewed: number.Draw(t, "viewed"), CTA: number.Draw(t, "cta"), OfferAccepted: number.Draw(t, "accepted"), OfferDeclined: number.Draw(t, "declined"),
	}
	for range number.Draw(t, "attempts") {
		f.Attempts = append(f.Attempts, attempt{number.Draw(t, "n"), moment.Draw(t, "at"), rapid.Bool().Draw(t, "sent"), rapid.Bool().Draw(t, "accepted"),
			rapid.Bool().Draw(t, "unknown"), rapid.Bool().Draw(t, "rejected"), rapid.Bool().Draw(t, "confirms")})
	}
	for range number.Draw(t, "clicks") {
		f.Clicks = append(f.Clicks, click{moment.Draw(t, "at"), rapid.OneOf(rapid.SampledFrom([]string{"", "1", `a"b\c<d>&é`, "[{,}]:"}), rapid.String()).Draw(t, "link"), rapid.Bool().Draw(t, "machine")})
	}
	return f
}

func TestFactsAsTheStandardLibraryWritesThem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := someFacts(t)
		want, err := json.Marshal(&f)
		require.NoError(t, err)
		require.Equal(t, string(want), string(f.appendJSON(nil)))
		var wanted, got facts
		require.NoError(t, json.Unmarshal(want, &wanted))
		require.True(t, got.parse(want), "read by hand: %s", want)
		require.Equal(t, wanted, got)
		spaced := strings.NewReplacer(`":`, `": `).Replace(string(f.appendJSON(nil)))
		if !strings.Contains(spaced, `\`) {
			got, err := parseFacts([]byte(spaced))
			require.NoError(t, err)
			require.Equal(t, len(wanted.Clicks), len(got.Clicks))
		}
	})
	_, err := parseFacts([]byte(`{"opens": "none"}`))
	require.Error(t, err)
	f, err := parseFacts([]byte(`{"start": 1700, "new": {"a": [1]}}`))
	require.NoError(t, err, "what was not written by hand is read by the library")
	require.Equal(t, facts{Start: 1700}, f)
}

// FuzzMembers: whatever well-formed JSON comes, the walk finds what the library finds.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{}`, `{"a": 1}`, ` { "a" : [1, {"b": "}"}], "link": "x\"y" } `, `{"machine": true, "url": null}`, `[1,2]`, `"x"`, `{"a"`, `{"a":}`, `{"a":1,}`, `[[],{}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, n := membersOf(raw), 0
		found := map[string]string{}
		for {
			key, value, ok := m.next()
			if !ok {
				break
			}
			n++
			found[string(key)] = string(value)
			require.LessOrEqual(t, n, len(raw))
		}
		detailOf(&kairos.Event{Data: raw})
		_, _ = parseFacts(raw)
		var want map[string]json.RawMessage
		if json.Unmarshal(raw, &want) != nil || want == nil {
			return
		}
		require.False(t, m.bad)
		for key, value := range want {
			if quoted, err := json.Marshal(key); err == nil && plain(key) && len(quoted) == len(key)+2 && !strings.Contains(string(raw), `\u`) {
				require.Equal(t, string(value), found[key])
			}
		}
	})
}

func TestDetailOf(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]detail{
		``:                                  {},
		`{"link": 3, "url": "https://x/"}`:  {Link: "3"},
		`{"link": 2.5}`:                     {Link: "2.5"},
		`{"link": "", "url": "https://x/"}`: {Link: "https://x/"},
		`{"link": [3], "url": "a\u0026b"}`:  {Link: "a&b"},
		`{"links": 3, "provider": "smtp", "choice": "not_sent"}`: {Links: 3, Provider: "smtp", Choice: "not_sent"},
		`{"links": "3", "provider": 3, "choice": {"a": 1}}`:      {},
		`{"links": 0.5}`:              {},
		`{"links": 1e9}`:              {},
		`{"machine": "prefetch"}`:     {Machine: true},
		`{"machine": ""}`:             {},
		`{"machine": true}`:           {Machine: true},
		`{"machine": 1}`:              {},
		`{"a": {"machine": true}}`:    {},
		`{"planned_at": "yesterday"}`: {},
		`{"planned_at": "2026-03-02T12:00:00.5Z", "links": 2, "other": ["]", "\""]}`: {PlannedAt: time.Date(2026, 3, 2, 12, 0, 0, 500_000_000, time.UTC), Links: 2},
		`["machine", true]`: {},
		`"machine"`:         {},
		`{"machine": true`:  {},
	} {
		require.Equal(t, want, detailOf(&kairos.Event{Data: []byte(data)}), data)
	}
}

// What the fold does for each event beyond the driver's work stays frugal.
func TestFoldStaysFrugal(t *testing.T) {
	f := facts{Slot: 1772452800000000, Start: 1772452800000000, Planned: true, Attempts: []attempt{{Number: 1, At: 1772452800000000, Sent: true, Accepted: true}},
		Clicks: []click{{At: 1772452800000000, Link: "1"}}}
	raw := f.appendJSON(nil)
	buf := make([]byte, 0, 4096)
	require.Zero(t, testing.AllocsPerRun(100, func() { buf = f.appendJSON(buf[:0]) }))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = parseFacts(raw) }), 4.0)
	e := kairos.Event{Data: []byte(`{"provider": "smtp", "links": 3, "link": 1, "url": "https://shop.example/", "code": "250"}`)}
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() { detailOf(&e) }), 1.0)
	j := journey{rules: &rules{window: time.Hour, fast: time.Second, burst: time.Second}, facts: facts{Slot: 1, Start: 1, Planned: true}}
	require.Zero(t, testing.AllocsPerRun(100, func() { j.read = false; buf = j.appendRow(buf[:0]) }))
}
