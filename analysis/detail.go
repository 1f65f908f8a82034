package analysis

import (
	"strconv"
	"time"

	"kairos"
)

// detail is what the fold reads of an event's data. Wrong types are as if
// absent.
type detail struct {
	PlannedAt time.Time
	Provider  string
	Choice    string
	Links     int
	Link      string
	Machine   bool
}

// detailOf reads an event's data, each member once and only those it knows.
func detailOf(e *kairos.Event) (d detail) {
	var link, url []byte
	whole := eachMember(e.Data, func(key, value []byte) bool {
		switch string(key) {
		case "planned_at":
			if s, ok := textOf(value); ok {
				if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
					d.PlannedAt = t
				}
			}
		case "provider":
			d.Provider = word(value)
		case "choice":
			d.Choice = word(value)
		case "links":
			d.Links = 0
			if n, ok := numberOf(value); ok && n >= 1 && n <= 1e6 {
				d.Links = int(n)
			}
		case "link":
			link = value
		case "url":
			url = value
		case "machine":
			s, _ := textOf(value)
			d.Machine = s != "" || string(value) == "true"
		}
		return true
	})
	if !whole {
		return detail{}
	}
	for _, v := range [...][]byte{link, url} { // the number if there is one, else the destination
		if n, ok := integerOf(v); ok {
			d.Link = strconv.FormatInt(n, 10)
		} else if f, ok := numberOf(v); ok {
			d.Link = strconv.FormatFloat(f, 'f', -1, 64)
		} else {
			d.Link, _ = textOf(v)
		}
		if d.Link != "" {
			break
		}
	}
	return d
}

// word is textOf for the few words that many events share.
func word(value []byte) string {
	switch string(value) {
	case `"smtp"`:
		return "smtp"
	case `"sendgrid"`:
		return "sendgrid"
	}
	s, _ := textOf(value)
	return s
}
