package sim

import (
	"strconv"
	"strings"

	"kairos"
)

// ParseDay reads one line "user,day,hour_mask" of a file of real rhythms; user
// and day are whole numbers not below 0, the mask has 24 bits. Errors:
// ErrInvalid.
func ParseDay(line string) (Day, error) {
	var d Day
	user, rest, ok := strings.Cut(strings.TrimSpace(line), ",")
	day, mask, more := strings.Cut(rest, ",")
	if !ok || !more {
		return d, kairos.Invalid("line", "must read user,day,hour_mask")
	}
	for _, f := range []struct {
		name, text string
		bits       int
		set        func(uint64)
	}{
		{"user", user, 31, func(v uint64) { d.User = int(v) }},
		{"day", day, 31, func(v uint64) { d.Day = int(v) }},
		{"hour_mask", mask, 24, func(v uint64) { d.Hours = uint32(v) }},
	} {
		v, err := strconv.ParseUint(strings.TrimSpace(f.text), 10, f.bits)
		if err != nil {
			return Day{}, kairos.Invalid(f.name, "must be a whole number of at most %d bits", f.bits)
		}
		f.set(v)
	}
	return d, nil
}
