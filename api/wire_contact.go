package api

import (
	"encoding/json"
	"time"

	"kairos"
	"kairos/creation"
)

// ContactInput is the body of an upsert.
type ContactInput struct {
	ExternalID string `json:"external_id,omitempty" maxLength:"200" doc:"The caller's own id of the person; found by it, else by email."`
	Email      string `json:"email,omitempty" maxLength:"254" doc:"A bare address."`
	Phone      string `json:"phone,omitempty" maxLength:"50"`
	FirstName  string `json:"first_name,omitempty" maxLength:"500"`
	LastName   string `json:"last_name,omitempty" maxLength:"500"`
	Locale     string `json:"locale,omitempty" maxLength:"50"`
	Timezone   string `json:"timezone,omitempty" maxLength:"64" doc:"An IANA name such as Europe/Berlin."`
	Region     string `json:"region,omitempty" maxLength:"100"`
	Attributes Object `json:"attributes,omitempty" doc:"Merged into what is stored; null removes one."`
}

func (c *ContactInput) input() creation.ContactInput {
	return creation.ContactInput{
		ExternalID: c.ExternalID, Email: c.Email, Phone: c.Phone, FirstName: c.FirstName, LastName: c.LastName,
		Locale: c.Locale, Timezone: c.Timezone, Region: c.Region, Attributes: json.RawMessage(c.Attributes),
	}
}

// ContactPatch is a JSON merge patch (RFC 7396): null removes.
type ContactPatch struct {
	ExternalID *string `json:"external_id,omitempty" nullable:"true" maxLength:"200"`
	Email      *string `json:"email,omitempty" nullable:"true" maxLength:"254"`
	Phone      *string `json:"phone,omitempty" nullable:"true" maxLength:"50"`
	FirstName  *string `json:"first_name,omitempty" nullable:"true" maxLength:"500"`
	LastName   *string `json:"last_name,omitempty" nullable:"true" maxLength:"500"`
	Locale     *string `json:"locale,omitempty" nullable:"true" maxLength:"50"`
	Timezone   *string `json:"timezone,omitempty" nullable:"true" maxLength:"64"`
	Region     *string `json:"region,omitempty" nullable:"true" maxLength:"100"`
	Attributes Object  `json:"attributes,omitempty" nullable:"true" doc:"Merged, one level deep."`
}

// Contact is a person.
type Contact struct {
	ID          ID          `json:"id"`
	ExternalID  string      `json:"external_id,omitempty"`
	Email       string      `json:"email,omitempty"`
	Phone       string      `json:"phone,omitempty"`
	FirstName   string      `json:"first_name,omitempty"`
	LastName    string      `json:"last_name,omitempty"`
	Locale      string      `json:"locale,omitempty"`
	Timezone    string      `json:"timezone,omitempty" doc:"None: the installation's default zone."`
	Region      string      `json:"region,omitempty"`
	Attributes  Object      `json:"attributes"`
	Preferences Preferences `json:"preferences"`
	CreatedAt   time.Time   `json:"created_at"`
	UpdatedAt   time.Time   `json:"updated_at"`
	ErasedAt    *time.Time  `json:"erased_at,omitempty" doc:"Since when the personal data is removed."`
}

func contactOf(c *creation.Contact) Contact {
	return Contact{
		ID: ID{c.ID}, ExternalID: c.ExternalID, Email: c.Email, Phone: c.Phone, FirstName: c.FirstName, LastName: c.LastName,
		Locale: c.Locale, Timezone: c.Timezone, Region: c.Region, Attributes: Object(c.Attributes),
		Preferences: preferencesOf(&c.Preferences), CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, ErasedAt: c.ErasedAt,
	}
}

// Preferences are what a person asked for.
type Preferences struct {
	Channels       map[string]bool `json:"channels,omitempty" doc:"email: false refuses the channel for marketing."`
	Topics         map[string]bool `json:"topics,omitempty" doc:"news: false refuses the topic."`
	PreferredHours []HourRange     `json:"preferred_hours,omitempty" maxItems:"50"`
	QuietHours     *QuietHours     `json:"quiet_hours,omitempty"`
}

// HourRange is a span of local time on some weekdays.
type HourRange struct {
	Days  []string  `json:"days,omitempty" enum:"mon,tue,wed,thu,fri,sat,sun" doc:"None: every day."`
	From  LocalTime `json:"from"`
	Until LocalTime `json:"until" doc:"At or before from: past midnight."`
}

// QuietHours is a span of local time of every day.
type QuietHours struct {
	From  LocalTime `json:"from"`
	Until LocalTime `json:"until"`
}

func (p *Preferences) preferences() kairos.Preferences {
	out := kairos.Preferences{Channels: p.Channels, Topics: p.Topics}
	for _, h := range p.PreferredHours {
		out.PreferredHours = append(out.PreferredHours, kairos.HourRange{Days: h.Days, From: h.From.LocalTime, Until: h.Until.LocalTime})
	}
	if q := p.QuietHours; q != nil {
		out.QuietHours = &kairos.HourRange{From: q.From.LocalTime, Until: q.Until.LocalTime}
	}
	return out
}

func preferencesOf(p *kairos.Preferences) Preferences {
	out := Preferences{Channels: p.Channels, Topics: p.Topics}
	for _, h := range p.PreferredHours {
		out.PreferredHours = append(out.PreferredHours, HourRange{h.Days, LocalTime{h.From}, LocalTime{h.Until}})
	}
	if q := p.QuietHours; q != nil {
		out.QuietHours = &QuietHours{LocalTime{q.From}, LocalTime{q.Until}}
	}
	return out
}
