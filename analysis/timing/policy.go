package timing

import (
	"math"
	"slices"

	"kairos"
	"kairos/dto"
)

// rank appends the slots of the mask to dst, the highest score first; of equal
// ones the earlier hour, as dto.Scorer.Slot has it.
func rank(dst []byte, score []float64, mask dto.Mask) []byte {
	for h := range score {
		if mask.Has(h) {
			dst = append(dst, byte(h))
		}
	}
	slices.SortStableFunc(dst, func(a, b byte) int {
		switch {
		case score[a] > score[b]:
			return -1
		case score[a] < score[b]:
			return 1
		}
		return 0
	})
	return dst
}

// scorer returns what scores a person under the model's verdict: the person's
// own hours where people differ, else the common curve for everybody.
func (m *record) scorer() func(eta []float64, activity []float32) {
	s := m.fit.Scorer()
	if m.Verdict == dto.Clusters {
		return func(eta []float64, activity []float32) { s.Score(eta, activity) }
	}
	nobody := make([]float32, kairos.HoursPerDay)
	return func(eta []float64, _ []float32) { s.Score(eta, nobody) }
}

// evaluate values policies on the exploration log: a check, never a gate. nil:
// there is nothing to value them on.
func evaluate(s *snapshot, fit *dto.Model, current *record) *OffPolicy {
	if len(s.log) == 0 {
		return nil
	}
	judge := &judge{s: s, rate: fit.Responses / math.Max(fit.Deliveries, 1), logged: make([]dto.Logged, len(s.log))}
	verdict := fit.Decision.Verdict
	if verdict != dto.Clusters {
		verdict = dto.Global
	}
	o := &OffPolicy{}
	var errs [4]error
	o.Model, errs[0] = judge.value((&record{Model: Model{Verdict: verdict}, fit: fit}).scorer())
	o.Global, errs[1] = judge.value((&record{Model: Model{Verdict: dto.Global}, fit: fit}).scorer())
	o.Baseline, errs[2] = judge.random()
	if current != nil && current.fit != nil {
		o.Current = &dto.OffPolicy{}
		*o.Current, errs[3] = judge.value(current.scorer())
	}
	for _, err := range errs {
		if err != nil { // propensities that make no sense: no value, and no reason to hold the model back
			return nil
		}
	}
	return o
}

// judge values one policy after the other.
type judge struct {
	s      *snapshot
	rate   float64 // responses per exploration delivery
	logged []dto.Logged
}

// value is that of sending everybody in the best of the allowed hours. The
// prediction is the mean response times the person's relative curve.
func (j *judge) value(score func(eta []float64, activity []float32)) (dto.OffPolicy, error) {
	eta, last := make([]float64, kairos.HoursPerDay), int32(-1)
	predict := func(h int) float64 { return math.Min(1, j.rate*math.Exp(eta[h])) }
	for i, d := range j.s.log {
		if d.person != last {
			score(eta, j.s.row(j.s.data.Activity, int(d.person)))
			last = d.person
		}
		best := -1
		for h := range eta {
			if d.allowed>>h&1 == 1 && (best < 0 || eta[h] > eta[best]) {
				best = h
			}
		}
		l := dto.Logged{Person: d.person, Propensity: float64(d.propensity)}
		if d.responded {
			l.Reward = 1
		}
		if best >= 0 {
			l.Policy, l.Predicted = predict(best), predict(int(d.hour))
			if best == int(d.hour) {
				l.Target = 1
			}
		}
		j.logged[i] = l
	}
	return dto.Evaluate(j.logged, len(j.s.people))
}

// random is the value of exploration itself.
func (j *judge) random() (dto.OffPolicy, error) {
	for i, d := range j.s.log {
		p := float64(d.propensity)
		l := dto.Logged{Person: d.person, Propensity: p, Target: p}
		if d.responded {
			l.Reward = 1
		}
		j.logged[i] = l
	}
	return dto.Evaluate(j.logged, len(j.s.people))
}
