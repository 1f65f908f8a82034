package dashboard

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"kairos"
	"kairos/analysis"
	"kairos/analysis/timing"
	"kairos/dto"
)

// pictureOf places a lift beside zero. An end far out is cut: it has no more
// to say.
func pictureOf(l liftView) interval {
	return drawn(max(l.interval[0], -1), min(l.interval[1], max(2, 2**l.estimate)), *l.estimate, .27)
}

// offers reports whether a form for the step is shown.
func (v modelView) offers(step string) bool {
	return v.decides && slices.ContainsFunc(v.steps, func(s decisionStep) bool { return s.name == step })
}

// campaignLift is what the chosen moments of a campaign brought.
func campaignLift(t analysis.Timing) liftView {
	if t.Lift == nil {
		return liftOf(nil, t.Needed, "the usual time")
	}
	return liftOf(&timing.Lift{Estimate: t.Lift.Estimate, Interval: t.Lift.Interval, P: t.Lift.P, Verdict: t.Verdict}, t.Needed, "the usual time")
}

func campaignLines(t analysis.Timing) []armLine {
	lines := make([]armLine, len(t.Arms))
	for i, a := range t.Arms {
		lines[i] = armLineOf(timing.Arm{Arm: string(a.Arm), N: a.N, Responses: a.Responses, Rate: a.Rate})
		if a.Arm == kairos.ArmOptimised && t.Note == analysis.NoModel {
			lines[i].moment = momentWords[string(kairos.ArmControl)]
		}
	}
	return lines
}

// trialAgainst is what a trial's model is compared with.
func trialAgainst(m timing.Model) string {
	if m.Parent == nil {
		return "the usual time"
	}
	return "model " + strconv.Itoa(*m.Parent)
}

func trialTone(m timing.Model) string {
	switch {
	case !m.Canary.Done:
		return "held"
	case m.Canary.Pass:
		return "good"
	}
	return "bad"
}

// trialLift is what a trial brings. While it runs nothing is called better or
// worse: looking early makes chance look like more than it is.
func trialLift(m timing.Model) liftView {
	l := liftOf(m.Canary.Lift, nil, trialAgainst(m))
	if l.known && !m.Canary.Done {
		l.words = verdict{"So far", "Not judged yet: early figures swing by chance.", "wait"}
	}
	return l
}

// gateWords say how a trial goes, or ended.
func gateWords(m timing.Model) verdict {
	c := m.Canary
	switch {
	case c.Done && c.Pass && m.State == timing.OnTrial:
		return verdict{"It passed. A person may promote it", sentence(c.Reason), "good"}
	case c.Done && c.Pass:
		return verdict{"It passed", sentence(c.Reason), "good"}
	case c.Done:
		return verdict{"It did not pass", sentence(c.Reason), "bad"}
	case m.State != timing.OnTrial:
		return verdict{"The trial ended before it was judged", sentence(c.Reason), "calm"}
	}
	missing := max(0, c.NeededPerArm-min(c.Candidate.N, c.Current.N))
	return verdict{"Still running", "It is judged once, when both groups are full: " + count(missing) + " more messages in the smaller group.", "wait"}
}

// valueLine is what one way to choose the hour would bring.
type valueLine struct {
	name      string
	all       dto.OffPolicy
	value     dto.Estimate // doubly robust
	refused   bool
	effective float64
	n         int
	place     interval
}

// valuesOf are the ways to choose the hour, on one scale.
func valuesOf(o timing.OffPolicy) []valueLine {
	lines := []valueLine{{name: "The model's hours", all: o.Model}, {name: "One best hour for everybody", all: o.Global},
		{name: "A random hour", all: o.Baseline}}
	if o.Current != nil {
		lines = slices.Insert(lines, 1, valueLine{name: "The model in use then", all: *o.Current})
	}
	from, to := math.Inf(1), math.Inf(-1)
	for i := range lines {
		l := &lines[i]
		l.value, l.effective, l.n = l.all.DR, l.all.Effective, l.all.N
		l.refused = l.value.Refused || l.n == 0
		if !l.refused {
			from, to = min(from, l.value.Low), max(to, l.value.High)
		}
	}
	for i := range lines {
		l := &lines[i]
		place := func(v float64) string { return portion(v-from+(to-from)*.05, (to-from)*1.1) }
		l.place = interval{low: place(l.value.Low), width: portion(l.value.High-l.value.Low, (to-from)*1.1), at: place(l.value.Value)}
	}
	return lines
}

// partly reports whether some hours were explored, and some not.
func partly(c chart) bool { return len(c.Explored) > 0 && len(c.Explored) < 24 }

func activityAt(c chart, h int) string {
	if h >= len(c.Rhythm) {
		return "–"
	}
	return share(&c.Rhythm[h])
}

func residualWord(r *float64) string {
	if r == nil {
		return "–"
	}
	return strings.Replace(decimal(*r, 2), "-", "−", 1)
}

// driftWords say what the watch saw.
func driftWords(d timing.Drift) verdict {
	days := count(int64(d.Days)) + " days were looked at. "
	if d.Days == 1 {
		days = "One day was looked at. "
	}
	switch {
	case d.AlarmAt != nil:
		return verdict{"Drift alarm on " + day(d.AlarmAt), sentence(d.Reason), "bad"}
	case d.Days == 0:
		return verdict{"Nothing to tell yet", "The first days are still coming in.", "calm"}
	case d.Threshold > 0 && d.Level > d.Threshold/2:
		return verdict{"Something may be changing", days + "The level is at " + wholeShare(d.Level/d.Threshold) + " of the alarm's threshold.", "wait"}
	}
	return verdict{"It does what it did in its trial", days + "The level is far below the alarm's threshold.", "good"}
}

func stabilityWords(s dto.Stability) string {
	figures := " (stability index " + decimal(s.Index, 3) + ", alarm above " + decimal(s.Threshold, 3) + ")."
	switch {
	case !s.Enough:
		return "Too few people to tell whether their best hours moved" + figures
	case s.Alarm:
		return "People's best hours moved since it was promoted" + figures
	}
	return "People's best hours are where they were when it was promoted" + figures
}

// detail is a line of what a model was made from.
type detail struct {
	name, value string
	mono        bool
}

func detailsOf(m timing.Model) []detail {
	list := []detail{}
	add := func(name, value string) { list = append(list, detail{name: name, value: value}) }
	if s := m.Data; s != nil {
		add("Messages sent", moment(s.From)+" to "+moment(s.Until))
		add("Explored", count(s.Deliveries)+" messages at random hours, "+count(s.Responses)+" responses, worth "+count(s.Comparing)+" for comparing hours within people")
		add("Left out", count(s.DroppedOverlap)+" with another message to the person within "+s.ResponseWindow.String()+", "+
			count(s.DroppedLate)+" sent more than an hour late")
		add("People", count(int64(s.People))+", "+count(int64(s.WithPreference))+" of them stated hours they prefer")
		add("A response counts for", s.ResponseWindow.String()+" after sending")
		add("Local hours explored", hoursList(s.Slots))
	}
	if p := m.Parameters; p != nil {
		add("Kinds of people", strconv.Itoa(p.K))
		add("Weights", "c "+decimal(p.C[0], 3)+", "+decimal(p.C[1], 3)+", "+decimal(p.C[2], 3))
		add("Smoothing", "prior "+decimal(p.Prior, 1)+", bandwidth "+decimal(p.Bandwidth, 2)+" h, kappa "+decimal(p.Kappa, 1))
		add("Gain on data held back", decimal(p.Gain, 1)+" nats over one curve for everybody")
	}
	if m.Parent != nil {
		add("In use when it was trained", "version "+strconv.Itoa(*m.Parent))
	}
	if m.ScoredAt != nil {
		add("People's hours computed", moment(*m.ScoredAt))
	}
	list = append(list, detail{"Program", m.Code, true}, detail{"Seed", strconv.FormatUint(m.Seed, 10), true})
	if m.Data != nil && m.Data.Fingerprint != "" {
		list = append(list, detail{"Fingerprint of the data", m.Data.Fingerprint, true})
	}
	return list
}

// hoursList writes 8, 9, 10 and 14 as "8–10, 14".
func hoursList(hours []int) string {
	hours = slices.Compact(slices.Sorted(slices.Values(hours)))
	if len(hours) == 24 {
		return "all"
	}
	var parts []string
	for i := 0; i < len(hours); {
		j := i
		for j+1 < len(hours) && hours[j+1] == hours[j]+1 {
			j++
		}
		part := strconv.Itoa(hours[i])
		if j > i {
			part += "–" + strconv.Itoa(hours[j])
		}
		parts, i = append(parts, part), j+1
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}
