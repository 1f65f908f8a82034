package dashboard

import (
	"math"
	"strconv"

	"kairos"
	"kairos/analysis"
)

// verdict says in words what the comparison with the held out came to.
type verdict struct {
	title string
	text  string
	tone  string
}

func verdictOf(r analysis.ROI) verdict {
	in := r.Incremental
	people := "comparing " + count(in.Treated) + " people written to with " + count(in.HeldOut) + " held out"
	switch in.Verdict {
	case analysis.VerdictBetter:
		return verdict{"The campaign brought more", "Beyond chance (95 % interval above zero), " + people + ".", "good"}
	case analysis.VerdictWorse:
		return verdict{"The campaign did harm", "People who were not written to brought more (95 % interval below zero), " + people + ".", "bad"}
	case analysis.VerdictNoDifference:
		return verdict{"No difference worth speaking of", "The comparison was large enough to see one, " + people + ".", "calm"}
	}
	if in.HeldOut == 0 {
		return verdict{"No comparison", "Nobody was held out, so nobody can tell what would have come anyway. Set experiment.holdout to learn it.", "calm"}
	}
	if in.Needed != nil && *in.Needed > in.Treated+in.HeldOut {
		return verdict{"Not enough data", "About " + roughly(*in.Needed-in.Treated-in.HeldOut) + " more people are needed to tell, " + people + ".", "wait"}
	}
	return verdict{"Not enough data", "Too few people or payments so far to tell, " + people + ".", "wait"}
}

// roughly rounds to two digits: an estimate has no more to say.
func roughly(n int64) string {
	if n < 100 {
		return count(n)
	}
	unit := int64(math.Pow10(int(math.Log10(float64(n))) - 1))
	return count((n + unit/2) / unit * unit)
}

// interval is a drawing of an estimate with its interval, zero included.
type interval struct {
	low, high, zero, at string // places in percent
	width               string
}

func intervalOf(low, high, estimate kairos.Amount) interval {
	return drawn(low.Float(), high.Float(), estimate.Float(), 0.06)
}

// drawn leaves that share of the width free on both sides.
func drawn(low, high, estimate, free float64) interval {
	from, to := math.Min(low, 0), math.Max(high, 0)
	pad := (to - from) * free
	if pad == 0 {
		pad = 1
	}
	from, to = from-pad, to+pad
	place := func(v float64) float64 { return (v - from) / (to - from) * 100 }
	text := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) + "%" }
	return interval{
		low: text(place(low)), high: text(place(high)), zero: text(place(0)), at: text(place(estimate)),
		width: text(place(high) - place(low)),
	}
}

// multiple writes a return of 8.81 as "881%": what came back beyond what was spent.
func multiple(r *float64) string {
	if r == nil {
		return "–"
	}
	return strconv.FormatFloat(*r*100, 'f', 0, 64) + "%"
}

// armColumn is one arm of the funnel.
type armColumn struct {
	arm   kairos.Arm
	steps map[string]analysis.Step
}

func armsOf(f analysis.Funnel) []armColumn {
	var list []armColumn
	for _, arm := range armOrder {
		steps, ok := f.ByArm[string(arm)]
		if !ok {
			continue
		}
		c := armColumn{arm: arm, steps: map[string]analysis.Step{}}
		for _, s := range steps {
			c.steps[s.Step] = s
		}
		if c.steps[analysis.StepPlanned].Unique > 0 {
			list = append(list, c)
		}
	}
	return list
}

// widest is the count that fills a bar of the funnel.
func widest(f analysis.Funnel) float64 {
	var n int64
	for _, s := range f.Steps {
		n = max(n, s.Unique)
	}
	return float64(n)
}

// apartOf leaves out what never happened.
func apartOf(f analysis.Funnel) []analysis.Step {
	var list []analysis.Step
	for _, s := range f.Apart {
		if s.Total > 0 && s.Step != analysis.StepHeldOut && s.Step != analysis.StepSkipped {
			list = append(list, s)
		}
	}
	return list
}

// armSteps are the steps shown for each arm, as shares of what was sent.
var armSteps = []string{analysis.StepDelivered, analysis.StepOpened, analysis.StepClicked, analysis.StepViewed, analysis.StepOfferAccepted, analysis.StepPaid}

// signed writes an estimated number of people or payments: "+12.3".
func signed(f float64) string {
	s := strconv.FormatFloat(math.Abs(f), 'f', 1, 64)
	if f < 0 && s != "0.0" {
		return "−" + s
	}
	return "+" + s
}

// launchCall is the API call that launches a draft.
func launchCall(v campaignView) string {
	return "curl -X POST " + v.base + "/v1/campaigns/" + v.ID.String() + "/launch \\\n  -H \"Authorization: Bearer $KAIROS_API_KEY\""
}

// explainCall is the API call that explains a decision.
func explainCall(v notificationView) string {
	return "curl " + v.base + "/v1/notifications/" + v.ID.String() + "/explain \\\n  -H \"Authorization: Bearer $KAIROS_API_KEY\""
}

// ofPrevious leaves out what is no part of the step before: who declined is
// no part of those who accepted, nor who paid of those who declined.
func ofPrevious(s analysis.Step) *float64 {
	if s.Step == analysis.StepOfferDeclined || s.Step == analysis.StepPaid {
		return nil
	}
	return s.RateOfPrevious
}
