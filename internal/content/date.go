package content

import (
	"fmt"
	"regexp"
	"time"

	"github.com/osteele/tuesday"
)

const maxDateFormat = 128

var wideDirective = regexp.MustCompile(`%[-_^#0:]*[0-9]{2,}`)

// checkDateFormat refuses formats that could fill memory.
func checkDateFormat(format string) error {
	if len(format) > maxDateFormat {
		return fmt.Errorf("has a date format longer than %d bytes", maxDateFormat)
	}
	if wideDirective.MatchString(format) {
		return fmt.Errorf("has a date format with a width of more than 9")
	}
	return nil
}

// dateFilter formats a time by strftime. A time may be a time.Time, Unix
// seconds, 'now' for the "now" of the data, or text in one of dateLayouts, in
// UTC unless it says otherwise. What can't be read stays as it is.
func dateFilter(m *machine, v any, args []any) any {
	t, ok := m.toTime(v)
	if !ok {
		return v
	}
	format := "%a, %b %d, %y"
	if args[0] != nil {
		format = plain(args[0])
	}
	if err := checkDateFormat(format); err != nil {
		m.fail(err.Error(), nil)
	}
	out, err := tuesday.Strftime(format, t)
	if err != nil {
		return v
	}
	return out
}

func (m *machine) toTime(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v, true
	case int, int64, float64:
		n := toNumber(v).float()
		return time.Unix(int64(min(max(n, -1<<36), 1<<36)), 0).UTC(), true
	case string:
		if v == "now" || v == "today" {
			t, ok := m.data["now"].(time.Time)
			return t, ok
		}
		if len(v) > 64 {
			return time.Time{}, false
		}
		for _, layout := range dateLayouts() {
			if t, err := time.ParseInLocation(layout, v, time.UTC); err == nil {
				return t, true
			}
		}
	}
	return time.Time{}, false
}

func dateLayouts() []string {
	return []string{
		time.RFC3339, time.DateOnly, time.DateTime,
		"2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST",
		time.RFC1123, time.RFC1123Z, time.RFC822, time.RFC822Z, time.ANSIC, time.UnixDate,
		"02 January 2006", "02 Jan 2006", "January 2, 2006", "January 2 2006", "Jan 2, 2006", "Jan 2 2006",
	}
}
