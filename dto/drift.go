package dto

import (
	"cmp"
	"math"

	"kairos"
)

// The defaults of [PageHinkley].
const (
	DriftDelta     = 0.5 // standard errors a day may lie below the prediction and count for nothing
	DriftThreshold = 8.0 // the level above which the alarm rings
)

// PageHinkley watches daily standardised residuals, (seen - predicted)/sd, for
// a lasting fall of the response below the prediction:
//
//	m_t = max(0, m_{t-1} - x_t - delta); alarm when m_t > lambda.
//
// With delta .5 and lambda 8 a false alarm comes in 1.5 % of years; a fall by 2
// sd is seen after a median of 6 days. The zero value uses these. Not for use by
// several goroutines. Source: Page, Continuous inspection schemes, Biometrika
// 41, 1954; Hinkley 1971.
type PageHinkley struct {
	Delta  float64 `json:"delta"`  // 0: DriftDelta
	Lambda float64 `json:"lambda"` // 0: DriftThreshold
	Level  float64 `json:"level"`  // m_t; survives a restart
	Days   int     `json:"days"`
}

// Add takes one day's residual and reports whether the alarm rings; an
// undefined residual (a day without deliveries) changes nothing. After an alarm
// the watch goes on from 0.
func (w *PageHinkley) Add(residual float64) (alarm bool) {
	if math.IsNaN(residual) || math.IsInf(residual, 0) {
		return false
	}
	w.Days++
	w.Level = w.After(residual)
	if w.Level > cmp.Or(w.Lambda, DriftThreshold) {
		w.Level = 0
		return true
	}
	return false
}

// After returns the level that a day's residual leads to, m_t, before an alarm
// sets it back to 0.
func (w *PageHinkley) After(residual float64) float64 {
	return math.Max(0, w.Level-residual-cmp.Or(w.Delta, DriftDelta))
}

// Residual returns the standardised residual of a day with n deliveries, seen
// responses and a predicted rate: (seen - n p) / sqrt(n p (1-p)); NaN when
// nothing was sent or p is not in (0, 1).
func Residual(n, seen, p float64) float64 {
	if !(n > 0 && p > 0 && p < 1) {
		return math.NaN()
	}
	return (seen - n*p) / math.Sqrt(n*p*(1-p))
}

// MinStability is the smallest sample either side of [PSI] may have.
const MinStability = 5000.0

// Stability is a population stability index with its alarm.
type Stability struct {
	Index     float64 `json:"index"`
	Threshold float64 `json:"threshold"`
	Enough    bool    `json:"enough"` // both samples have MinStability
	Alarm     bool    `json:"alarm"`
}

// PSI compares counts over B bins (slots, clusters) then and now:
//
//	PSI = sum_b (p_b - q_b) ln(p_b/q_b), half an observation added to each bin,
//
// and alarms above max(.1, 3 (B-1)(1/n1 + 1/n2)): without drift the index is
// about (1/n1 + 1/n2) chi-square with B-1 degrees of freedom, so the threshold
// is thrice its mean. Below 5,000 on either side it never alarms. Errors:
// ErrInvalid. Source: Yurdakul, Statistical properties of the population
// stability index, 2018.
func PSI(then, now []float64) (Stability, error) {
	var s Stability
	if len(then) != len(now) || len(then) < 2 {
		return s, kairos.Invalid("now", "must have as many bins as then, at least 2; have %d and %d", len(now), len(then))
	}
	n1, n2, bins := 0.0, 0.0, float64(len(then))
	for b := range then {
		if !(then[b] >= 0 && now[b] >= 0) || math.IsInf(then[b]+now[b], 0) {
			return s, kairos.Invalid("now", "must hold counts; bin %d has %g and %g", b, then[b], now[b])
		}
		n1 += then[b]
		n2 += now[b]
	}
	if n1 == 0 || n2 == 0 {
		return s, nil
	}
	for b := range then {
		p, q := (then[b]+.5)/(n1+bins/2), (now[b]+.5)/(n2+bins/2)
		s.Index += (p - q) * math.Log(p/q)
	}
	s.Threshold = math.Max(0.1, 3*(bins-1)*(1/n1+1/n2))
	s.Enough = n1 >= MinStability && n2 >= MinStability
	s.Alarm = s.Enough && s.Index > s.Threshold
	return s, nil
}
