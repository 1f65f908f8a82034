package kairos

import (
	"encoding/json"
	"strings"
	"time"
)

// Campaign states:
//
//	draft -> scheduled -> running <-> paused
//	  any of these -> cancelled;  running -> finished | failed
//	finished -> running when an unknown attempt turns out not to have been sent
const (
	Draft     = "draft"
	Scheduled = "scheduled" // launched, its first moment lies ahead
	Running   = "running"
	Paused    = "paused"
	Cancelled = "cancelled"
	Finished  = "finished" // every recipient is in a final or an unknown state
	Failed    = "failed"
)

// CampaignSpec is what a marketer asks for: the body of POST /v1/campaigns.
type CampaignSpec struct {
	Name           string      `json:"name"`
	Purpose        string      `json:"purpose,omitempty"` // marketing (default), transactional, ...
	Topic          string      `json:"topic,omitempty"`   // of the preference page
	Classification []string    `json:"classification,omitempty"`
	Channels       []Channel   `json:"channels"`
	Template       ID          `json:"template"`
	Audience       Audience    `json:"audience"`
	Schedule       Schedule    `json:"schedule"`
	Experiment     *Experiment `json:"experiment,omitempty"` // nil: the installation decides where hours are chosen, else everybody is written to
	Goal           Goal        `json:"goal,omitzero"`
	Cost           Cost        `json:"cost,omitzero"`
	UTM            UTM         `json:"utm,omitzero"`
	Latest         *time.Time  `json:"latest,omitempty"` // nothing is sent after it
}

// Marketing reports whether consent and unsubscriptions bind the campaign.
func (s *CampaignSpec) Marketing() bool { return s.Purpose != "transactional" }

// Audience names the recipients; exactly one of its fields is set.
type Audience struct {
	Segment  ID   `json:"segment,omitzero"`
	Contacts []ID `json:"contacts,omitempty"`
	All      bool `json:"all,omitempty"`
}

// Schedule modes.
const (
	ModeNow       = "now"
	ModeAt        = "at"        // one instant for everybody
	ModeLocal     = "local"     // one wall-clock time in each person's zone
	ModeOptimised = "optimised" // each person's best hour within the window
)

// Schedule says when a campaign's messages go out.
type Schedule struct {
	Mode      string     `json:"mode"`
	At        *time.Time `json:"at,omitempty"`        // modes at and, as the start, local and optimised
	LocalTime LocalTime  `json:"local_time,omitzero"` // mode local
	Window    Duration   `json:"window,omitzero"`     // optimised: slots are chosen within it; all: a moment missed by more is skipped. Default 24h
	Baseline  LocalTime  `json:"baseline,omitzero"`   // optimised: the control arm's and the fallback's time. Default 10:00
}

// Shares returns the experiment that was asked for; where none was, no arm has
// a share.
func (s *CampaignSpec) Shares() Experiment {
	if s.Experiment == nil {
		return Experiment{}
	}
	return *s.Experiment
}

// Experiment gives the shares of the arms; what remains is the schedule's own.
type Experiment struct {
	Holdout float64 `json:"holdout,omitempty"`
	Control float64 `json:"control,omitempty"`
	Explore float64 `json:"explore,omitempty"`
}

// Goal is the event that counts as success and how long it may take.
type Goal struct {
	Kind              string   `json:"kind,omitempty"`              // default payment.received
	AttributionWindow Duration `json:"attribution_window,omitzero"` // default 168h
}

// DefaultAttributionWindow is used where a campaign states none.
const DefaultAttributionWindow = 168 * time.Hour

// Window returns the attribution window or its default.
func (g Goal) Window() time.Duration {
	if g.AttributionWindow <= 0 {
		return DefaultAttributionWindow
	}
	return time.Duration(g.AttributionWindow)
}

// Cost is the campaign's cost side.
type Cost struct {
	Fixed      Amount `json:"fixed,omitzero"`
	PerMessage Amount `json:"per_message,omitzero"` // for each message sent
	Currency   string `json:"currency,omitempty"`   // ISO 4217; default EUR
}

// UTM holds the parameters added to every tracked destination.
type UTM struct {
	Source   string `json:"source,omitempty"`
	Medium   string `json:"medium,omitempty"`
	Campaign string `json:"campaign,omitempty"`
	Term     string `json:"term,omitempty"`
	Content  string `json:"content,omitempty"`
}

// Duration is a time.Duration written as "24h" or "90m"; days as "7d".
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns whole hours as "36h", whole minutes as "1h30m", and Go's form
// of anything else.
func (d Duration) String() string {
	t := time.Duration(d)
	s := t.String()
	switch {
	case t != 0 && t%time.Hour == 0:
		return strings.TrimSuffix(s, "0m0s")
	case t != 0 && t%time.Minute == 0:
		return strings.TrimSuffix(s, "0s")
	}
	return s
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		s = days + "h"
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return Invalid("duration", "is not a duration such as 24h or 7d")
	}
	if len(b) > 0 && b[len(b)-1] == 'd' {
		v *= 24
	}
	*d = Duration(v)
	return nil
}

// ParseSpec reads a stored spec.
func ParseSpec(b []byte) (CampaignSpec, error) {
	var s CampaignSpec
	err := json.Unmarshal(b, &s)
	return s, err
}
