package api

import (
	"time"

	"kairos"
	"kairos/creation"
	"kairos/delivery"
)

// CampaignSpec is the body of POST /v1/campaigns; the answer repeats it.
type CampaignSpec struct {
	Name           string      `json:"name" minLength:"1" maxLength:"200" doc:"For people."`
	Purpose        string      `json:"purpose,omitempty" maxLength:"64" doc:"marketing (default) is bound by consent and unsubscriptions; transactional is not."`
	Topic          string      `json:"topic,omitempty" maxLength:"100" doc:"A topic of the preference page; who refuses it is skipped."`
	Classification []string    `json:"classification,omitempty" maxItems:"16" doc:"pii, gdpr, pci, ..."`
	Channels       []string    `json:"channels,omitempty" maxItems:"8" enum:"email" doc:"In order of preference. Default: the template's."`
	Template       ID          `json:"template" doc:"Its newest version is pinned at launch."`
	Audience       Audience    `json:"audience" doc:"Exactly one of segment, contacts and all."`
	Schedule       Schedule    `json:"schedule"`
	Experiment     *Experiment `json:"experiment,omitempty"`
	Goal           *Goal       `json:"goal,omitempty"`
	Cost           *Cost       `json:"cost,omitempty"`
	UTM            *UTM        `json:"utm,omitempty"`
	Latest         *time.Time  `json:"latest,omitempty" doc:"Nothing is sent after it."`
}

// Audience names the recipients.
type Audience struct {
	Segment  *ID  `json:"segment,omitempty"`
	Contacts []ID `json:"contacts,omitempty" maxItems:"100000"`
	All      bool `json:"all,omitempty"`
}

// Schedule says when a campaign's messages go out.
type Schedule struct {
	Mode      string     `json:"mode" enum:"now,at,local,optimised" doc:"now; at one instant; at one wall-clock time in each person's zone; at each person's best hour."`
	At        *time.Time `json:"at,omitempty" doc:"The instant of mode at; the start of local and optimised."`
	LocalTime LocalTime  `json:"local_time,omitzero" doc:"Of mode local."`
	Window    Duration   `json:"window,omitzero" doc:"Optimised: slots are chosen within it. All: a moment missed by more is skipped. Default 24h."`
	Baseline  LocalTime  `json:"baseline,omitzero" doc:"Optimised: the time of the control arm and of the fallback. Default 10:00."`
}

// Experiment gives the shares of the arms; the rest is the schedule's own.
type Experiment struct {
	Holdout float64 `json:"holdout,omitempty" minimum:"0" maximum:"1" doc:"Not written to: the comparison for the incremental return."`
	Control float64 `json:"control,omitempty" minimum:"0" maximum:"1" doc:"At the baseline time. 0.1 where mode optimised is given no experiment."`
	Explore float64 `json:"explore,omitempty" minimum:"0" maximum:"1" doc:"At a drawn time. Where mode optimised is given no experiment: 0.3 while little is known of times, and less with each response, down to 0.05."`
}

// Goal is the event that counts as success.
type Goal struct {
	Kind              string   `json:"kind,omitempty" maxLength:"64" doc:"Default payment.received."`
	AttributionWindow Duration `json:"attribution_window,omitzero" doc:"Default 168h."`
}

// Cost is the campaign's cost side.
type Cost struct {
	Fixed      Amount `json:"fixed,omitzero"`
	PerMessage Amount `json:"per_message,omitzero" doc:"For each message sent."`
	Currency   string `json:"currency,omitempty" pattern:"^[A-Z]{3}$" patternDescription:"an ISO 4217 currency" doc:"Default EUR."`
}

// UTM holds the parameters added to every tracked destination.
type UTM struct {
	Source   string `json:"source,omitempty" maxLength:"200"`
	Medium   string `json:"medium,omitempty" maxLength:"200"`
	Campaign string `json:"campaign,omitempty" maxLength:"200"`
	Term     string `json:"term,omitempty" maxLength:"200"`
	Content  string `json:"content,omitempty" maxLength:"200"`
}

// CampaignPatch changes a draft: a field that is given replaces the whole of it.
type CampaignPatch struct {
	Name           *string     `json:"name,omitempty" minLength:"1" maxLength:"200"`
	Purpose        *string     `json:"purpose,omitempty" maxLength:"64"`
	Topic          *string     `json:"topic,omitempty" maxLength:"100"`
	Classification *[]string   `json:"classification,omitempty" maxItems:"16"`
	Channels       *[]string   `json:"channels,omitempty" maxItems:"8" enum:"email"`
	Template       *ID         `json:"template,omitempty"`
	Audience       *Audience   `json:"audience,omitempty"`
	Schedule       *Schedule   `json:"schedule,omitempty"`
	Experiment     *Experiment `json:"experiment,omitempty"`
	Goal           *Goal       `json:"goal,omitempty"`
	Cost           *Cost       `json:"cost,omitempty"`
	UTM            *UTM        `json:"utm,omitempty"`
	Latest         *time.Time  `json:"latest,omitempty"`
}

// Campaign is a campaign with its state.
type Campaign struct {
	ID    ID     `json:"id"`
	Kind  string `json:"kind" enum:"campaign,transactional"`
	State string `json:"state" enum:"draft,scheduled,running,paused,cancelled,finished,failed"`
	CampaignSpec
	TemplateVersion int        `json:"template_version" doc:"Pinned at launch."`
	AudienceSize    *int64     `json:"audience_size" doc:"Counted at launch; null before."`
	Progress        *Progress  `json:"progress,omitempty"`
	Error           string     `json:"error,omitempty" doc:"Why it failed."`
	CreatedAt       time.Time  `json:"created_at"`
	UpdatedAt       *time.Time `json:"updated_at,omitempty"`
	LaunchedAt      *time.Time `json:"launched_at"`
	FinishedAt      *time.Time `json:"finished_at"`
}

// Progress counts a campaign's recipients.
type Progress struct {
	Planned   int64 `json:"planned" doc:"Decided to be written to, whatever came of it."`
	Skipped   int64 `json:"skipped"`
	Sent      int64 `json:"sent" doc:"accepted + unknown"`
	Accepted  int64 `json:"accepted"`
	Unknown   int64 `json:"unknown" doc:"Sent, and no answer came."`
	Failed    int64 `json:"failed"`
	HeldOut   int64 `json:"held_out"`
	Cancelled int64 `json:"cancelled"`
	Pending   int64 `json:"pending" doc:"Still to be sent."`
	Total     int64 `json:"total" doc:"All recipients; while they are still being cut, the audience's size."`
}

func progressOf(p delivery.Progress) *Progress {
	return &Progress{p.Planned, p.Skipped, p.Sent, p.Accepted, p.Unknown, p.Failed, p.HeldOut, p.Cancelled, p.Pending, p.Total}
}

// spec is the campaign as the stages know it.
func (s *CampaignSpec) spec() kairos.CampaignSpec {
	out := kairos.CampaignSpec{
		Name: s.Name, Purpose: s.Purpose, Topic: s.Topic, Classification: s.Classification,
		Template: s.Template.ID, Latest: s.Latest,
		Audience: kairos.Audience{Contacts: idsOf(s.Audience.Contacts), All: s.Audience.All},
		Schedule: kairos.Schedule{Mode: s.Schedule.Mode, At: s.Schedule.At, LocalTime: s.Schedule.LocalTime.LocalTime,
			Window: s.Schedule.Window.Duration, Baseline: s.Schedule.Baseline.LocalTime},
	}
	for _, c := range s.Channels {
		out.Channels = append(out.Channels, kairos.Channel(c))
	}
	if s.Audience.Segment != nil {
		out.Audience.Segment = s.Audience.Segment.ID
	}
	if e := s.Experiment; e != nil {
		out.Experiment = &kairos.Experiment{Holdout: e.Holdout, Control: e.Control, Explore: e.Explore}
	}
	if g := s.Goal; g != nil {
		out.Goal = kairos.Goal{Kind: g.Kind, AttributionWindow: g.AttributionWindow.Duration}
	}
	if c := s.Cost; c != nil {
		out.Cost = kairos.Cost{Fixed: c.Fixed.Amount, PerMessage: c.PerMessage.Amount, Currency: c.Currency}
	}
	if u := s.UTM; u != nil {
		out.UTM = kairos.UTM{Source: u.Source, Medium: u.Medium, Campaign: u.Campaign, Term: u.Term, Content: u.Content}
	}
	return out
}

func specOf(s *kairos.CampaignSpec) CampaignSpec {
	out := CampaignSpec{
		Name: s.Name, Purpose: s.Purpose, Topic: s.Topic, Classification: s.Classification,
		Template: ID{s.Template}, Latest: s.Latest,
		Audience: Audience{Segment: idOf(s.Audience.Segment), Contacts: wireIDs(s.Audience.Contacts), All: s.Audience.All},
		Schedule: Schedule{Mode: s.Schedule.Mode, At: s.Schedule.At, LocalTime: LocalTime{s.Schedule.LocalTime},
			Window: Duration{Duration: s.Schedule.Window}, Baseline: LocalTime{s.Schedule.Baseline}},
	}
	for _, c := range s.Channels {
		out.Channels = append(out.Channels, string(c))
	}
	if e := s.Experiment; e != nil {
		out.Experiment = &Experiment{e.Holdout, e.Control, e.Explore}
	}
	if g := s.Goal; g != (kairos.Goal{}) {
		out.Goal = &Goal{g.Kind, Duration{Duration: g.AttributionWindow}}
	}
	if c := s.Cost; c != (kairos.Cost{}) {
		out.Cost = &Cost{Amount{Amount: c.Fixed}, Amount{Amount: c.PerMessage}, c.Currency}
	}
	if u := s.UTM; u != (kairos.UTM{}) {
		out.UTM = &UTM{u.Source, u.Medium, u.Campaign, u.Term, u.Content}
	}
	return out
}

// apply puts what the patch gives over s.
func (p *CampaignPatch) apply(s *CampaignSpec) {
	set(&s.Name, p.Name)
	set(&s.Purpose, p.Purpose)
	set(&s.Topic, p.Topic)
	set(&s.Classification, p.Classification)
	set(&s.Channels, p.Channels)
	set(&s.Template, p.Template)
	set(&s.Audience, p.Audience)
	set(&s.Schedule, p.Schedule)
	replace(&s.Experiment, p.Experiment)
	replace(&s.Goal, p.Goal)
	replace(&s.Cost, p.Cost)
	replace(&s.UTM, p.UTM)
	replace(&s.Latest, p.Latest)
}

func set[T any](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}

func replace[T any](dst **T, src *T) {
	if src != nil {
		*dst = src
	}
}

func campaignOf(c *creation.Campaign) Campaign {
	return Campaign{
		ID: ID{c.ID}, Kind: c.Kind, State: c.State, CampaignSpec: specOf(&c.Spec),
		TemplateVersion: c.TemplateVersion, AudienceSize: c.AudienceSize, Error: c.Error,
		CreatedAt: c.CreatedAt, UpdatedAt: timeOf(c.UpdatedAt), LaunchedAt: c.LaunchedAt, FinishedAt: c.FinishedAt,
	}
}
