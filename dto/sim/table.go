package sim

import (
	"context"
	"fmt"
	"math"
	"sync"

	"kairos"
	"kairos/dto"
)

// Figure is one line of the table of figures to reach.
type Figure struct {
	Name      string  `json:"name"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit,omitempty"` // "": a share; s: seconds; GB: 2^30 bytes
	Reference string  `json:"reference"`      // the reference implementation's figure, as it was given
	Target    string  `json:"target"`         // "": none, the figure is there to be compared with
	Reached   bool    `json:"reached"`
	Note      string  `json:"note,omitempty"`
}

// TableOptions steer [Table].
type TableOptions struct {
	Replications int    // for each error rate; power and lifts take a tenth; 0: 1,000
	People       int    // in the worlds of error rates; 0: 1,000
	Seed         uint64 // of the first replication
	Days         []Day  // real rhythms; nil: no replay
	Speed        bool   // also time and memory for a million people
	Fit          dto.Options

	// Found is called with each figure as it comes, Progress while it is
	// measured, with the step's name; never two calls at once. Both may be nil.
	Found    func(Figure)
	Progress func(step string, done, total int)
}

// Table measures error rates, power, shares of the oracle's lift, the lift
// under the null, the replay, and time and memory, in this order. The worlds
// are this package's; the reference's are known by their figures alone, so
// shares compare in kind, not in the second digit. Same options, same figures,
// but for time and memory. Errors: ErrInvalid, and that of ctx, with the
// figures that there were until then.
func Table(ctx context.Context, o TableOptions) ([]Figure, error) {
	if o.Replications <= 0 {
		o.Replications = 1000
	}
	if o.People <= 0 {
		o.People = 1000
	}
	t := table{ctx: ctx, o: o, few: max(4, o.Replications/10)}
	steps := []func() error{}
	for _, n := range TrueNulls(o.People) {
		steps = append(steps, func() error { return t.errorRate(n) })
	}
	steps = append(steps,
		t.naive,
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
	if o.Speed {
		steps = append(steps, t.kmeans, t.fit)
	}
	for _, step := range steps {
		if err := ctx.Err(); err != nil {
			return t.figures, err
		}
		if err := step(); err != nil {
			return t.figures, err
		}
	}
	return t.figures, nil
}

type table struct {
	ctx     context.Context
	o       TableOptions
	few     int
	figures []Figure

	mu   sync.Mutex // of the count
	done int
}

func (t *table) add(f Figure) {
	t.figures = append(t.figures, f)
	if t.o.Found != nil {
		t.o.Found(f)
	}
}

// begin starts counting the replications of a step; the function it returns
// counts one, from any goroutine.
func (t *table) begin(step string, total int) func() {
	t.done = -1
	count := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.done++
		if t.o.Progress != nil {
			t.o.Progress(step, t.done, total)
		}
	}
	count()
	return count
}

// spread is the standard error of a share v of n replications.
func spread(v float64, n int) float64 { return math.Sqrt(v * (1 - v) / float64(n)) }

func (t *table) errorRate(n Named) error {
	each := t.begin("error rates, "+n.Name, t.o.Replications)
	r, err := n.World.rates(t.ctx, t.o.Seed+1, t.o.Replications, .05, each)
	if err != nil {
		return err
	}
	rate := func(name string, v float64) {
		note := fmt.Sprintf("%d replications of %d people, standard error %.3f", r.Replications, n.World.People, spread(v, r.Replications))
		t.add(Figure{Name: name + ": " + n.Name, Value: v, Reference: ".046 to .062", Target: "<= .06", Reached: v <= .06, Note: note})
	}
	if n.Main {
		rate("false positives of the main test", r.Main)
		rate("false positives of either, after Holm", r.Any)
	}
	rate("false positives of the interaction test", r.Interaction)
	return nil
}

func (t *table) naive() error {
	each, rejected := t.begin("the naive method", t.few), 0
	for i := range t.few {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		seed := t.o.Seed + uint64(i) + 1
		test, err := Naive(World{Kind: Null, People: t.o.People, Base: .15}.Draw(seed).Data, seed)
		if err != nil {
			return err
		}
		if test.P < .05 {
			rejected++
		}
		each()
	}
	t.add(Figure{
		Name: "the naive method, where time is irrelevant", Value: float64(rejected) / float64(t.few), Reference: "1.00",
		Note: fmt.Sprintf("clusters made and tested on the same responses; %d replications", t.few),
	})
	return nil
}

func (t *table) power(lift float64, people int, least float64) error {
	name := fmt.Sprintf("power, oracle lift %.0f %%, %d exploration deliveries", 100*lift, people*20)
	each := t.begin(name, t.few)
	w := World{Kind: Clusters, People: people}.WithOracleLift(lift, t.o.Seed+1)
	r, err := w.rates(t.ctx, t.o.Seed+1, t.few, .025, each) // the stricter of Holm's two levels
	if err != nil {
		return err
	}
	t.add(Figure{
		Name: name, Value: r.Interaction, Reference: fmt.Sprint(least), Target: fmt.Sprintf(">= %g", least), Reached: r.Interaction >= least,
		Note: fmt.Sprintf("%d replications at .025, standard error %.3f", r.Replications, spread(r.Interaction, r.Replications)),
	})
	return nil
}

// tries runs replications of a world and hands each trial to see.
func (t *table) tries(name string, w World, reps int, see func(Trial)) error {
	each := t.begin(name, reps)
	for i := range reps {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		trial, err := w.Try(t.o.Seed+uint64(i)+1, t.o.Fit)
		if err != nil {
			return err
		}
		see(trial)
		each()
	}
	return nil
}

func (t *table) share(effect, least float64) error {
	share, reps := 0.0, max(2, t.few/10)
	name := fmt.Sprintf("share of the oracle's lift, A = %g", effect)
	w := World{Kind: Clusters, People: 10_000, Effect: effect, Common: .3, Activity: 60}
	if err := t.tries(name, w, reps, func(trial Trial) { share += trial.Share / float64(reps) }); err != nil {
		return err
	}
	t.add(Figure{
		Name: name, Value: share, Reference: fmt.Sprint(least),
		Target: fmt.Sprintf(">= %g", least), Reached: share >= least, Note: fmt.Sprintf("%d replications of 200,000 deliveries", reps),
	})
	return nil
}

func (t *table) null(kind Kind) error {
	mean, harmed, reps := 0.0, 0, t.few
	name := "lift over one hour for all where people do not differ: " + string(kind)
	err := t.tries(name, World{Kind: kind, People: 2000, Effect: .3}, reps, func(trial Trial) {
		mean += trial.Policy / float64(reps)
		if trial.Policy < -.005 {
			harmed++
		}
	})
	if err != nil {
		return err
	}
	t.add(Figure{
		Name: name, Value: mean, Reference: "0", Target: "within .005, harm in 1 of 20 at most",
		Reached: mean > -.005 && mean < .005 && 20*harmed <= reps, Note: fmt.Sprintf("harm in %d of %d", harmed, reps),
	})
	return nil
}

func (t *table) replay(keep int, name, reference string, least float64) error {
	const draws = 20 // of the hours explored
	each := t.begin(name, draws)
	mean, lowest, highest, note := 0.0, 0.0, 0.0, ""
	for i := range draws {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		o := t.o.Fit
		o.Seed = t.o.Seed + uint64(i)
		r, err := Replay(t.o.Days, keep, o)
		if err != nil {
			return err
		}
		if r.People == 0 {
			return kairos.Invalid("rhythms", "hold nobody with five active days")
		}
		mean += r.Lift / draws
		if i == 0 {
			lowest, highest = r.Lift, r.Lift
			note = fmt.Sprintf("95 %% interval of the first %.3f to %.3f, %d people; the best hour over a random one: %+.2f", r.Low, r.High, r.People, r.GlobalOverRandom)
		}
		lowest, highest = min(lowest, r.Lift), max(highest, r.Lift)
		each()
	}
	t.add(Figure{
		Name: name, Value: mean, Reference: reference, Target: fmt.Sprintf(">= %g", least), Reached: mean >= least,
		Note: fmt.Sprintf("mean of %d draws, %.3f to %.3f; %s", draws, lowest, highest, note),
	})
	return nil
}
