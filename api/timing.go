package api

import (
	"bytes"
	"context"

	"kairos/analysis"
)

// TimingReport is the answer of GET /v1/reports/timing.
type TimingReport struct {
	Campaign ID          `json:"campaign"`
	Verdict  string      `json:"verdict" doc:"Of optimised against control: better, worse, no_detectable_difference or not_enough_data."`
	Needed   *int64      `json:"needed" doc:"Messages that the smaller of the two arms still lacks to show the observed lift, or one of 10 %, with 90 % power; null: enough, or nothing can be said."`
	Arms     []TimingArm `json:"arms"`
	Lift     *TimingLift `json:"lift" doc:"Of optimised over control; null: nothing to compare."`
	SRM      *TimingSRM  `json:"srm" doc:"Sample ratio mismatch: whether the arms have the sizes that the experiment's shares ask for; null: nothing was drawn by lot."`
}

// TimingArm is what one arm brought.
type TimingArm struct {
	Arm       string   `json:"arm" doc:"control, explore, optimised, preferred, or all for a schedule without a choice of hours."`
	N         int64    `json:"n" doc:"Messages sent: accepted or unknown."`
	Responses int64    `json:"responses" doc:"Messages with a human click or anything beyond it: a page viewed, a call to action, an offer answered, a payment or the goal."`
	Rate      *float64 `json:"rate" doc:"responses over n; null when nothing was sent."`
}

// TimingLift compares optimised with control.
type TimingLift struct {
	_        struct{}   `nullable:"true"`
	Estimate *float64   `json:"estimate" doc:"Rate of optimised over that of control - 1; null when control has no response."`
	Interval *[]float64 `json:"interval" nullable:"true" doc:"Of estimate, 95 %; null with it."`
	P        float64    `json:"p" doc:"Two-sided."`
}

// TimingSRM is the check of the arms' sizes.
type TimingSRM struct {
	_  struct{} `nullable:"true"`
	P  float64  `json:"p"`
	OK bool     `json:"ok" doc:"false (p below 0.001): something treats the arms differently, and no lift may be believed."`
}

func (a *server) timing() {
	report[TimingReport](a, "timing", "Get a campaign's timing report", "Whether the chosen moments brought more responses than the baseline time: rates by arm, lift of optimised over control with its interval, and how many messages are still needed.",
		func(ctx context.Context, q *reportQuery) (any, func(*bytes.Buffer) error, error) {
			t, err := a.opts.Analysis.Timing(ctx, q.Campaign.ID)
			return t, func(b *bytes.Buffer) error { return analysis.WriteTimingCSV(b, t) }, err
		})
}
