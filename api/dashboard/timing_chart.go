package dashboard

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"kairos/analysis/timing"
	"kairos/dto"
)

// chart is what timing.js draws; see there for what each kind needs.
type chart struct {
	Kind      string     `json:"kind"` // curve, rhythm, residual, level
	Sync      string     `json:"sync"` // charts of one name share the pointer
	Curve     []float64  `json:"curve,omitempty"`
	Low       []float64  `json:"low,omitempty"`
	High      []float64  `json:"high,omitempty"`
	Everybody []float64  `json:"everybody,omitempty"`
	Rhythm    []float64  `json:"rhythm,omitempty"`
	Explored  []int      `json:"explored,omitempty"` // local hours; the others are shaded
	Best      *int       `json:"best,omitempty"`
	Range     [2]float64 `json:"range"` // of the upright axis, shared among charts that are to be compared
	Days      []int64    `json:"days,omitempty"`
	Values    []*float64 `json:"values,omitempty"`
	Threshold float64    `json:"threshold,omitempty"`
}

func (c chart) json() (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("write chart: %w", err)
	}
	return string(b), nil
}

// kind is a kind of people, or everybody, with its two charts over the day.
type kind struct {
	title, sub    string
	best          int // -1: no hour stands out
	peak          string
	curve, rhythm chart
}

// kindsOf returns everybody, and each kind of people where there are several.
func kindsOf(m timing.Model) (everybody kind, kinds []kind) {
	stands := m.Verdict == dto.Global || m.Verdict == dto.Clusters
	var explored []int
	if m.Data != nil {
		explored = m.Data.Slots
	}
	var all timing.Cluster
	if len(m.Clusters) == 1 {
		all = m.Clusters[0]
	}
	if len(m.Curve) > 0 {
		all.Curve = m.Curve
	}
	if len(m.Clusters) != 1 {
		all.Hour = peakOf(all.Curve, explored)
	}
	if len(m.Rhythm) > 0 {
		all.Rhythm = m.Rhythm
	}
	scale, bars := scaleOf(m, all)
	draw := func(name string, c timing.Cluster, common []float64) kind {
		k := kind{best: -1}
		if stands {
			k.best = c.Hour
		}
		k.curve = chart{Kind: "curve", Sync: name, Curve: rounded(c.Curve), Low: rounded(c.Low), High: rounded(c.High),
			Everybody: rounded(common), Explored: explored, Range: scale}
		k.rhythm = chart{Kind: "rhythm", Sync: name, Rhythm: rounded(c.Rhythm), Explored: explored, Range: bars}
		if k.best >= 0 && k.best < len(c.Curve) {
			k.curve.Best, k.rhythm.Best = &k.best, &k.best
			k.peak = decimal(c.Curve[k.best], 2)
		}
		return k
	}
	everybody = draw("all", all, nil)
	if m.Verdict == dto.Clusters && (m.Tests == nil || m.Tests.Main.AdjustedP > m.Tests.Alpha) {
		everybody.best, everybody.curve.Best, everybody.rhythm.Best = -1, nil, nil // people differ, and nothing shows an hour that is best for all
	}
	everybody.title = "Everybody"
	if len(m.Clusters) > 1 {
		for _, c := range m.Clusters {
			k := draw(fmt.Sprintf("kind-%d", c.Cluster), c, all.Curve)
			k.title = fmt.Sprintf("Kind %d", c.Cluster+1)
			k.sub = wholeShare(c.Share) + " of people (" + count(int64(c.Size)) + ")"
			kinds = append(kinds, k)
		}
	}
	return everybody, kinds
}

// peakOf is the explored hour with the highest response, -1 without one.
func peakOf(curve []float64, explored []int) int {
	best := -1
	for h, y := range curve {
		if (len(explored) == 0 || slices.Contains(explored, h)) && (best < 0 || y > curve[best]) {
			best = h
		}
	}
	return best
}

// scaleOf is what the upright axes hold, so that all charts compare.
func scaleOf(m timing.Model, all timing.Cluster) (curve, bars [2]float64) {
	low, high, top := 0.8, 1.2, 0.1
	for _, c := range append(slices.Clone(m.Clusters), all) {
		for _, list := range [][]float64{c.Curve, c.Low, c.High} {
			for _, y := range list {
				low, high = min(low, y), max(high, y)
			}
		}
		for _, y := range c.Rhythm {
			top = max(top, y)
		}
	}
	// A band that knows nothing must not flatten what is known.
	return [2]float64{math.Max(0, math.Floor(low*10)/10), math.Min(math.Ceil(high*10)/10, 4)}, [2]float64{0, math.Ceil(top*20) / 20}
}

func rounded(list []float64) []float64 {
	out := slices.Clone(list)
	for i, y := range out {
		out[i] = math.Round(y*1e4) / 1e4
	}
	return out
}

// at is list[i] in words, "–" where there is none.
func at(list []float64, i, digits int) string {
	if i >= len(list) {
		return "–"
	}
	return decimal(list[i], digits)
}

// driftCharts are the watch's diary: residuals, and the level beneath its
// threshold.
func driftCharts(d timing.Drift) (residual, level chart) {
	residual = chart{Kind: "residual", Sync: "drift", Range: [2]float64{-3, 3}}
	level = chart{Kind: "level", Sync: "drift", Threshold: d.Threshold, Range: [2]float64{0, d.Threshold * 1.25}}
	for _, line := range d.Diary {
		at, err := time.Parse(time.DateOnly, line.Day)
		if err != nil {
			continue // a day without a date can't be placed
		}
		residual.Days, level.Days = append(residual.Days, at.Unix()), append(level.Days, at.Unix())
		residual.Values, level.Values = append(residual.Values, line.Residual), append(level.Values, &line.Level)
		level.Range[1] = max(level.Range[1], line.Level*1.1)
		if line.Residual != nil {
			residual.Range[1] = max(residual.Range[1], math.Abs(*line.Residual)*1.1)
			residual.Range[0] = -residual.Range[1]
		}
	}
	return residual, level
}

// spoken is what a chart of the day says to whom it isn't shown.
func (k kind) spoken() string {
	s := "Responses by local hour, times the average response"
	if k.best >= 0 {
		return s + ": highest at " + hourWord(k.best) + " with " + k.peak + "."
	}
	return s + ": no hour stands out."
}
