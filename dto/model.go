package dto

import (
	"math"

	"kairos"
)

// Options steer [Fit]. The zero value of each field is usable.
type Options struct {
	Seed       uint64         // same data and seed, same model
	Clusters   []int          // numbers of clusters tried; nil: 1, 2, 4, 8
	Priors     []float64      // k0, weights of the cluster's rhythm in a person's; nil: 4, 12
	Bandwidths []float64      // hours a person's activity is smoothed by; nil: .75, 1.5
	Kappa      float64        // weight of the common curve in a cluster's; 0: 30
	Ridge      float64        // on the stack's coefficients; 0: 2
	FirstGain  float64        // nats of held-out likelihood to leave the common curve; 0: 3
	NextGain   float64        // nats for each further change; 0: 1
	Means      KMeansOptions  // its Seed is replaced by Seed
	Verdict    VerdictOptions // of the tests
}

func (o Options) defaults() Options {
	if o.Clusters == nil {
		o.Clusters = []int{1, 2, 4, 8}
	}
	if o.Priors == nil {
		o.Priors = []float64{4, 12}
	}
	if o.Bandwidths == nil {
		o.Bandwidths = []float64{0.75, 1.5}
	}
	if o.Kappa == 0 {
		o.Kappa = Kappa
	}
	if o.Ridge == 0 {
		o.Ridge = 2
	}
	if o.FirstGain == 0 {
		o.FirstGain = 3
	}
	if o.NextGain == 0 {
		o.NextGain = 1
	}
	o.Means.Seed = o.Seed
	return o
}

// Validate names the first option that makes no sense.
func (o Options) Validate() error {
	for _, k := range o.Clusters {
		if k < 1 {
			return kairos.Invalid("clusters", "must be at least 1, one is %d", k)
		}
	}
	for _, k := range o.Priors {
		if !(k > 0) || math.IsInf(k, 0) {
			return kairos.Invalid("priors", "must be positive, one is %g", k)
		}
	}
	for _, b := range o.Bandwidths {
		if !(b >= 0) || math.IsInf(b, 0) {
			return kairos.Invalid("bandwidths", "must not be negative, one is %g", b)
		}
	}
	for _, x := range []float64{o.Kappa, o.Ridge, o.FirstGain, o.NextGain, o.Verdict.Alpha, o.Verdict.Effect} {
		if !(x >= 0) || math.IsInf(x, 0) {
			return kairos.Invalid("options", "must be finite and not negative, one is %g", x)
		}
	}
	return nil
}

// Data is what [Fit] learns from; all three are N x S with the same people in
// the same rows.
type Data struct {
	Activity  Matrix // a: organic activity, own attribution windows cut out, preferences added
	Delivered Matrix // n: matured exploration deliveries, whole numbers
	Responded Matrix // r: responses to them, whole numbers, r <= n
}

// Validate checks shapes and values.
func (d Data) Validate() error {
	if err := checkShape("activity", d.Activity); err != nil {
		return err
	}
	if err := sameShape("delivered", d.Activity, d.Delivered); err != nil {
		return err
	}
	if err := sameShape("responded", d.Activity, d.Responded); err != nil {
		return err
	}
	s := d.Activity.Cols
	if s > MaxSlots {
		return kairos.Invalid("activity", "has %d slots, more than %d", s, MaxSlots)
	}
	if i := checkValues(d.Activity.Data); i >= 0 {
		return kairos.Invalid("activity", "of person %d has a negative or undefined value in slot %d", i/s, i%s)
	}
	var bad [chunks]int
	r, n := d.Responded.Data, d.Delivered.Data
	each(len(r), func(c, lo, hi int) {
		bad[c] = -1
		for i := lo; i < hi; i++ {
			// a count is whole and below 2^24, where float32 is exact
			if !(r[i] >= 0 && r[i] <= n[i] && n[i] <= 1<<24) || float32(int32(r[i])) != r[i] || float32(int32(n[i])) != n[i] {
				bad[c] = i
				return
			}
		}
	})
	for _, i := range bad {
		if i >= 0 {
			return kairos.Invalid("responded", "of person %d in slot %d must be a whole number between 0 and the deliveries", i/s, i%s)
		}
	}
	return nil
}

// Model scores people's hours. It is made by [Fit], never changed afterwards,
// and survives encoding/json bit for bit. It scores whatever its verdict is: the
// caller uses its personal slots for the verdict clusters, its GlobalSlot for
// global, and its own default time otherwise. A Gain of 0 means that everybody's
// best slot is the global one.
type Model struct {
	Slots int    `json:"slots"` // S
	Mask  Mask   `json:"mask"`  // slots with any exposure; no other is ever chosen
	Seed  uint64 `json:"seed"`

	Curve  []float64 `json:"curve"`  // g, S: common response curve, mean 1 over the mask
	Rhythm []float64 `json:"rhythm"` // qbar, S: population rhythm, sum 1

	K             int       `json:"k"`              // clusters; 1: none
	Centroids     []float32 `json:"centroids"`      // K*S in sqrt(q); empty when K is 1
	ClusterRhythm []float64 `json:"cluster_rhythm"` // q_c, K*S
	ClusterCurve  []float64 `json:"cluster_curve"`  // theta_c, K*S
	Cells         Cells     `json:"cells"`          // R and E behind ClusterCurve, K*S
	Sizes         []int     `json:"sizes"`          // K: people with any activity

	C                [3]float64 `json:"c"`                 // weights of cluster curve, cluster rhythm, own rhythm
	Prior            float64    `json:"prior"`             // k0 of the own rhythm
	Bandwidth        float64    `json:"bandwidth"`         // bw of the own rhythm, hours
	ClusterPrior     float64    `json:"cluster_prior"`     // k0 of the features clustered on
	ClusterBandwidth float64    `json:"cluster_bandwidth"` // bw of them
	Kappa            float64    `json:"kappa"`

	Gain         float64  `json:"gain"` // held-out nats over the common curve; 0: none was better
	People       int      `json:"people"`
	Deliveries   float64  `json:"deliveries"` // exploration
	Responses    float64  `json:"responses"`
	Main         Test     `json:"main"`
	Interaction  Test     `json:"interaction"`
	Decision     Decision `json:"decision"`
	GlobalSlot   int      `json:"global_slot"`   // best slot of the common curve; -1: no exposure at all
	ClusterSlots []int    `json:"cluster_slots"` // K: best slot of a person with the cluster's own rhythm
}

// kinds of prior and bandwidth the clusters are made with
const (
	clusterPrior     = 12.0
	clusterBandwidth = 1.5
)

// best returns the first slot of the mask with the largest score, or -1.
func best(score []float64, mask Mask) int {
	slot := -1
	for s, v := range score {
		if mask.Has(s) && (slot < 0 || v > score[slot]) {
			slot = s
		}
	}
	return slot
}
