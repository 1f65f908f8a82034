package kairos

// Preferences are what a person asked for. The zero value asks for nothing:
// everything is allowed at any hour.
type Preferences struct {
	Channels       map[string]bool `json:"channels,omitempty"` // "email": false refuses the channel for marketing
	Topics         map[string]bool `json:"topics,omitempty"`   // "news": false refuses the topic
	PreferredHours []HourRange     `json:"preferred_hours,omitempty"`
	QuietHours     *HourRange      `json:"quiet_hours,omitempty"` // days are ignored: they hold every day
}

// HourRange is a span of local time on some weekdays. Until at or before From
// runs past midnight; it belongs to the day it starts on.
type HourRange struct {
	Days  []string  `json:"days,omitempty"` // mon tue wed thu fri sat sun; none: every day
	From  LocalTime `json:"from"`
	Until LocalTime `json:"until"`
}

var weekdays = [...]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// Contains reports whether the slot's hour lies in the range; an hour that is
// only partly in it does.
func (h HourRange) Contains(s Slot) bool {
	hour := s.Hour() * 60
	from, until := h.From.Hour()*60+h.From.Minute(), h.Until.Hour()*60+h.Until.Minute()
	day := int(s) / 24
	if until > from {
		return hour+60 > from && hour < until && h.on(day)
	}
	return hour+60 > from && h.on(day) || hour < until && h.on((day+6)%7)
}

func (h HourRange) on(day int) bool {
	if len(h.Days) == 0 {
		return true
	}
	for _, d := range h.Days {
		if d == weekdays[day] {
			return true
		}
	}
	return false
}

// Validate names the first field that makes no sense.
func (p *Preferences) Validate() error {
	for i, h := range p.PreferredHours {
		for _, d := range h.Days {
			known := false
			for _, w := range weekdays {
				known = known || d == w
			}
			if !known {
				return Invalid("preferred_hours.days", "of range %d must be among mon tue wed thu fri sat sun", i)
			}
		}
		if h.From.IsZero() || h.Until.IsZero() {
			return Invalid("preferred_hours", "range %d needs from and until", i)
		}
	}
	if q := p.QuietHours; q != nil && (q.From.IsZero() || q.Until.IsZero()) {
		return Invalid("quiet_hours", "needs from and until")
	}
	return nil
}
