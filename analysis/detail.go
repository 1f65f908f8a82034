package analysis

import (
	"encoding/json"
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

func detailOf(e *kairos.Event) (d detail) {
	if len(e.Data) == 0 {
		return d
	}
	var raw struct {
		PlannedAt any `json:"planned_at"`
		Provider  any `json:"provider"`
		Choice    any `json:"choice"`
		Links     any `json:"links"`
		Link      any `json:"link"`
		URL       any `json:"url"`
		Machine   any `json:"machine"`
	}
	if json.Unmarshal(e.Data, &raw) != nil {
		return d
	}
	if s, ok := raw.PlannedAt.(string); ok {
		if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
			d.PlannedAt = t
		}
	}
	d.Provider, _ = raw.Provider.(string)
	d.Choice, _ = raw.Choice.(string)
	if n, ok := raw.Links.(float64); ok && n >= 1 && n <= 1e6 {
		d.Links = int(n)
	}
	for _, v := range []any{raw.Link, raw.URL} { // the number if there is one, else the destination
		switch v := v.(type) {
		case float64:
			d.Link = strconv.FormatFloat(v, 'f', -1, 64)
		case string:
			d.Link = v
		}
		if d.Link != "" {
			break
		}
	}
	switch m := raw.Machine.(type) {
	case string:
		d.Machine = m != ""
	case bool:
		d.Machine = m
	}
	return d
}
