package dto

import (
	"fmt"
	"math"
)

// Verdict is what the exploration log says about the hour of delivery.
type Verdict string

// The four verdicts and what follows from them.
const (
	NotEnoughData Verdict = "not_enough_data" // neither test rejects, too few responses to mean anything: explore
	Null          Verdict = "null"            // neither test rejects though an effect would have shown: default time
	Global        Verdict = "global"          // the hour matters, people do not differ: one local hour for all
	Clusters      Verdict = "clusters"        // people differ: a candidate for the canary
)

// MinExploration is the number of exploration deliveries below which no
// verdict other than not_enough_data is given: the tests' chi-square and normal
// approximations need it.
const MinExploration = 3000

// NeededResponses returns the exploration responses at which [GCMH] finds, with
// 90 % power at .05, a curve whose logarithm has standard deviation effect over
// the slots: about 31/effect^2, never below 3,000. (An effect of .1 makes the
// best hour about 18 % better than a random one.)
func NeededResponses(effect float64) float64 {
	if !(effect > 0) {
		return math.Inf(1)
	}
	return math.Max(MinExploration, 31/(effect*effect))
}

// VerdictOptions steer [Decide].
type VerdictOptions struct {
	Alpha  float64 // chance of any false rejection; 0: .05
	Effect float64 // smallest effect whose absence "null" claims; 0: .1
}

// Decision is a verdict with the figures behind it.
type Decision struct {
	Verdict          Verdict `json:"verdict"`
	Reason           string  `json:"reason"`
	MainP            float64 `json:"main_p"`            // adjusted for two tests
	InteractionP     float64 `json:"interaction_p"`     // adjusted for two tests
	NeededResponses  float64 `json:"needed_responses"`  // in total, for "null" to mean something
	NeededDeliveries float64 `json:"needed_deliveries"` // still to be explored; 0 when there are enough
}

// Decide gives the verdict on an exploration log of the given numbers of
// deliveries and responses, from the main and the interaction test, Holm
// adjusted over the two.
func Decide(main, interaction Test, deliveries, responses float64, o VerdictOptions) Decision {
	if o.Alpha <= 0 {
		o.Alpha = 0.05
	}
	if o.Effect <= 0 {
		o.Effect = 0.1
	}
	var adjusted [2]float64
	Holm(adjusted[:], []float64{main.P, interaction.P})
	d := Decision{MainP: adjusted[0], InteractionP: adjusted[1], NeededResponses: NeededResponses(o.Effect)}
	rate := (responses + 1) / (deliveries + 20) // 5 % while nothing is known
	d.NeededDeliveries = math.Max(0, math.Ceil((d.NeededResponses-responses)/rate))
	switch {
	case deliveries < MinExploration:
		d.Verdict = NotEnoughData
		d.NeededDeliveries = math.Max(d.NeededDeliveries, MinExploration-deliveries)
		d.Reason = fmt.Sprintf("%.0f exploration deliveries are too few for any verdict; about %.0f more are needed", deliveries, d.NeededDeliveries)
	case d.InteractionP < o.Alpha:
		d.Verdict, d.NeededDeliveries = Clusters, 0
		d.Reason = fmt.Sprintf("people differ in their best hour (%s)", PValue(d.InteractionP))
	case d.MainP < o.Alpha:
		d.Verdict, d.NeededDeliveries = Global, 0
		d.Reason = fmt.Sprintf("the hour matters (%s), and nothing shows that people differ (%s)", PValue(d.MainP), PValue(d.InteractionP))
	case responses < d.NeededResponses:
		d.Verdict = NotEnoughData
		d.Reason = fmt.Sprintf("no effect seen in %.0f responses, but %.0f are needed to see one; about %.0f more exploration deliveries", responses, d.NeededResponses, d.NeededDeliveries)
	default:
		d.Verdict = Null
		d.Reason = fmt.Sprintf("no effect of the hour in %.0f responses (%s and %s), enough to see one of size %.2g", responses, PValue(d.MainP), PValue(d.InteractionP), o.Effect)
	}
	return d
}

// PValue writes a p-value: "p = 0.37", "p = 0.042", "p = 0.0021"; the least is
// "p < 0.0001", for no data make one of 0.
func PValue(p float64) string {
	switch {
	case p < 0.0001:
		return "p < 0.0001"
	case p < 0.01:
		return fmt.Sprintf("p = %.4f", p)
	case p < 0.1:
		return fmt.Sprintf("p = %.3f", p)
	}
	return fmt.Sprintf("p = %.2f", p)
}
