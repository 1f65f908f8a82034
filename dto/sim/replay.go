package sim

import (
	"math"
	"math/rand/v2"
	"slices"

	"kairos/dto"
)

// Day is one active day of a real person: bit h of Hours is set when the person
// was active in local hour h.
type Day struct {
	User  int
	Day   int
	Hours uint32
}

// ReplayResult is the value of policies on days no model has seen, in active
// hours per delivery, with lifts over the best single hour.
type ReplayResult struct {
	Model              *dto.Model
	People             int
	Random             float64 // a random hour
	Global             float64 // the best hour of the training days, the same for all
	Personal           float64 // the model's hours
	Lift, Low, High    float64 // Personal over Global, 95 % by person
	GlobalOverRandom   float64
	TrainDays, TestDay int
}

// Replay plays real rhythms: the first 60 % of each person's active days train,
// the rest test; a delivery in hour h of day d is answered when bit h of the day
// is set, so that every policy has an exact value. Each training day one random
// hour is explored and its bit revealed; activity is the day's other hours, and
// of the training days only the newest keep days (0: all), which makes people
// sparse. People need at least five active days.
func Replay(days []Day, keep int, o dto.Options) (ReplayResult, error) {
	byUser := map[int][]Day{}
	for _, d := range days {
		byUser[d.User] = append(byUser[d.User], d)
	}
	users := make([]int, 0, len(byUser))
	for u, list := range byUser {
		if len(list) >= 5 {
			users = append(users, u)
		}
	}
	slices.Sort(users)
	const s = 24
	n := len(users)
	res := ReplayResult{People: n}
	if n == 0 {
		return res, nil
	}
	data := dto.Data{Activity: dto.NewMatrix(n, s), Delivered: dto.NewMatrix(n, s), Responded: dto.NewMatrix(n, s)}
	test := make([][]Day, n)
	rng := rand.New(rand.NewPCG(o.Seed, 7))
	var total [s]float64
	for i, u := range users {
		list := byUser[u]
		slices.SortStableFunc(list, func(a, b Day) int { return a.Day - b.Day })
		cut := int(0.6 * float64(len(list)))
		train := list[:cut]
		if keep > 0 && len(train) > keep {
			train = train[len(train)-keep:]
		}
		test[i] = list[cut:]
		res.TrainDays += len(train)
		res.TestDay += len(test[i])
		for _, d := range train {
			sent := rng.IntN(s)
			for h := range s {
				bit := float32(d.Hours >> h & 1)
				total[h] += float64(bit)
				if h == sent {
					data.Delivered.Data[i*s+h]++
					data.Responded.Data[i*s+h] += bit
				} else {
					data.Activity.Data[i*s+h] += bit
				}
			}
		}
	}
	m, err := dto.Fit(data, o)
	if err != nil {
		return res, err
	}
	res.Model = m
	slots, clusters := make([]int16, n), make([]int16, n)
	if err := m.Score(slots, clusters, data.Activity, nil); err != nil {
		return res, err
	}
	global := 0
	for h, v := range total {
		if v > total[global] {
			global = h
		}
	}
	res.value(test, slots, global)
	return res, nil
}

// value fills in the values; the interval of the lift is the delta method's on
// sums by person.
func (r *ReplayResult) value(test [][]Day, slots []int16, global int) {
	var random, all, own, count float64
	a, b := make([]float64, len(test)), make([]float64, len(test))
	for i, list := range test {
		slot := int(slots[i])
		if slot < 0 {
			slot = global
		}
		for _, d := range list {
			for h := range 24 {
				random += float64(d.Hours>>h&1) / 24
			}
			a[i] += float64(d.Hours >> slot & 1)
			b[i] += float64(d.Hours >> global & 1)
			count++
		}
		own += a[i]
		all += b[i]
	}
	if count == 0 || all == 0 || random == 0 {
		return
	}
	r.Random, r.Global, r.Personal = random/count, all/count, own/count
	r.Lift, r.GlobalOverRandom = own/all-1, all/random-1
	v := 0.0
	for i := range a {
		e := (a[i] - (own/all)*b[i]) / all
		v += e * e
	}
	se := 1.96 * math.Sqrt(v)
	r.Low, r.High = r.Lift-se, r.Lift+se
}
