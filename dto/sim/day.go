package sim

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"kairos"
)

// ReadDays reads a file of real rhythms, one day of one person a line (see
// ParseDay), plain or gzipped. A first line "user,day,hour_mask" and empty lines
// are passed over. Errors: ErrInvalid, with the number of the bad line; those
// of r and of gzip.
func ReadDays(r io.Reader) ([]Day, error) {
	buffered := bufio.NewReader(r)
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("unzip rhythms: %w", err)
		}
		buffered = bufio.NewReader(unzipped)
	}
	var days []Day
	number, lines := 0, bufio.NewScanner(buffered)
	for lines.Scan() {
		number++
		line := strings.TrimSpace(lines.Text())
		if number == 1 {
			line = strings.TrimPrefix(line, "\ufeff") // spreadsheets begin UTF-8 with it
		}
		if line == "" || number == 1 && strings.EqualFold(line, "user,day,hour_mask") {
			continue
		}
		d, err := ParseDay(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		days = append(days, d)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("line %d: %w", number+1, kairos.Invalid("line", "must read user,day,hour_mask"))
	case err != nil:
		return nil, fmt.Errorf("read rhythms after line %d: %w", number, err)
	case len(days) == 0:
		return nil, kairos.Invalid("rhythms", "hold no day")
	}
	return days, nil
}

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
