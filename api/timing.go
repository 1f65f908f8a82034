package api

import (
	"context"
	"net/http"
	"time"

	"kairos/analysis"
)

// TimingReport is the answer of GET /v1/reports/timing.
type TimingReport struct {
	Campaign  ID          `json:"campaign,omitzero" doc:"Not there in the report over a period."`
	From      time.Time   `json:"from,omitzero" doc:"Of a period; not there: since ever."`
	Until     time.Time   `json:"until,omitzero" doc:"Of a period."`
	Campaigns int         `json:"campaigns,omitempty" doc:"Of a period: how many are summed."`
	Verdict   string      `json:"verdict" doc:"Of optimised and preferred together against control: better, worse, no_detectable_difference or not_enough_data."`
	Needed    *int64      `json:"needed" doc:"Messages that the smaller of the two sides still lacks to show the observed lift, or one of 10 %, with 90 % power; null: enough, or nothing can be said."`
	Arms      []TimingArm `json:"arms" doc:"One by one; over a period, over all its campaigns."`
	Lift      *TimingLift `json:"lift" doc:"Of optimised and preferred together over control: whoever asked for hours is in control too, so only the two together compare like with like. Over a period each campaign is compared within itself. Null: nothing to compare."`
	SRM       *TimingSRM  `json:"srm" doc:"Sample ratio mismatch: whether the arms have the sizes that the experiment's shares ask for; null: nothing was drawn by lot."`
	Models    []int       `json:"models" doc:"Versions of the models that chose hours of messages which were sent; empty: none did."`
	Note      string      `json:"note,omitempty" doc:"What to know before reading the verdict."`
}

// TimingArm is what one arm brought.
type TimingArm struct {
	Arm       string   `json:"arm" doc:"control, explore, optimised, preferred, or all for a schedule without a choice of hours."`
	N         int64    `json:"n" doc:"Messages sent: accepted or unknown."`
	Responses int64    `json:"responses" doc:"Messages with a human click or anything beyond it: a page viewed, a call to action, an offer answered, a payment or the goal."`
	Rate      *float64 `json:"rate" doc:"responses over n; null when nothing was sent."`
}

// TimingLift compares optimised and preferred with control.
type TimingLift struct {
	_        struct{}   `nullable:"true"`
	Estimate *float64   `json:"estimate" doc:"Rate of optimised and preferred over that of control - 1; null when control has no response."`
	Interval *[]float64 `json:"interval" nullable:"true" doc:"Of estimate, 95 %; null with it."`
	P        float64    `json:"p" doc:"Two-sided."`
}

// TimingSRM is the check of the arms' sizes.
type TimingSRM struct {
	_  struct{} `nullable:"true"`
	P  float64  `json:"p"`
	OK bool     `json:"ok" doc:"false (p below 0.001): something treats the arms differently, and no lift may be believed."`
}

// timingQuery names a campaign or a period.
type timingQuery struct {
	Campaign ID        `query:"campaign" doc:"One campaign; or a period."`
	From     time.Time `query:"from" doc:"Campaigns whose first message was sent then or later, each counted whole; default: since ever."`
	Until    time.Time `query:"until" doc:"And before then; default: now."`
	ReportForm
}

// check refuses a query that names both or neither.
func (q *timingQuery) check() error {
	period := !q.From.IsZero() || !q.Until.IsZero()
	switch {
	case q.Campaign.IsZero() && !period:
		return newProblem(http.StatusUnprocessableEntity, "The request is not valid.", "query.campaign", "must be given, or a period with from and until")
	case !q.Campaign.IsZero() && period:
		return newProblem(http.StatusUnprocessableEntity, "The request is not valid.", "query.campaign", "must not be given together with from or until")
	}
	return nil
}

// load makes the report and names its file.
func (q *timingQuery) load(ctx context.Context, a *analysis.Analysis) (t analysis.Timing, file string, err error) {
	if !q.Campaign.IsZero() {
		t, err = a.Timing(ctx, q.Campaign.ID)
		return t, "timing-" + q.Campaign.String(), err
	}
	t, err = a.TimingOf(ctx, q.From, q.Until)
	if t.From.IsZero() {
		return t, "timing-until-" + t.Until.Format(time.DateOnly), err
	}
	return t, "timing-" + t.From.Format(time.DateOnly) + "-" + t.Until.Format(time.DateOnly), err
}

func (a *server) timing() {
	const path = "/v1/reports/timing"
	handle(a, call{method: http.MethodGet, path: path, id: "report-timing", tag: "Reports", summary: "Get the timing report of a campaign or a period",
		about: "Whether the chosen moments brought more responses than the baseline time: rates by arm, lift over control with its interval, and how many messages are still needed. " +
			"Ask for one campaign, or for a period with `from` and `until`." + asTable, scopes: []string{ScopeReports}, errors: []int{404}},
		func(ctx context.Context, q *timingQuery) (*reportOutput, error) {
			if err := q.check(); err != nil {
				return nil, err
			}
			t, file, err := q.load(ctx, a.opts.Analysis)
			if err != nil {
				return nil, err
			}
			if q.Campaign.IsZero() {
				return q.write(file, t, rowsOf(t.PeriodRows()))
			}
			return q.write(file, t, rowsOf(t.Rows()))
		})
	documentTable[TimingReport](a, path)
}
