package sim

import (
	"fmt"

	"kairos/dto"
)

// Figure is one line of the table of figures to reach.
type Figure struct {
	Name      string  `json:"name"`
	Value     float64 `json:"value"`
	Reference string  `json:"reference"` // the reference implementation's figure, as it was given
	Target    string  `json:"target"`
	Reached   bool    `json:"reached"`
	Note      string  `json:"note,omitempty"`
}

// TableOptions steer [Table].
type TableOptions struct {
	Replications int    // for each error rate; power and lifts take a tenth; 0: 1,000
	People       int    // in the worlds of error rates; 0: 1,000
	Seed         uint64 // of the first replication
	Days         []Day  // real rhythms; nil: no replay
	Fit          dto.Options
	Progress     func(done, total int) // called after each figure's world; may be nil
}

// Table measures error rates, power, shares of the oracle's lift, the lift
// under the null and the replay, in this order. The worlds are this package's;
// the reference's are known by their figures alone, so shares compare in kind,
// not in the second digit.
func Table(o TableOptions) ([]Figure, error) {
	if o.Replications <= 0 {
		o.Replications = 1000
	}
	if o.People <= 0 {
		o.People = 1000
	}
	t := table{o: o, few: max(4, o.Replications/10)}
	steps := []func() error{}
	for _, n := range TrueNulls(o.People) {
		steps = append(steps, func() error { return t.errorRate(n) })
	}
	steps = append(steps,
		func() error { return t.power(.10, 2000, .78) },
		func() error { return t.power(.03, 10_000, .47) },
		func() error { return t.share(.3, .31) },
		func() error { return t.share(.5, .68) },
		func() error { return t.share(.8, .88) },
		func() error { return t.null(Null) },
		func() error { return t.null(Global) },
	)
	if o.Days != nil {
		steps = append(steps,
			func() error { return t.replay(0, "real rhythms over the global best hour", "+.066 +- .046", .066) },
			func() error { return t.replay(10, "real rhythms, ten days a person", "+.105 +- .042", .105) },
		)
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return t.figures, err
		}
		if o.Progress != nil {
			o.Progress(i+1, len(steps))
		}
	}
	return t.figures, nil
}

type table struct {
	o       TableOptions
	few     int
	figures []Figure
}

func (t *table) add(f Figure) { t.figures = append(t.figures, f) }

func (t *table) errorRate(n Named) error {
	r := n.World.Rates(t.o.Seed+1, t.o.Replications, .05)
	note := fmt.Sprintf("%d replications", r.Replications)
	rate := func(name string, v float64) {
		t.add(Figure{Name: name + ": " + n.Name, Value: v, Reference: ".046 to .062", Target: "<= .06", Reached: v <= .06, Note: note})
	}
	if n.Main {
		rate("false positives of the main test", r.Main)
		rate("false positives of either, after Holm", r.Any)
	}
	rate("false positives of the interaction test", r.Interaction)
	return nil
}

func (t *table) power(lift float64, people int, least float64) error {
	w := World{Kind: Clusters, People: people}.WithOracleLift(lift, t.o.Seed+1)
	r := w.Rates(t.o.Seed+1, t.few, .025) // the stricter of Holm's two levels
	t.add(Figure{
		Name:  fmt.Sprintf("power, oracle lift %.0f %%, %d exploration deliveries", 100*lift, people*20),
		Value: r.Interaction, Reference: fmt.Sprint(least), Target: fmt.Sprintf(">= %g", least), Reached: r.Interaction >= least,
		Note: fmt.Sprintf("%d replications at .025", r.Replications),
	})
	return nil
}

func (t *table) share(effect, least float64) error {
	share, reps := 0.0, max(2, t.few/10)
	for i := range reps {
		trial, err := World{Kind: Clusters, People: 10_000, Effect: effect, Common: .3, Activity: 60}.Try(t.o.Seed+uint64(i)+1, t.o.Fit)
		if err != nil {
			return err
		}
		share += trial.Share / float64(reps)
	}
	t.add(Figure{
		Name: fmt.Sprintf("share of the oracle's lift, A = %g", effect), Value: share, Reference: fmt.Sprint(least),
		Target: fmt.Sprintf(">= %g", least), Reached: share >= least, Note: fmt.Sprintf("%d replications of 200,000 deliveries", reps),
	})
	return nil
}

func (t *table) null(kind Kind) error {
	mean, harmed, reps := 0.0, 0, t.few
	for i := range reps {
		trial, err := World{Kind: kind, People: 2000, Effect: .3}.Try(t.o.Seed+uint64(i)+1, t.o.Fit)
		if err != nil {
			return err
		}
		mean += trial.Policy / float64(reps)
		if trial.Policy < -.005 {
			harmed++
		}
	}
	t.add(Figure{
		Name: "lift over one hour for all where people do not differ: " + string(kind), Value: mean, Reference: "0", Target: "within .005, harm in 1 of 20 at most",
		Reached: mean > -.005 && mean < .005 && 20*harmed <= reps, Note: fmt.Sprintf("harm in %d of %d", harmed, reps),
	})
	return nil
}

func (t *table) replay(keep int, name, reference string, least float64) error {
	const draws = 5 // of the hours explored
	mean, lowest, highest, note := 0.0, 0.0, 0.0, ""
	for i := range draws {
		o := t.o.Fit
		o.Seed = t.o.Seed + uint64(i)
		r, err := Replay(t.o.Days, keep, o)
		if err != nil {
			return err
		}
		mean += r.Lift / draws
		if i == 0 {
			lowest, highest = r.Lift, r.Lift
			note = fmt.Sprintf("95 %% interval of the first %.3f to %.3f, %d people; the best hour over a random one: %+.2f", r.Low, r.High, r.People, r.GlobalOverRandom)
		}
		lowest, highest = min(lowest, r.Lift), max(highest, r.Lift)
	}
	t.add(Figure{
		Name: name, Value: mean, Reference: reference, Target: fmt.Sprintf(">= %g", least), Reached: mean >= least,
		Note: fmt.Sprintf("mean of %d draws, %.3f to %.3f; %s", draws, lowest, highest, note),
	})
	return nil
}
