package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// demoKinds is how many rhythms of life there are.
const demoKinds = 4

// demoBase is how often the typical person clicks at a middling hour.
const demoBase = 0.15

// hiddenWorld is what is true about the simulated people and what Kairos has
// to find out: the log-odds of a click of person u on a mail that arrives in
// the local hour h are
//
//	level_u + common psi_h + effect phi_kind(u),h
//
// (package dto/sim draws the same worlds without a pipeline). psi and phi are
// curves of two humps with mean 0 and standard deviation 1 over the day; people
// are awake by phi, in every world.
type hiddenWorld struct {
	unknown *time.Location // where people live whose zone the shop does not know, as it believes
	kind    string         // clusters: people differ; global: one curve for all; null: the hour is irrelevant
	seed    uint64
	people  []inhabitant
	rates   [][24]float64 // of a click, by true local hour of arrival
	waking  [demoKinds][24]float64
}

// inhabitant is one person. What Kairos is told of it: the zone, where told,
// and the wishes.
type inhabitant struct {
	kind      int
	zone      *time.Location // where the person lives
	told      bool           // the shop knows the zone
	reader    bool           // reads the newsletter
	bursty    bool           // active in bursts
	sessions  float64        // of one's own accord, a day
	prefers   int            // first of three preferred hours; -1: none stated
	quiet     bool           // does not want to be disturbed from 22 to 7
	firstName int
	favourite int
}

// newHiddenWorld draws people and truth: same arguments, same world. effect and
// common are on the scale of log-odds; tied makes kinds differ in how often
// they click, so that who is awake when and who clicks often are entangled.
func newHiddenWorld(kind string, people int, effect, common float64, tied bool, seed uint64) *hiddenWorld {
	w := &hiddenWorld{unknown: time.UTC, kind: kind, seed: seed, people: make([]inhabitant, people), rates: make([][24]float64, people)}
	r := w.source(0, 0, 0)
	psi := dayCurve(r, 3.6)
	var phi [demoKinds][24]float64
	for k := range phi {
		phi[k] = dayCurve(r, 2*math.Pi*float64(k)/demoKinds)
		total := 0.0
		for h, x := range phi[k] {
			total += math.Exp(x)
			w.waking[k][h] = total
		}
		for h := range w.waking[k] {
			w.waking[k][h] /= total
		}
	}
	zones := make([]*time.Location, len(townZones))
	for i, name := range townZones {
		zones[i] = mustZone(name)
	}
	for i := range w.people {
		p, r := &w.people[i], w.source(i, 1, 0)
		*p = inhabitant{
			kind: r.IntN(demoKinds), zone: zones[r.IntN(len(zones))], told: r.Float64() >= 0.03, reader: r.Float64() >= 0.03,
			bursty: r.Float64() < 0.1, sessions: math.Min(0.15+0.9*r.ExpFloat64(), 5), prefers: -1, quiet: r.Float64() < 0.03,
			firstName: r.IntN(len(firstNames)), favourite: r.IntN(len(favourites)),
		}
		if r.Float64() < 0.04 { // they know themselves, more or less
			p.prefers = (peak(phi[p.kind]) + r.IntN(5) + 21) % 24
		}
		level := math.Log(demoBase/(1-demoBase)) + 0.5*r.NormFloat64()
		if tied {
			level += 2*float64(p.kind)/(demoKinds-1) - 1
		}
		for h := range 24 {
			x := level
			switch kind {
			case "clusters":
				x += common*psi[h] + effect*phi[p.kind][h]
			case "global":
				x += effect * psi[h]
			}
			w.rates[i][h] = 1 / (1 + math.Exp(-x))
		}
	}
	return w
}

// dayCurve has two humps, the higher one at mu (in radians of the day) or
// near it; mean 0, standard deviation 1.
func dayCurve(r *rand.Rand, mu float64) (c [24]float64) {
	mu += 0.4*r.Float64() - 0.2
	mean, square := 0.0, 0.0
	for h := range c {
		t := 2 * math.Pi * float64(h) / 24
		c[h] = math.Log(math.Exp(1.2*math.Cos(t-mu)) + 0.35*math.Exp(2.4*math.Cos(t-mu-2.2)))
		mean += c[h] / 24
	}
	for h := range c {
		c[h] -= mean
		square += c[h] * c[h] / 24
	}
	for h := range c {
		c[h] /= math.Sqrt(square)
	}
	return c
}

func peak(c [24]float64) int {
	best := 0
	for h := range c {
		if c[h] > c[best] {
			best = h
		}
	}
	return best
}

// mustZone loads a zone of the binary's own database.
func mustZone(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		panic(err) // time/tzdata is linked in
	}
	return loc
}

// source is person i's own randomness for one purpose and occasion:
// independent of the order of events.
func (w *hiddenWorld) source(i int, purpose, occasion uint64) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed<<8|purpose, uint64(i)<<24|occasion))
}

// hour is the person's true local hour at an instant.
func (w *hiddenWorld) hour(i int, at time.Time) int { return at.In(w.people[i].zone).Hour() }

// baseHour is the true local hour in which the usual time of 10:00 finds the
// person on the day of an instant: 10, but for those whose zone the shop does
// not know.
func (w *hiddenWorld) baseHour(i int, at time.Time) int {
	if w.people[i].told {
		return 10
	}
	at = at.In(w.unknown)
	return w.hour(i, time.Date(at.Year(), at.Month(), at.Day(), 10, 0, 0, 0, w.unknown))
}

// policy sums the true rates of messages at three hours each: the one that was
// chosen, the usual one, and the best.
type policy struct {
	n                  int
	chosen, base, best float64
}

// add takes in a message to person i that arrived at an instant.
func (p *policy) add(w *hiddenWorld, i int, at time.Time) {
	p.n++
	p.chosen += w.rates[i][w.hour(i, at)]
	p.base += w.rates[i][w.baseHour(i, at)]
	p.best += w.rates[i][peak(w.rates[i])]
}

// lift is what the chosen hours gain over the usual time; nil without a message.
func (p *policy) lift() *float64 { return gain(p.chosen, p.base) }

// oracle is what the best hour of each person would gain.
func (p *policy) oracle() *float64 { return gain(p.best, p.base) }

// share is how much of the oracle's gain the chosen hours reach; nil where
// there is nothing to gain.
func (p *policy) share() *float64 {
	if p.best-p.base < 1e-9*p.best || p.n == 0 {
		return nil
	}
	s := (p.chosen - p.base) / (p.best - p.base)
	return &s
}

func gain(to, from float64) *float64 {
	if from <= 0 {
		return nil
	}
	g := to/from - 1
	return &g
}

// everybody values one message to each reader at the usual time: its oracle is
// the world's.
func (w *hiddenWorld) everybody(day time.Time) (p policy) {
	for i := range w.people {
		if w.people[i].reader {
			local := day.In(w.people[i].zone)
			p.add(w, i, time.Date(local.Year(), local.Month(), local.Day(), 10, 0, 0, 0, w.people[i].zone))
		}
	}
	return p
}

// sessions draws when a person is active of one's own accord in the day that
// begins at an instant: by the rhythm of the kind, in local time.
func (w *hiddenWorld) sessions(i int, from time.Time) []time.Time {
	p, r := &w.people[i], w.source(i, 4, uint64(from.Unix()/3600)&0xffffff)
	mean := p.sessions
	if p.bursty { // nothing for days, then a lot
		if r.Float64() >= 0.2 {
			return nil
		}
		mean *= 5
	}
	var times []time.Time
	for x := r.ExpFloat64(); x < mean; x += r.ExpFloat64() { // Poisson
		u, h := r.Float64(), 0
		for h < 23 && u >= w.waking[p.kind][h] {
			h++
		}
		ahead := (h - w.hour(i, from) + 24) % 24
		local := from.In(p.zone)
		at := from.Add(time.Duration(ahead)*time.Hour - time.Duration(local.Minute())*time.Minute +
			time.Duration(r.IntN(3600))*time.Second)
		if at.Before(from) {
			at = at.Add(24 * time.Hour)
		}
		times = append(times, at)
	}
	return times
}
