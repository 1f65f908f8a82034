package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"kairos/analysis/timing"
)

// demoBar shows how far the days are where somebody watches.
type demoBar struct{ bar *progressbar.ProgressBar }

func newDemoBar(t *terminal, days int) *demoBar {
	if !t.person() {
		return &demoBar{}
	}
	return &demoBar{progressbar.NewOptions(24*days, progressbar.OptionSetWriter(t.err),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())}
}

// at moves it to a moment of a day, from 0.
func (b *demoBar) at(day int, into time.Duration) {
	if b.bar != nil {
		b.bar.Describe(fmt.Sprintf("day %d, %02d:00 UTC", day+1, min(int(into.Hours()), 23)))
		_ = b.bar.Set(24*day + int(into.Hours())) // a bar that can't be drawn is no failure
	}
}

// clear makes room for a line.
func (b *demoBar) clear() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

func (b *demoBar) done() {
	if b.bar != nil {
		_ = b.bar.Finish()
	}
}

// line prints what a day brought.
func (s *story) line(day int, at *timing.Standing, shown *timing.Model) {
	did, _, _ := s.town.truth()
	lacking := ""
	if n := at.Needed; n != nil && n.Responses > 0 {
		lacking = fmt.Sprintf(" (%d more needed)", n.Responses) // as of the last training
	}
	state := "none yet"
	switch {
	case at.Training != nil:
		state = fmt.Sprintf("%d in training", *at.Training)
	case shown == nil && at.TrainAt != nil:
		state = fmt.Sprintf("none yet, training on day %d", 1+int(at.TrainAt.Sub(s.origin).Hours()/24))
	case shown == nil:
	case shown.State == timing.OnTrial && shown.Canary != nil:
		state = fmt.Sprintf("%d on trial, %.0f %%", shown.Version, 100*shown.Canary.Progress)
		if shown.Canary.Done {
			state = fmt.Sprintf("%d judged: %s", shown.Version, map[bool]string{true: "passed", false: "failed"}[shown.Canary.Pass])
		}
	default:
		state = fmt.Sprintf("%d %s", shown.Version, shown.State)
	}
	lift := ""
	if s.promoted > 0 && shown != nil && shown.State == timing.Active {
		lift = fmt.Sprintf(" | lift %s, in truth %s of %s", demoLiftWords(shown.Lift), share(s.treated.lift()), share(s.oracle))
	}
	s.bar.clear()
	s.t.say("day %2d  sent %d | explored %d, responses %d%s | %s | model %s%s",
		day+1, did["sent"]-s.sent, at.Exposures, at.Responses, lacking, plain(string(at.Verdict)), state, lift)
	s.sent = did["sent"]
}

func demoLiftWords(l *timing.Lift) string {
	if l == nil || l.Estimate == nil || l.Interval == nil {
		return "not known yet"
	}
	return fmt.Sprintf("%+.1f %% (95 %%: %+.1f to %+.1f)", 100**l.Estimate, 100*l.Interval[0], 100*l.Interval[1])
}

func share(x *float64) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf("%+.1f %%", 100**x)
}

func plain(s string) string {
	if s == "" {
		return "none"
	}
	return strings.ReplaceAll(s, "_", " ")
}

// words prints the end of the story.
func (r *demoReport) words() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-16s %10s %14s\n", "funnel", "Kairos", "the people did")
	for _, step := range append([]string{"planned", "sent", "delivered"}, townSteps[1:]...) {
		truth := ""
		if n, said := r.Truth.Funnel[step]; said {
			truth = fmt.Sprint(n)
		}
		fmt.Fprintf(&b, "%-16s %10d %14s\n", step, r.Funnel[step], truth)
	}
	fmt.Fprintf(&b, "%-16s %10s %14s EUR\n", "revenue", r.ROI.Revenue, r.Truth.Revenue)
	fmt.Fprintf(&b, "\nreturn on investment, %d campaigns\n", r.Days)
	fmt.Fprintf(&b, "attributed   %d payments, %s EUR\n", r.ROI.Payments, r.ROI.Revenue)
	if r.ROI.Incremental != nil {
		fmt.Fprintf(&b, "incremental  %s EUR, 95 %% interval %s to %s\n", *r.ROI.Incremental, r.ROI.Interval[0], r.ROI.Interval[1])
	}
	fmt.Fprintf(&b, "cost         %s EUR, return %s\n", r.ROI.Cost, ratio(r.ROI.Return))
	b.WriteString(r.timing())
	verdict := "Every number of the funnel equals what the people did."
	if !r.Equal {
		verdict = "The numbers DIFFER from what the people did."
	}
	fmt.Fprintf(&b, "\n\n%s (%d days in %s)", verdict, r.Days, (time.Duration(r.Seconds * float64(time.Second))).Round(time.Second))
	return b.String()
}

// timing is the part about delivery time: what Kairos says, beside what is true.
func (r *demoReport) timing() string {
	var b strings.Builder
	b.WriteString("\ndelivery time\n")
	if m := r.model; m != nil {
		fmt.Fprintf(&b, "verdict      %s. %s\n", plain(r.Verdict), m.Headline)
		for _, a := range m.Arms {
			fmt.Fprintf(&b, "  %-10s %7d sent %6d responded  %s\n", a.Arm, a.N, a.Responses, percent(a.Rate))
		}
		if r.Promoted {
			fmt.Fprintf(&b, "lift         %s over the usual time, by model %d\n", demoLiftWords(m.Lift), m.Version)
		}
		if len(m.Clusters) > 1 {
			for _, c := range m.Clusters {
				hour := "no hour of their own"
				if c.Hour >= 0 {
					hour = fmt.Sprintf("best at %02d:00", c.Hour)
				}
				fmt.Fprintf(&b, "  rhythm %d: %d people, %s\n", c.Cluster+1, c.Size, hour)
			}
		}
		if n := m.Needed; n != nil {
			fmt.Fprintf(&b, "still needed %d responses, about %d explored messages\n", n.Responses, n.Deliveries)
		}
	} else {
		fmt.Fprintf(&b, "verdict      %s. No model was trained: it takes more days or people.\n", plain(r.Verdict))
	}
	if !r.Promoted {
		b.WriteString("promoted     nothing: everybody keeps getting mail at the usual time\n")
	}
	b.WriteString("the truth    ")
	switch {
	case r.Truth.Lift == nil:
		fmt.Fprintf(&b, "a perfect choice of hours would gain %s", share(r.Truth.Oracle))
	default:
		fmt.Fprintf(&b, "the hours Kairos chose gain %s over the usual time, a perfect choice %s", share(r.Truth.Lift), share(r.Truth.Oracle))
	}
	if r.OracleShare != nil {
		fmt.Fprintf(&b, ": %.0f %% of what there is to gain", 100**r.OracleShare)
	}
	return b.String()
}
