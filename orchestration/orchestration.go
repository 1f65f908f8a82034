// Package orchestration is the second stage: it decides for each person
// whether, by which channel and at which moment a message goes out, and says
// why.
//
// Takes: pages of a campaign's audience, transactional messages, the contacts'
// consent and preferences, suppressions; the models of delivery time that are
// active and on trial, with people's hours.
// Gives: notifications, each with a state or a slot, an arm, a propensity, the
// model that chose and a named reason; batches of those to be sent, due at
// their slot.
// Owns: the rows of notifications (their outcome columns are delivery's), the
// table experiments.
// Promises: a decision is a pure function of what was stored and the clock, so
// the same page planned twice gives the same people the same arms; the same
// task twice gives the same rows; all pages of a campaign divide its people
// alike.
// Fails: a page that can't be planned stays planned and is tried again. A model
// that is missing, broken or says nothing costs nobody the message: the
// baseline time is taken, and explain says why.
package orchestration

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"kairos"
)

// Options of the stage. The zero value is usable.
type Options struct {
	// DefaultZone is used for contacts without a time zone or with an unknown
	// one. Default UTC.
	DefaultZone *time.Location
	// BatchSize is how many notifications a delivery batch holds at most.
	// Default 1,000.
	BatchSize int
	// Owner names this process in leases. Default "orchestration".
	Owner string
}

// Orchestration plans.
type Orchestration struct {
	pool  *pgxpool.Pool
	clock kairos.Clock
	opts  Options
	zones zones
}

// New returns the stage on a pool.
func New(pool *pgxpool.Pool, clock kairos.Clock, opts Options) *Orchestration {
	if opts.DefaultZone == nil {
		opts.DefaultZone = time.UTC
	}
	if opts.BatchSize <= 0 {
		opts.BatchSize = 1000
	}
	if opts.Owner == "" {
		opts.Owner = "orchestration"
	}
	return &Orchestration{pool: pool, clock: clock, opts: opts, zones: zones{fallback: opts.DefaultZone}}
}

// PlanTask asks for one page of an audience to be planned.
type PlanTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (PlanTask) Kind() string { return kairos.KindPlan }

// SendTask tells that delivery has something to send.
type SendTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (SendTask) Kind() string { return kairos.KindSend }

// campaign is what planning needs to know of one.
type campaign struct {
	id     kairos.ID
	spec   kairos.CampaignSpec
	ticket kairos.ID
	// start is the first moment of the schedule: its at, or the launch.
	start time.Time
	// experiment and models; see divide.
	experiment     experiment
	active, canary model
	cuts           map[span][]hour // made by hours
}

// hours cuts a span into local hours, each span once: the people of a page
// share few zones. A campaign belongs to one goroutine; nobody changes the
// hours.
func (c *campaign) hours(s span) []hour {
	list, ok := c.cuts[s]
	if !ok {
		if list = hoursOf(s.start, s.end, s.loc); c.cuts == nil {
			c.cuts = map[span][]hour{}
		}
		c.cuts[s] = list
	}
	return list
}

// from is the first moment that is left of the schedule.
func (c *campaign) from(now time.Time) time.Time {
	if c.start.Before(now) {
		return now
	}
	return c.start
}

// end is where the hours that may be chosen end.
func (c *campaign) end() time.Time {
	end := c.start.Add(c.window())
	if l := c.spec.Latest; l != nil && l.Before(end) {
		return *l
	}
	return end
}

func (c *campaign) window() time.Duration {
	if c.spec.Schedule.Window > 0 {
		return time.Duration(c.spec.Schedule.Window)
	}
	return 24 * time.Hour
}

func (c *campaign) baseline() kairos.LocalTime {
	if c.spec.Schedule.Baseline.IsZero() {
		return kairos.ClockTime(10, 0)
	}
	return c.spec.Schedule.Baseline
}

func (c *campaign) String() string { return fmt.Sprintf("campaign %s", c.id) }
