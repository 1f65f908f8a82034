package orchestration

import (
	"math/bits"
	"time"

	"kairos"
)

// hour is one local hour of a window: the slot it is and the part of it that
// lies inside the window.
type hour struct {
	slot        kairos.Slot
	from, until time.Time
}

// span is the time in which hours are chosen, and where clocks are read.
type span struct {
	start, end time.Time
	loc        *time.Location
}

// hoursOf cuts [start, end) into the local hours of a zone. Where clocks are
// set back an hour appears twice with the same slot; where they are set
// forward one is missing. At most 31 days are cut.
func hoursOf(start, end time.Time, loc *time.Location) []hour {
	if limit := start.Add(31 * 24 * time.Hour); end.After(limit) {
		end = limit
	}
	hours := make([]hour, 0, int(end.Sub(start)/time.Hour)+2)
	for at := start; at.Before(end); {
		local := at.In(loc)
		_, zoneEnd := local.ZoneBounds()
		next := at.Add(time.Hour - time.Duration(local.Minute())*time.Minute - time.Duration(local.Second())*time.Second - time.Duration(local.Nanosecond()))
		if !zoneEnd.IsZero() && next.After(zoneEnd) { // the hour is cut short by a transition
			next = zoneEnd.UTC()
		}
		if next.After(end) {
			next = end
		}
		hours = append(hours, hour{slot: kairos.SlotAt(at, loc), from: at, until: next})
		at = next
	}
	return hours
}

// mask is a set of slots, one bit each.
type mask [kairos.SlotsPerWeek / 8]byte

func (m *mask) set(s kairos.Slot)      { m[s/8] |= 1 << (s % 8) }
func (m *mask) has(s kairos.Slot) bool { return m[s/8]&(1<<(s%8)) != 0 }

func (m *mask) len() (n int) {
	for _, b := range m {
		n += bits.OnesCount8(b)
	}
	return n
}

func maskOf(hours []hour) *mask {
	m := &mask{}
	for _, h := range hours {
		m.set(h.slot)
	}
	return m
}

// quiet reports whether t's local time lies in the person's quiet hours, and
// until when.
func quiet(q *kairos.HourRange, t time.Time, loc *time.Location) (until time.Time, is bool) {
	if q == nil {
		return time.Time{}, false
	}
	local := t.In(loc)
	now := local.Hour()*60 + local.Minute()
	from, to := q.From.Hour()*60+q.From.Minute(), q.Until.Hour()*60+q.Until.Minute()
	switch {
	case from == to: // the whole day
		return time.Time{}, true
	case from < to && now >= from && now < to, from > to && (now >= from || now < to):
		return q.Until.Next(t, loc), true
	}
	return time.Time{}, false
}

// unquiet leaves out the hours that touch the person's quiet hours. Where all
// of them do, the part of each that lies outside, the longest, is left.
func unquiet(hours []hour, q *kairos.HourRange, loc *time.Location) []hour {
	if q == nil {
		return hours
	}
	var whole, parts []hour
	for _, h := range hours {
		switch part, ok := loud(h, q, loc); {
		case ok && part == h:
			whole = append(whole, h)
		case ok:
			parts = append(parts, part)
		}
	}
	if len(whole) > 0 {
		return whole
	}
	return parts
}

// loud returns the longest part of an hour outside quiet hours. Within an hour
// the clocks are never set, so its minutes are those of the wall.
func loud(h hour, q *kairos.HourRange, loc *time.Location) (part hour, ok bool) {
	local := h.from.In(loc)
	begin := time.Duration(local.Hour()*60+local.Minute()) * time.Minute
	zero := h.from.Add(-begin - time.Duration(local.Second())*time.Second - time.Duration(local.Nanosecond()))
	from, to := q.From.Hour()*60+q.From.Minute(), q.Until.Hour()*60+q.Until.Minute()
	free := [][2]int{{0, from}, {to, 24 * 60}}
	switch {
	case from == to: // the whole day
		return part, false
	case from > to:
		free = [][2]int{{to, from}}
	}
	for _, f := range free {
		cut := h
		if at := zero.Add(time.Duration(f[0]) * time.Minute); at.After(cut.from) {
			cut.from = at
		}
		if at := zero.Add(time.Duration(f[1]) * time.Minute); at.Before(cut.until) {
			cut.until = at
		}
		if long := cut.until.Sub(cut.from); long > 0 && (!ok || long > part.until.Sub(part.from)) {
			part, ok = cut, true
		}
	}
	return part, ok
}
