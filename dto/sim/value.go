package sim

import (
	"math"

	"kairos/dto"
)

// Value returns the mean true response rate when person u is sent to in slot
// slots[u]; where that is negative, in the slot otherwise.
func (p *Population) Value(slots []int16, otherwise int) float64 {
	s, sum := p.Truth.Cols, 0.0
	for u, slot := range slots {
		if slot < 0 {
			slot = int16(otherwise)
		}
		sum += float64(p.Truth.Data[u*s+int(slot)])
	}
	return sum / float64(len(slots))
}

// Best returns the truly best single slot and its value, and the oracle's
// value: everybody in his own best slot.
func (p *Population) Best() (slot int, single, oracle float64) {
	s := p.Truth.Cols
	means := make([]float64, s)
	for u := range p.Truth.Rows {
		top := 0.0
		for i, v := range p.Truth.Data[u*s : (u+1)*s] {
			means[i] += float64(v)
			top = math.Max(top, float64(v))
		}
		oracle += top
	}
	for i, v := range means {
		if v > means[slot] {
			slot = i
		}
	}
	n := float64(p.Truth.Rows)
	return slot, means[slot] / n, oracle / n
}

// OracleLift returns what the oracle adds to the best single slot, relatively.
func (w World) OracleLift(seed uint64) float64 {
	_, single, oracle := w.Draw(seed).Best()
	return oracle/single - 1
}

// WithOracleLift returns the world with the effect at which the oracle's lift
// over the best single slot is the one given.
func (w World) WithOracleLift(lift float64, seed uint64) World {
	probe := w
	probe.Deliveries, probe.Activity = 1, 1e-9
	lo, hi := 0.0, 3.0
	for range 30 {
		probe.Effect = (lo + hi) / 2
		if probe.OracleLift(seed) < lift {
			lo = probe.Effect
		} else {
			hi = probe.Effect
		}
	}
	w.Effect = (lo + hi) / 2
	return w
}

// Level runs both tests once.
func (w World) Level(seed uint64) (main, interaction float64) {
	m, i, err := dto.Examine(w.Draw(seed).Data)
	if err != nil {
		return math.NaN(), math.NaN()
	}
	return m.P, i.P
}

// Trial is one model, fitted and judged by the truth.
type Trial struct {
	Model  *dto.Model
	Lift   float64 // of the model's slots over its own best single slot, relative
	Share  float64 // of the oracle's lift over the truly best single slot
	Policy float64 // lift over the same when the verdict decides: personal slots for "clusters" alone
	Oracle float64 // lift over the truly best single slot
}

// Try draws the world, fits a model and values its policy.
func (w World) Try(seed uint64, o dto.Options) (Trial, error) {
	p := w.Draw(seed)
	o.Seed = seed
	m, err := dto.Fit(p.Data, o)
	if err != nil {
		return Trial{}, err
	}
	n := p.Truth.Rows
	slots, clusters := make([]int16, n), make([]int16, n)
	if err := m.Score(slots, clusters, p.Data.Activity, nil); err != nil {
		return Trial{}, err
	}
	all := make([]int16, n)
	for u := range all {
		all[u] = int16(m.GlobalSlot)
	}
	_, single, oracle := p.Best()
	own, value := p.Value(all, 0), p.Value(slots, m.GlobalSlot)
	t := Trial{Model: m, Lift: value/own - 1, Oracle: oracle/single - 1}
	if oracle > single {
		t.Share = (value - single) / (oracle - single)
	}
	if m.Decision.Verdict == dto.Clusters {
		t.Policy = t.Lift
	}
	return t, nil
}
