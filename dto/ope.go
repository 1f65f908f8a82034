package dto

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"kairos"
)

// Logged is one exploration delivery with its propensity, as seen by a policy
// that is to be valued without having been used.
type Logged struct {
	Person     int32   // deliveries of one person are not independent
	Reward     float64 // 1: response
	Propensity float64 // chance with which the log chose its slot, > 0
	Target     float64 // chance with which the policy would have chosen that slot
	Predicted  float64 // predicted reward in the slot that was chosen
	Policy     float64 // predicted reward under the policy: sum_s target(s) predicted(s)
}

// Estimate is an off-policy value: mean reward per delivery.
type Estimate struct {
	Value   float64 `json:"value"`
	SE      float64 `json:"se"`
	Low     float64 `json:"low"` // 95 % interval
	High    float64 `json:"high"`
	Refused bool    `json:"refused"` // effective size too low to show a figure to anybody
}

// OffPolicy holds three estimates of one policy's value.
type OffPolicy struct {
	IPS       Estimate `json:"ips"`   // mean w r
	SNIPS     Estimate `json:"snips"` // sum w r / sum w
	DR        Estimate `json:"dr"`    // mean (policy + w (r - predicted))
	Effective float64  `json:"effective"`
	N         int      `json:"n"`
}

// MinEffective is the effective sample size below which [Evaluate] refuses.
const MinEffective = 500.0

// Evaluate estimates the value of a policy from exploration traffic with
// weights w = target/propensity, by inverse propensity (unbiased), its
// self-normalised form (bounded, less variance) and doubly robust (unbiased when
// either propensities or predictions are right). Standard errors sum over
// people, who are the independent units. The effective size is
// (sum w)^2 / sum w^2. people is 1 + the largest Person. Errors: ErrInvalid.
//
// The estimates are a check, never a gate.
//
// Sources: Horvitz and Thompson 1952; Swaminathan and Joachims, The
// self-normalized estimator for counterfactual learning, NeurIPS 2015; Dudik,
// Langford and Li, Doubly robust policy evaluation and learning, ICML 2011; Kish,
// Survey Sampling, 1965.
func Evaluate(log []Logged, people int) (OffPolicy, error) {
	o := OffPolicy{N: len(log)}
	var w1, w2, wr, dr float64
	for i, l := range log {
		switch {
		case !(l.Propensity > 0 && l.Propensity <= 1):
			return o, kairos.Invalid("propensity", "must lie in (0, 1], is %g in row %d", l.Propensity, i)
		case !(l.Target >= 0 && l.Target <= 1):
			return o, kairos.Invalid("target", "must lie in [0, 1], is %g in row %d", l.Target, i)
		case l.Person < 0 || int(l.Person) >= people:
			return o, kairos.Invalid("person", "must lie in 0..%d, is %d in row %d", people-1, l.Person, i)
		}
		for _, x := range [...]float64{l.Reward, l.Predicted, l.Policy} {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return o, kairos.Invalid("reward", "must be finite in row %d", i)
			}
		}
		w := l.Target / l.Propensity
		w1 += w
		w2 += w * w
		wr += w * l.Reward
		dr += l.Policy + w*(l.Reward-l.Predicted)
	}
	if w2 > 0 {
		o.Effective = w1 * w1 / w2
	}
	if len(log) == 0 || w1 == 0 {
		o.IPS.Refused, o.SNIPS.Refused, o.DR.Refused = true, true, true
		return o, nil
	}
	n := float64(len(log))
	o.IPS.Value, o.SNIPS.Value, o.DR.Value = wr/n, wr/w1, dr/n
	// influence of each person on each estimate
	ips, snips, robust := make([]float64, people), make([]float64, people), make([]float64, people)
	for _, l := range log {
		w := l.Target / l.Propensity
		ips[l.Person] += (w*l.Reward - o.IPS.Value) / n
		snips[l.Person] += w * (l.Reward - o.SNIPS.Value) / w1
		robust[l.Person] += (l.Policy + w*(l.Reward-l.Predicted) - o.DR.Value) / n
	}
	refused := o.Effective < MinEffective
	o.IPS.spread(ips, refused)
	o.SNIPS.spread(snips, refused)
	o.DR.spread(robust, refused)
	return o, nil
}

func (e *Estimate) spread(influence []float64, refused bool) {
	v := 0.0
	for _, x := range influence {
		v += x * x
	}
	e.SE = math.Sqrt(v)
	e.Low, e.High = e.Value-z95*e.SE, e.Value+z95*e.SE
	e.Refused = refused
}

// quantiles of the normal distribution
const (
	z95 = 1.959963984540054 // two-sided 95 %, one-sided 97.5 %
)

// tail returns the two-sided p-value of z.
func tail(z float64) float64 { return 2 * distuv.UnitNormal.Survival(math.Abs(z)) }
