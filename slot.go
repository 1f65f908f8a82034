package kairos

import (
	"fmt"
	"time"
)

// Slot is a local hour of the week: 0 is Monday 00:00-00:59, 167 Sunday 23:00.
type Slot int16

// Hours and slots of the local calendar.
const (
	HoursPerDay  = 24
	SlotsPerWeek = 7 * HoursPerDay
)

// SlotAt returns the slot that t falls in where loc's clocks are read.
func SlotAt(t time.Time, loc *time.Location) Slot {
	t = t.In(loc)
	return Slot((int(t.Weekday())+6)%7*HoursPerDay + t.Hour())
}

// Day returns the weekday of the slot.
func (s Slot) Day() time.Weekday { return time.Weekday((int(s)/HoursPerDay + 1) % 7) }

// Hour returns the local hour, 0..23.
func (s Slot) Hour() int { return int(s) % HoursPerDay }

// String returns "Mon 09:00".
func (s Slot) String() string {
	return fmt.Sprintf("%s %02d:00", s.Day().String()[:3], s.Hour())
}

// LocalTime is a wall-clock time of day, written "09:30". Its zero value is
// unset; midnight is written "00:00" and is set.
type LocalTime struct {
	minute int16 // minutes since midnight + 1; 0 is unset
}

// ClockTime returns the local time hour:minute.
func ClockTime(hour, minute int) LocalTime { return LocalTime{int16(hour*60+minute) + 1} }

// IsZero reports whether the time is unset.
func (l LocalTime) IsZero() bool { return l.minute == 0 }

// Hour returns the hour, 0..23.
func (l LocalTime) Hour() int { return int(max(l.minute-1, 0)) / 60 }

// Minute returns the minute, 0..59.
func (l LocalTime) Minute() int { return int(max(l.minute-1, 0)) % 60 }

// String returns "09:30", or "" when unset.
func (l LocalTime) String() string {
	if l.IsZero() {
		return ""
	}
	return fmt.Sprintf("%02d:%02d", l.Hour(), l.Minute())
}

// MarshalText implements encoding.TextMarshaler.
func (l LocalTime) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *LocalTime) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*l = LocalTime{}
		return nil
	}
	t, err := time.Parse("15:04", string(b))
	if err != nil {
		return Invalid("time", "is not a time of day such as 09:30")
	}
	*l = ClockTime(t.Hour(), t.Minute())
	return nil
}

// Resolve returns the instant at which clocks in loc show the local time on
// the given day. Where the clocks skip it (a gap in spring) it is the first
// instant after the gap; where they show it twice (an overlap in autumn) it is
// the first of the two.
func (l LocalTime) Resolve(year int, month time.Month, day int, loc *time.Location) time.Time {
	naive := time.Date(year, month, day, l.Hour(), l.Minute(), 0, 0, time.UTC)
	var best, early time.Time
	for _, probe := range [...]time.Duration{-26 * time.Hour, 26 * time.Hour} {
		_, offset := naive.Add(probe).In(loc).Zone()
		t := naive.Add(-time.Duration(offset) * time.Second)
		if early.IsZero() || t.Before(early) {
			early = t
		}
		w := t.In(loc)
		if w.Hour() == l.Hour() && w.Minute() == l.Minute() && w.Day() == naive.Day() && (best.IsZero() || t.Before(best)) {
			best = t
		}
	}
	if best.IsZero() { // a gap: the clocks jump over it; its end is the transition after early
		_, end := early.In(loc).ZoneBounds()
		best = end
	}
	return best.UTC()
}

// Next returns the first instant at or after t at which clocks in loc show the
// local time.
func (l LocalTime) Next(t time.Time, loc *time.Location) time.Time {
	y, m, d := t.In(loc).Date()
	for i := range 4 {
		if at := l.Resolve(y, m, d+i-1, loc); !at.Before(t) {
			return at
		}
	}
	return l.Resolve(y, m, d+3, loc)
}
