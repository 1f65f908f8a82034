package dto

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"kairos"
)

// split draws two kinds of people, morning and evening ones, whose responses
// follow their activity with the given effect.
func split(seed uint64, people, deliveries int, effect float64, mask Mask) Data {
	rng := rand.New(rand.NewPCG(seed, 3))
	const s = 24
	d := Data{Activity: NewMatrix(people, s), Delivered: NewMatrix(people, s), Responded: NewMatrix(people, s)}
	var slots []int
	for i := range s {
		if mask.Has(i) {
			slots = append(slots, i)
		}
	}
	for u := range people {
		peak := 8.0
		if u%2 == 1 {
			peak = 20
		}
		near := func(i int) float64 { return math.Cos(2 * math.Pi * (float64(i) - peak) / s) }
		for range rng.IntN(60) {
			for {
				i := rng.IntN(s)
				if rng.Float64() < math.Exp(1.5*(near(i)-1)) {
					row(d.Activity, u)[i]++
					break
				}
			}
		}
		for range deliveries {
			i := slots[rng.IntN(len(slots))]
			row(d.Delivered, u)[i]++
			if rng.Float64() < 0.1*math.Exp(effect*near(i)) {
				row(d.Responded, u)[i]++
			}
		}
	}
	return d
}

func fit(t testing.TB, d Data, o Options) *Model {
	t.Helper()
	m, err := Fit(d, o)
	require.NoError(t, err)
	return m
}

func TestFitLearnsWhoAnswersWhen(t *testing.T) {
	d := split(1, 3000, 20, 0.8, AllSlots(24))
	m := fit(t, d, Options{Seed: 1})
	require.Equal(t, Clusters, m.Decision.Verdict, m.Decision.Reason)
	require.Greater(t, m.Gain, 20.0)
	slots, clusters := make([]int16, 3000), make([]int16, 3000)
	require.NoError(t, m.Score(slots, clusters, d.Activity, nil))
	right := 0
	for u, slot := range slots {
		distance := (int(slot) - []int{8, 20}[u%2] + 24) % 24
		if min(distance, 24-distance) <= 3 {
			right++
		}
	}
	require.Greater(t, right, 2400)
	require.Less(t, m.Main.People, 3001)
}

func TestFitUnderTheNullKeepsTheCommonCurve(t *testing.T) {
	personal := 0
	for seed := range uint64(12) {
		m := fit(t, split(seed, 1500, 20, 0, AllSlots(24)), Options{Seed: seed})
		if m.Gain > 0 {
			personal++
		}
	}
	require.LessOrEqual(t, personal, 1)
}

func TestFitIsTheSameOnOneCoreOrTwo(t *testing.T) {
	d := split(2, 9000, 8, 0.5, AllSlots(24))
	run := func(cores int) string {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		b, err := json.Marshal(fit(t, d, Options{Seed: 9, Clusters: []int{1, 4}}))
		require.NoError(t, err)
		return string(b)
	}
	one := run(1)
	require.Equal(t, one, run(2))
	require.Equal(t, one, run(2))
}

func TestModelSurvivesJSON(t *testing.T) {
	d := split(3, 1500, 20, 0.8, AllSlots(24))
	m := fit(t, d, Options{Seed: 1})
	b, err := json.Marshal(m)
	require.NoError(t, err)
	var back Model
	require.NoError(t, json.Unmarshal(b, &back))
	x, y := make([]float64, 24), make([]float64, 24)
	for u := range 100 {
		require.Equal(t, m.Scorer().Score(x, row(d.Activity, u)), back.Scorer().Score(y, row(d.Activity, u)))
		require.Equal(t, x, y)
	}
}

func TestSlotsStayWithinTheMask(t *testing.T) {
	quiet := AllSlots(24) &^ AllSlots(7)
	m := fit(t, split(4, 1500, 20, 0.8, quiet), Options{Seed: 1})
	require.Equal(t, quiet, m.Mask)
	s := m.Scorer()
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SliceOfN(rapid.Float32Range(0, 100), 24, 24).Draw(t, "a")
		allowed := Mask(rapid.Uint64().Draw(t, "mask"))
		slot, cluster := s.Slot(a, allowed)
		switch {
		case allowed&quiet == 0 && slot != -1:
			t.Fatalf("slot %d, none was allowed", slot)
		case allowed&quiet != 0 && (!allowed.Has(slot) || !quiet.Has(slot)):
			t.Fatalf("slot %d is outside %b", slot, allowed)
		case cluster < -1 || cluster >= m.K:
			t.Fatalf("cluster %d", cluster)
		}
	})
	for _, c := range m.ClusterSlots {
		require.True(t, quiet.Has(c))
	}
	require.True(t, quiet.Has(m.GlobalSlot))
}

func TestNewPersonGetsTheGlobalSlot(t *testing.T) {
	m := fit(t, split(5, 1500, 20, 0.8, AllSlots(24)), Options{Seed: 1})
	slot, cluster := m.Scorer().Slot(make([]float32, 24), AllSlots(24))
	require.Equal(t, m.GlobalSlot, slot)
	require.Equal(t, -1, cluster)
}

func TestFitOnPoorData(t *testing.T) {
	full := split(6, 1000, 20, 0.5, AllSlots(24))
	none := NewMatrix(1000, 24)
	one := NewMatrix(1000, 24) // all responses in one slot
	for u := range 1000 {
		row(one, u)[9] = min(1, row(full.Delivered, u)[9])
	}
	for _, c := range []struct {
		name    string
		d       Data
		verdict Verdict
	}{
		{"no exploration", Data{full.Activity, none, none}, NotEnoughData},
		{"no responses", Data{full.Activity, full.Delivered, none}, NotEnoughData},
		{"no activity", Data{none, full.Delivered, full.Responded}, ""},
		{"all responses in one slot", Data{full.Activity, full.Delivered, one}, ""},
		{"everything answered", Data{full.Activity, full.Delivered, full.Delivered}, ""},
		{"one person", split(7, 1, 20, 0.5, AllSlots(24)), NotEnoughData},
		{"one slot", split(8, 500, 20, 0.5, Mask(0).With(9)), ""},
	} {
		m, err := Fit(c.d, Options{Seed: 1})
		require.NoError(t, err, c.name)
		if c.verdict != "" {
			require.Equal(t, c.verdict, m.Decision.Verdict, c.name)
		}
		_, err = json.Marshal(m) // no NaN, no Inf
		require.NoError(t, err, c.name)
		slots, clusters := make([]int16, c.d.Activity.Rows), make([]int16, c.d.Activity.Rows)
		require.NoError(t, m.Score(slots, clusters, c.d.Activity, nil), c.name)
		for _, slot := range slots {
			require.Equal(t, m.Mask == 0, slot == -1, c.name)
		}
	}
	m := fit(t, Data{none, full.Delivered, full.Responded}, Options{})
	require.Equal(t, 1.0, m.Interaction.P)
	require.Equal(t, 1, m.K)
}

func TestFitRefusesNonsense(t *testing.T) {
	good := func() Data { return split(9, 20, 20, 0, AllSlots(24)) }
	for name, spoil := range map[string]func(*Data){
		"shape":          func(d *Data) { d.Responded = NewMatrix(19, 24) },
		"slots":          func(d *Data) { d.Delivered = NewMatrix(20, 12) },
		"negative":       func(d *Data) { d.Activity.Data[3] = -1 },
		"undefined":      func(d *Data) { d.Activity.Data[3] = float32(math.NaN()) },
		"more responses": func(d *Data) { d.Responded.Data[3] = d.Delivered.Data[3] + 1 },
		"half a count":   func(d *Data) { d.Delivered.Data[3] += 0.5 },
		"nobody":         func(d *Data) { d.Activity.Rows = 0 },
		"infinite":       func(d *Data) { d.Delivered.Data[0] = float32(math.Inf(1)) },
	} {
		d := good()
		spoil(&d)
		_, err := Fit(d, Options{})
		require.ErrorIs(t, err, kairos.ErrInvalid, name)
		_, _, err = Examine(d)
		require.ErrorIs(t, err, kairos.ErrInvalid, name)
	}
	_, err := Fit(good(), Options{Clusters: []int{0}})
	require.ErrorIs(t, err, kairos.ErrInvalid)
	_, err = Fit(good(), Options{Priors: []float64{-1}})
	require.ErrorIs(t, err, kairos.ErrInvalid)
	m := fit(t, good(), Options{})
	require.ErrorIs(t, m.Score(make([]int16, 3), make([]int16, 20), good().Activity, nil), kairos.ErrInvalid)
}

func TestScoringDoesNotAllocate(t *testing.T) {
	d := split(10, 1000, 20, 0.8, AllSlots(24))
	m := fit(t, d, Options{Seed: 1})
	s, a := m.Scorer(), row(d.Activity, 5)
	require.Zero(t, testing.AllocsPerRun(100, func() { s.Slot(a, AllSlots(24)) }))
}

// What the loops over people allocate must not depend on how many there are.
func TestLoopsOverPeopleDoNotAllocate(t *testing.T) {
	count := func(people int, f func(d Data)) float64 {
		d := split(11, people, 10, 0.5, AllSlots(24))
		return testing.AllocsPerRun(3, func() { f(d) })
	}
	g, x := flat(24, 1), make([]float64, 24)
	for name, f := range map[string]func(d Data){
		"curve":  func(d Data) { CommonCurve(x, d.Responded, d.Delivered, 5) },
		"gcmh":   func(d Data) { GCMH(d.Responded, d.Delivered) },
		"cells":  func(d Data) { CountCells(d.Responded, d.Delivered, make([]int32, d.Activity.Rows), 1, g) },
		"rhythm": func(d Data) { PopulationRhythm(x, d.Activity) },
		"stack": func(d Data) {
			f := Fold{LogCurve: make([]float64, 24), R: d.Responded, N: d.Delivered}
			Stack(make([]float64, 1), Choice{Folds: []Fold{f}, Labels: make([]int32, d.Activity.Rows), Person: d.Activity})
		},
		"focused": func(d Data) {
			strata := make([]int32, d.Activity.Rows)
			for u := range strata {
				strata[u] = 1
			}
			Focused(d.Activity, d.Responded, d.Delivered, g, strata)
		},
	} {
		require.InDelta(t, count(300, f), count(3000, f), 40, name)
	}
}

func TestThinSplitsEveryDelivery(t *testing.T) {
	d := split(12, 300, 30, 0.5, AllSlots(24))
	d.Delivered.Data[0], d.Responded.Data[0] = 1000, 700
	r1, n1, r2, n2 := Thin(d.Responded, d.Delivered, 4)
	for i := range n1.Data {
		require.Equal(t, d.Delivered.Data[i], n1.Data[i]+n2.Data[i])
		require.Equal(t, d.Responded.Data[i], r1.Data[i]+r2.Data[i])
		require.LessOrEqual(t, r1.Data[i], n1.Data[i])
		require.LessOrEqual(t, r2.Data[i], n2.Data[i])
	}
	require.InDelta(t, 350, r1.Data[0], 60)
}

func TestExamineClusters(t *testing.T) {
	const people = 2000
	labels := make([]int32, people)
	for u := range labels {
		labels[u] = int32(u % 2)
	}
	labels[7] = -1
	got, err := ExamineClusters(split(13, people, 20, 0.8, AllSlots(24)), labels, 2, 1)
	require.NoError(t, err)
	require.Less(t, got.P, 1e-4)
	rejected := 0
	for seed := range uint64(60) {
		got, err := ExamineClusters(split(seed, 300, 10, 0, AllSlots(24)), labels[:300], 2, seed)
		require.NoError(t, err)
		if got.P < .05 {
			rejected++
		}
	}
	require.LessOrEqual(t, rejected, 7)
	_, err = ExamineClusters(split(1, 20, 20, 0, AllSlots(24)), labels[:20], 1, 1)
	require.ErrorIs(t, err, kairos.ErrInvalid)
}

func TestBandHoldsTheCurve(t *testing.T) {
	quiet := AllSlots(24) &^ AllSlots(7)
	m := fit(t, split(14, 3000, 20, 0.8, quiet), Options{Seed: 1})
	low, high := make([]float64, 24), make([]float64, 24)
	for c := range m.K {
		m.Band(low, high, c, .9)
		for i := range low {
			if !quiet.Has(i) {
				require.Zero(t, high[i])
				continue
			}
			require.Less(t, low[i], m.ClusterCurve[c*24+i])
			require.Greater(t, high[i], m.ClusterCurve[c*24+i])
			require.Less(t, high[i]-low[i], m.ClusterCurve[c*24+i])
		}
	}
}
