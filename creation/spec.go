package creation

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

const (
	defaultWindow = 24 * time.Hour
	maxWindow     = 60 * 24 * time.Hour
	// MaxAudience is how many contacts a campaign may name one by one.
	MaxAudience = 10_000
)

// checkSpec fills the defaults in and names the first field that makes no sense.
func checkSpec(s *kairos.CampaignSpec, now time.Time) error {
	s.Name = strings.TrimSpace(s.Name)
	if s.Purpose == "" {
		s.Purpose = "marketing"
	}
	if len(s.Channels) == 0 {
		s.Channels = []kairos.Channel{kairos.Email}
	}
	for _, f := range []struct {
		name, value string
		limit       int
	}{
		{"name", s.Name, maxName}, {"purpose", s.Purpose, 50}, {"topic", s.Topic, 50},
		{"utm.source", s.UTM.Source, 200}, {"utm.medium", s.UTM.Medium, 200}, {"utm.campaign", s.UTM.Campaign, 200},
		{"utm.term", s.UTM.Term, 200}, {"utm.content", s.UTM.Content, 200},
	} {
		if len(f.value) > f.limit {
			return kairos.Invalid(f.name, "is longer than %d bytes", f.limit)
		}
		if err := checkText(f.name, f.value); err != nil {
			return err
		}
	}
	if s.Name == "" {
		return kairos.Invalid("name", "must not be empty")
	}
	if len(s.Classification) > 20 {
		return kairos.Invalid("classification", "has more than 20 entries")
	}
	for _, v := range s.Classification {
		if v == "" || len(v) > 50 {
			return kairos.Invalid("classification", "has an entry that is empty or longer than 50 bytes")
		}
		if err := checkText("classification", v); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(s.Channels, func(c kairos.Channel) bool { return c != kairos.Email }) || len(s.Channels) > 1 {
		return kairos.Invalid("channels", "must be [\"email\"]")
	}
	if s.Template.IsZero() {
		return kairos.Invalid("template", "must be given")
	}
	if s.Latest != nil && !s.Latest.After(now) {
		return kairos.Invalid("latest", "must lie in the future")
	}
	for _, check := range []func() error{
		func() error { return checkAudience(&s.Audience) },
		func() error { return checkSchedule(&s.Schedule, now) },
		func() error { return checkExperiment(s.Shares()) },
		func() error { return checkGoal(&s.Goal) },
		func() error { return checkCost(&s.Cost) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if s.Latest != nil && s.Schedule.At != nil && !s.Latest.After(*s.Schedule.At) {
		return kairos.Invalid("latest", "must be after schedule.at")
	}
	return nil
}

func checkAudience(a *kairos.Audience) error {
	n := 0
	for _, set := range []bool{!a.Segment.IsZero(), a.Contacts != nil, a.All} {
		if set {
			n++
		}
	}
	if n != 1 {
		return kairos.Invalid("audience", "must be exactly one of segment, contacts and all")
	}
	if a.Contacts == nil {
		return nil
	}
	if len(a.Contacts) == 0 {
		return kairos.Invalid("audience.contacts", "must not be empty")
	}
	if len(a.Contacts) > MaxAudience {
		return kairos.Invalid("audience.contacts", "are more than %d: use a segment", MaxAudience)
	}
	a.Contacts = slices.Clone(a.Contacts)
	slices.SortFunc(a.Contacts, func(x, y kairos.ID) int { return slices.Compare(x[:], y[:]) })
	a.Contacts = slices.Compact(a.Contacts)
	if a.Contacts[0].IsZero() {
		return kairos.Invalid("audience.contacts", "has an empty id")
	}
	return nil
}

func checkSchedule(s *kairos.Schedule, now time.Time) error {
	if s.Window == 0 {
		s.Window = kairos.Duration(defaultWindow)
	}
	if s.Mode == kairos.ModeOptimised && s.Window < kairos.Duration(time.Hour) {
		return kairos.Invalid("schedule.window", "must be at least 1h in mode optimised")
	}
	if s.Window < 0 || s.Window > kairos.Duration(maxWindow) {
		return kairos.Invalid("schedule.window", "must be between 0 and %dd", int(maxWindow.Hours()/24))
	}
	if s.At != nil {
		at := s.At.UTC()
		s.At = &at
		if !at.After(now) {
			return kairos.Invalid("schedule.at", "must lie in the future")
		}
		if at.After(now.AddDate(2, 0, 0)) {
			return kairos.Invalid("schedule.at", "must lie within two years")
		}
	}
	switch s.Mode {
	case kairos.ModeNow:
		if s.At != nil {
			return kairos.Invalid("schedule.at", "must not be given in mode now")
		}
	case kairos.ModeAt:
		if s.At == nil {
			return kairos.Invalid("schedule.at", "must be given in mode at")
		}
	case kairos.ModeLocal:
		if s.LocalTime.IsZero() {
			return kairos.Invalid("schedule.local_time", "must be given in mode local")
		}
	case kairos.ModeOptimised:
		if s.Baseline.IsZero() {
			s.Baseline = kairos.ClockTime(10, 0)
		}
	default:
		return kairos.Invalid("schedule.mode", "must be now, at, local or optimised")
	}
	if s.Mode != kairos.ModeLocal && !s.LocalTime.IsZero() {
		return kairos.Invalid("schedule.local_time", "must not be given in mode %s", s.Mode)
	}
	if s.Mode != kairos.ModeOptimised && !s.Baseline.IsZero() {
		return kairos.Invalid("schedule.baseline", "must not be given in mode %s", s.Mode)
	}
	return nil
}

func checkExperiment(e kairos.Experiment) error {
	for _, share := range []struct {
		name string
		v    float64
	}{{"experiment.holdout", e.Holdout}, {"experiment.control", e.Control}, {"experiment.explore", e.Explore}} {
		if math.IsNaN(share.v) || share.v < 0 || share.v > 1 {
			return kairos.Invalid(share.name, "must be between 0 and 1")
		}
	}
	if e.Holdout+e.Control+e.Explore > 1+1e-9 {
		return kairos.Invalid("experiment", "has shares that add up to more than 1")
	}
	return nil
}

func checkGoal(g *kairos.Goal) error {
	if g.Kind == "" {
		g.Kind = kairos.PaymentReceived
	}
	if g.AttributionWindow == 0 {
		g.AttributionWindow = kairos.Duration(kairos.DefaultAttributionWindow)
	}
	if g.AttributionWindow < 0 || g.AttributionWindow > kairos.Duration(366*24*time.Hour) {
		return kairos.Invalid("goal.attribution_window", "must be between 0 and 366d")
	}
	if len(g.Kind) > 100 || !dotted(g.Kind) {
		return kairos.Invalid("goal.kind", "must be dotted lower-case words such as payment.received")
	}
	return nil
}

// dotted reports whether v is at least two words of a-z, 0-9 and _, joined by dots.
func dotted(v string) bool {
	words := strings.Split(v, ".")
	for _, w := range words {
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			return false
		}
	}
	return len(words) > 1
}

func checkCost(c *kairos.Cost) error {
	if c.Currency == "" {
		c.Currency = "EUR"
	}
	if len(c.Currency) != 3 || strings.Trim(c.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return kairos.Invalid("cost.currency", "must be three capital letters of ISO 4217")
	}
	if c.Fixed < 0 {
		return kairos.Invalid("cost.fixed", "must not be negative")
	}
	if c.PerMessage < 0 {
		return kairos.Invalid("cost.per_message", "must not be negative")
	}
	return nil
}

// checkReferences checks that what the spec names exists, and returns the
// template's newest version.
func (c *Creation) checkReferences(ctx context.Context, db querier, s *kairos.CampaignSpec) (version int, err error) {
	var channel kairos.Channel
	err = db.QueryRow(ctx, `SELECT version, channel FROM templates WHERE id = $1`, s.Template).Scan(&version, &channel)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, kairos.Invalid("template", "doesn't exist")
	}
	if err != nil {
		return 0, fmt.Errorf("check template: %w", err)
	}
	if !slices.Contains(s.Channels, channel) {
		return 0, kairos.Invalid("template", "is for another channel")
	}
	if !s.Audience.Segment.IsZero() {
		if _, err := readSegment(ctx, db, s.Audience.Segment); errors.Is(err, kairos.ErrNotFound) {
			return 0, kairos.Invalid("audience.segment", "doesn't exist")
		} else if err != nil {
			return 0, err
		}
	}
	if s.Audience.Contacts != nil {
		var n int
		err := db.QueryRow(ctx, `SELECT count(*) FROM contacts WHERE id = ANY ($1)`, s.Audience.Contacts).Scan(&n)
		if err != nil {
			return 0, fmt.Errorf("check audience: %w", err)
		}
		if n < len(s.Audience.Contacts) {
			return 0, kairos.Invalid("audience.contacts", "names %d that don't exist", len(s.Audience.Contacts)-n)
		}
	}
	return version, nil
}
