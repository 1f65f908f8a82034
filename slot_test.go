package kairos

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

func TestResolveGapAndOverlap(t *testing.T) {
	for _, c := range []struct {
		zone, day, local, want string
	}{
		{"Europe/Berlin", "2026-03-29", "02:30", "2026-03-29T01:00:00Z"}, // gap: first instant after it
		{"Europe/Berlin", "2026-03-29", "03:00", "2026-03-29T01:00:00Z"}, // the gap's end itself
		{"Europe/Berlin", "2026-10-25", "02:30", "2026-10-25T00:30:00Z"}, // overlap: the first
		{"America/New_York", "2026-03-08", "02:15", "2026-03-08T07:00:00Z"},
		{"America/New_York", "2026-11-01", "01:30", "2026-11-01T05:30:00Z"},
		{"Australia/Lord_Howe", "2026-10-04", "02:15", "2026-10-03T15:30:00Z"}, // half an hour
		{"Asia/Kolkata", "2026-06-01", "09:00", "2026-06-01T03:30:00Z"},
		{"America/Santiago", "2026-09-06", "00:30", "2026-09-06T04:00:00Z"}, // midnight does not exist
		{"UTC", "2026-06-01", "00:00", "2026-06-01T00:00:00Z"},
	} {
		var l LocalTime
		require.NoError(t, l.UnmarshalText([]byte(c.local)))
		d, err := time.Parse(time.DateOnly, c.day)
		require.NoError(t, err)
		got := l.Resolve(d.Year(), d.Month(), d.Day(), zone(t, c.zone))
		require.Equal(t, c.want, got.Format(time.RFC3339), "%s %s %s", c.zone, c.day, c.local)
	}
}

func TestNextShowsTheLocalTimeWithinADay(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Pacific/Apia", "UTC"}
	rapid.Check(t, func(t *rapid.T) {
		loc, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		from := time.Unix(rapid.Int64Range(1_600_000_000, 2_000_000_000).Draw(t, "from"), 0).UTC()
		l := ClockTime(rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute"))
		at := l.Next(from, loc)
		if at.Before(from) || at.Sub(from) > 26*time.Hour {
			t.Fatalf("next %s after %s in %s is %s", l, from, loc, at)
		}
		w := at.In(loc)
		if w.Hour() != l.Hour() || w.Minute() != l.Minute() {
			start, _ := w.ZoneBounds()
			if !start.Equal(at) {
				t.Fatalf("%s shows %s, is no gap's end", l, w)
			}
		}
	})
}

func TestSlotAt(t *testing.T) {
	monday := time.Date(2026, 11, 23, 0, 30, 0, 0, time.UTC)
	require.Equal(t, Slot(0), SlotAt(monday, time.UTC))
	require.Equal(t, Slot(1), SlotAt(monday, zone(t, "Europe/Berlin")))
	require.Equal(t, Slot(163), SlotAt(monday, zone(t, "America/New_York"))) // Sunday 19:30
	require.Equal(t, "Sun 19:00", Slot(163).String())
}
