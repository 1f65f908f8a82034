package orchestration

import "time"

// shortest is how much of an hour must be left for it to be preferred to
// another occurrence of the same local hour.
const shortest = 15 * time.Minute

// ranking is an order of local hours of the day, best first. It may be partial.
type ranking []byte

// usable returns the ranking without what is no hour.
func (r ranking) usable() ranking {
	for i, h := range r {
		if h < 24 {
			continue
		}
		clean := append(ranking{}, r[:i]...)
		for _, h := range r[i+1:] {
			if h < 24 {
				clean = append(clean, h)
			}
		}
		return clean
	}
	return r
}

// best returns the first hour of the ranking that is allowed, and its place,
// from 1; 0: none is. Where the window holds the local hour more than once, as
// it does on the day clocks are set back, it is the earliest of which at least a
// quarter of an hour is left, else the earliest.
func (r ranking) best(hours []hour) (chosen hour, place int) {
	for i, want := range r {
		for _, h := range hours {
			if h.slot.Hour() != int(want) {
				continue
			}
			if place == 0 || h.until.Sub(h.from) >= shortest {
				chosen, place = h, i+1
			}
			if chosen.until.Sub(chosen.from) >= shortest {
				return chosen, place
			}
		}
		if place != 0 {
			return chosen, place
		}
	}
	return hour{}, 0
}

// model is what planning knows of a version of the registry; the zero value is
// none.
type model struct {
	version  int
	hours    ranking // for people without an order of their own; empty when the row is broken or gone
	personal bool    // people have orders of their own
}

// ranking returns the person's order of hours, or else the model's.
func (m *model) ranking(own ranking) ranking {
	if own = own.usable(); m.personal && len(own) > 0 {
		return own
	}
	return m.hours
}

// pick draws one of the distinct slots of some hours, each with the same
// chance, which it returns, and then one of the occurrences of the slot.
func pick(hours []hour, u float64) (h hour, chance float64) {
	n := maskOf(hours).len()
	at := u * float64(n)
	k := min(int(at), n-1)
	var seen mask
	for i, h := range hours {
		if seen.has(h.slot) {
			continue
		}
		if seen.set(h.slot); k > 0 {
			k--
			continue
		}
		times := []hour{h}
		for _, again := range hours[i+1:] {
			if again.slot == h.slot {
				times = append(times, again)
			}
		}
		return times[min(int((at-float64(int(at)))*float64(len(times))), len(times)-1)], 1 / float64(n)
	}
	return hour{}, 0
}
