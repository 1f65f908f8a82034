// Package sim draws worlds whose truth is known, and measures dto in them.
//
// Takes: a [World] and a seed, or rows of real rhythms.
//
// Gives: data as dto takes them, the true response rates, the value of a
// policy and its share of the oracle's lift, error rates and power.
//
// Owns: nothing.
//
// Promises: the same world and seed give the same data and figures.
//
// Fails: never; a world that makes no sense is mended by its defaults.
package sim

import (
	"math"
	"math/rand/v2"

	"kairos/dto"
)

// Kind is what is true in a world.
type Kind string

// The worlds.
const (
	Clusters Kind = "clusters" // four kinds of people, each with a curve of its own
	Global   Kind = "global"   // one curve for all
	Null     Kind = "null"     // the hour is irrelevant
)

const kinds = 4 // of people, by rhythm, in every world

// World describes a population and how it was explored. The log-odds of a
// response of person u in slot s are
//
//	level_u + common psi_s + A phi_cs,
//
// psi and phi curves of two humps with mean 0 and standard deviation 1 over the
// slots, c the person's kind. Rhythms of activity follow phi in every world.
type World struct {
	Kind       Kind
	People     int     // 0: 2,000
	Slots      int     // 0: 24
	Effect     float64 // A
	Common     float64 // weight of psi in the world of clusters
	Base       float64 // response rate of the typical person; 0: .05
	Spread     float64 // standard deviation of levels; 0: .5, negative: none
	Deliveries int     // of exploration, per person; 0: 20
	Activity   float64 // mean events per person; 0: 30
	Sharpness  float64 // of rhythms, log scale; 0: 1
	Wander     float64 // standard deviation, in slots, of a person's own shift of rhythm and curve

	Tied     bool // levels depend on the kind of person
	Skewed   bool // exposure follows the person's rhythm
	Bursty   bool // levels swing from week to week, activity comes in bursts
	Adaptive bool // exposure of each kind follows its earlier responses
}

func (w World) defaults() World {
	set := func(x *float64, v float64) {
		if *x == 0 {
			*x = v
		}
	}
	if w.People <= 0 {
		w.People = 2000
	}
	if w.Slots <= 1 {
		w.Slots = 24
	}
	if w.Deliveries <= 0 {
		w.Deliveries = 20
	}
	set(&w.Base, 0.05)
	set(&w.Spread, 0.5)
	set(&w.Activity, 30)
	set(&w.Sharpness, 1)
	w.Spread = math.Max(0, w.Spread)
	return w
}

// Population is one draw of a world.
type Population struct {
	Data  dto.Data
	Truth dto.Matrix // N x S: true response rates, bursts averaged out
	Kinds []int32    // N
}

// Draw draws people, their activity and their exploration log.
func (w World) Draw(seed uint64) *Population {
	w = w.defaults()
	rng := rand.New(rand.NewPCG(seed, 0x6b6169726f73))
	s := w.Slots
	psi, phi := curves(rng, 1, s, 3.6), curves(rng, kinds, s, 0)
	p := &Population{
		Truth: dto.NewMatrix(w.People, s), Kinds: make([]int32, w.People),
		Data: dto.Data{Activity: dto.NewMatrix(w.People, s), Delivered: dto.NewMatrix(w.People, s), Responded: dto.NewMatrix(w.People, s)},
	}
	d := drawer{w: w, rng: rng, psi: psi[0], phi: phi, level: make([]float64, w.People), logit: make([]float64, s), cdf: make([]float64, s), kindCDF: make([]float64, kinds*s)}
	d.favour = make([]float64, kinds*s)
	for u := range w.People {
		d.person(p, u)
	}
	rounds := 1
	if w.Adaptive {
		rounds = 5
	}
	for round := range rounds {
		share := w.Deliveries * (round + 1) / rounds
		share -= w.Deliveries * round / rounds
		d.plan()
		for u := range w.People {
			d.explore(p, u, share)
		}
		d.learn(p)
	}
	return p
}

// curves returns k curves of two humps each, spread over the day.
func curves(rng *rand.Rand, k, s int, shift float64) [][]float64 {
	out := make([][]float64, k)
	for c := range out {
		mu := 2*math.Pi*float64(c)/float64(k) + shift + rng.Float64()*0.4 - 0.2
		out[c] = make([]float64, s)
		mean, sq := 0.0, 0.0
		for i := range s {
			t := 2 * math.Pi * float64(i) / float64(s)
			v := math.Log(math.Exp(1.2*math.Cos(t-mu)) + 0.35*math.Exp(2.4*math.Cos(t-mu-2.2)))
			out[c][i] = v
			mean += v / float64(s)
		}
		for i := range out[c] {
			out[c][i] -= mean
			sq += out[c][i] * out[c][i]
		}
		sd := math.Sqrt(sq / float64(s))
		for i := range out[c] {
			out[c][i] /= sd
		}
	}
	return out
}

type drawer struct {
	w       World
	rng     *rand.Rand
	psi     []float64
	phi     [][]float64
	level   []float64
	logit   []float64
	cdf     []float64
	kindCDF []float64 // kinds x S: where each kind is sent to in this round
	favour  []float64 // kinds x S: what the adaptive log has come to like
}

// person draws kind, level, true rates and activity.
func (d *drawer) person(p *Population, u int) {
	w, s := &d.w, d.w.Slots
	c := d.rng.IntN(kinds)
	p.Kinds[u] = int32(c)
	d.level[u] = math.Log(w.Base/(1-w.Base)) + w.Spread*d.rng.NormFloat64()
	if w.Tied {
		d.level[u] += 1.2 * (2*float64(c)/(kinds-1) - 1)
	}
	shift := 0
	if w.Wander > 0 {
		shift = int(math.Round(w.Wander*d.rng.NormFloat64()))%s + s
	}
	phi := d.phi[c]
	truth := p.Truth.Data[u*s : (u+1)*s]
	for i := range truth {
		x := d.level[u]
		switch w.Kind {
		case Clusters:
			x += w.Common*d.psi[i] + w.Effect*phi[(i+shift)%s]
		case Global:
			x += w.Effect * d.psi[i]
		}
		truth[i] = float32(1 / (1 + math.Exp(-x)))
		d.logit[i] = w.Sharpness * phi[(i+shift)%s]
	}
	d.cumulate(d.logit)
	// Activity differs widely between people: a Gamma of shape 1, at least 0.
	burst := 1
	if w.Bursty {
		burst = 5
	}
	events := int(w.Activity * d.rng.ExpFloat64() / float64(burst))
	for range events {
		p.Data.Activity.Data[u*s+d.slot()] += float32(burst)
	}
}

// plan sets where each kind of person is sent to in the coming round.
func (d *drawer) plan() {
	s := d.w.Slots
	for c := range kinds {
		for i := range d.logit {
			d.logit[i] = d.favour[c*s+i]
			if d.w.Skewed {
				d.logit[i] += 0.8 * d.phi[c][i]
			}
		}
		d.cumulate(d.logit)
		copy(d.kindCDF[c*s:(c+1)*s], d.cdf)
	}
}

// explore draws deliveries and their outcomes.
func (d *drawer) explore(p *Population, u, deliveries int) {
	w, s, c := &d.w, d.w.Slots, int(p.Kinds[u])
	uniform := !w.Skewed && !w.Adaptive
	if !uniform {
		copy(d.cdf, d.kindCDF[c*s:(c+1)*s])
	}
	swing := 1.0
	for k := range deliveries {
		if w.Bursty && k%4 == 0 {
			swing = math.Exp(d.rng.NormFloat64() - 0.5)
		}
		i := 0
		if uniform {
			i = d.rng.IntN(s)
		} else {
			i = d.slot()
		}
		p.Data.Delivered.Data[u*s+i]++
		if d.rng.Float64() < swing*float64(p.Truth.Data[u*s+i]) {
			p.Data.Responded.Data[u*s+i]++
		}
	}
}

// learn lets the adaptive log favour, for each kind, the slots that answered.
func (d *drawer) learn(p *Population) {
	if !d.w.Adaptive {
		return
	}
	s := d.w.Slots
	r, n := make([]float64, kinds*s), make([]float64, kinds*s)
	for u, c := range p.Kinds {
		for i := range s {
			r[int(c)*s+i] += float64(p.Data.Responded.Data[u*s+i])
			n[int(c)*s+i] += float64(p.Data.Delivered.Data[u*s+i])
		}
	}
	for i := range d.favour {
		d.favour[i] = math.Log((r[i] + 1) / (n[i] + 20) * 20)
	}
}

// cumulate makes the distribution ~ exp(logit) that slot draws from.
func (d *drawer) cumulate(logit []float64) {
	sum := 0.0
	for i, x := range logit {
		sum += math.Exp(x)
		d.cdf[i] = sum
	}
	for i := range d.cdf {
		d.cdf[i] /= sum
	}
}

func (d *drawer) slot() int {
	x := d.rng.Float64()
	for i, c := range d.cdf {
		if x < c {
			return i
		}
	}
	return len(d.cdf) - 1
}
