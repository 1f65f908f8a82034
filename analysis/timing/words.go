package timing

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"kairos/dto"
)

// smallestEffect is the size of an effect whose absence a verdict of null
// claims: the best hour about 18 % better than a random one.
const smallestEffect = 0.1

// headline says in a sentence or two what a model found.
func headline(m *record) string {
	switch m.State {
	case Training:
		return "A model is being trained."
	case Failed:
		return "The training failed."
	}
	if m.fit == nil {
		return ""
	}
	switch m.Verdict {
	case dto.Null:
		return fmt.Sprintf("The hour of sending makes no difference: %s to %s would have shown one of about a fifth, and show none.",
			plural(int64(m.fit.Responses), "response", "responses"), plural(int64(m.fit.Deliveries), "message sent at a random hour", "messages sent at random hours"))
	case dto.Global:
		return fmt.Sprintf("The hour matters, and nothing shows that people differ in it: %s is the best hour for everybody%s.%s",
			clock(m.fit.GlobalSlot), aboveAverage(m.fit), broughtMore(m))
	case dto.Clusters:
		return "People differ in their best hour. " + rhythms(m.fit) + broughtMore(m)
	default:
		return tooEarly(int64(m.fit.Deliveries), int64(m.fit.Responses))
	}
}

func rhythms(fit *dto.Model) string {
	if fit.K < 2 {
		return "They do not fall into kinds: each has a rhythm of their own."
	}
	return fmt.Sprintf("%s kinds of rhythm were found.", capital(fit.K))
}

// broughtMore is what sending by the model brought; "" while nothing is known.
func broughtMore(m *record) string {
	l, than := m.Lift, "the usual time"
	if l == nil || l.Estimate == nil || l.Verdict == string(dto.TooFew) {
		if m.Canary == nil || !m.Canary.Done {
			return ""
		}
		l, than = m.Canary.Lift, opponent(m)
	}
	if l == nil || l.Estimate == nil || l.Interval == nil {
		return ""
	}
	how := "Sending each at their own hour"
	if m.Verdict == dto.Global {
		how = "Sending at it"
	}
	return fmt.Sprintf(" %s brought %s responses than %s (95 %% interval %s to %s).", how, moreOrFewer(*l.Estimate), than,
		percent(l.Interval[0]), percent(l.Interval[1]))
}

// opponent is what a model was on trial against.
func opponent(m *record) string {
	if m.Parent == nil {
		return "the usual time"
	}
	return fmt.Sprintf("model %d", *m.Parent)
}

// nextStep says what happens next, or what to do.
func nextStep(m *record) string {
	switch m.State {
	case Training:
		return "It takes seconds to minutes; what plans messages now goes on planning them."
	case Failed:
		return "Nothing has changed for messages. Another training starts within a day; the error says what to look for."
	case Candidate:
		return "It goes on trial as soon as people's hours are computed and no other model is on trial."
	case OnTrial:
		return trialStep(m)
	case Active:
		if m.watch != nil && m.watch.AlarmAt != nil {
			return "It no longer does what it did. " + m.watch.Reason + " A new training is asked for; rolling back is one call."
		}
		return "It plans the optimised messages. It is watched every day, and people's hours follow what they do."
	case Retired:
		return "It plans no more messages."
	}
	switch m.Verdict {
	case dto.NotEnoughData:
		return stillNeeded(m.Needed)
	case dto.Null:
		return "Messages go out at the usual time. A small share goes on trying other hours, so that a change would show."
	case dto.Global, dto.Clusters:
		return "It will not be used. Training goes on with what is explored from now on."
	}
	return ""
}

func trialStep(m *record) string {
	c := m.Canary
	switch {
	case c == nil:
		return "It is on trial."
	case c.Done && c.Pass:
		return "It passed its trial. It waits for a person to promote it."
	case c.Done:
		return "It did not pass its trial."
	}
	return fmt.Sprintf("Model %d is on trial against %s: %.0f %% of the %s that each side needs have been counted.",
		m.Version, opponent(m), math.Floor(100*c.Progress), plural(c.NeededPerArm, "message", "messages"))
}

// verdictReason says why a verdict leads where it does.
func verdictReason(fit *dto.Model, comparing int64) string {
	d := fit.Decision
	switch d.Verdict {
	case dto.Clusters:
		return fmt.Sprintf("People differ in their best hour (%s).", dto.PValue(d.InteractionP))
	case dto.Global:
		return fmt.Sprintf("The hour matters (%s); nothing shows that people differ (%s).", dto.PValue(d.MainP), dto.PValue(d.InteractionP))
	case dto.Null:
		return fmt.Sprintf("No effect of the hour in %s (%s and %s), enough to see one.", plural(int64(fit.Responses), "response", "responses"), dto.PValue(d.MainP), dto.PValue(d.InteractionP))
	}
	return tooEarly(int64(fit.Deliveries), int64(fit.Responses)) + fewHours(fit, comparing) + " " + stillNeeded(neededFor(d, fit.Responses))
}

// fewHours says that many responses may compare little.
func fewHours(fit *dto.Model, comparing int64) string {
	if fit.Deliveries < dto.MinExploration || 2*float64(comparing) >= fit.Responses {
		return ""
	}
	return " Hours are compared within people, and most people were tried at one hour only."
}

// judgement is the outcome of a trial in words.
func judgement(m *record, g dto.Gate) string {
	if g.Pass {
		return fmt.Sprintf("It brought %s responses than %s (95 %% interval %s to %s), and people did not leave or complain more.",
			moreOrFewer(g.Lift.Relative), opponent(m), percent(g.Lift.RelativeLow), percent(g.Lift.RelativeHigh))
	}
	if g.Lower > 0 { // better, and yet it may not pass
		return fmt.Sprintf("It did not pass its trial against %s: %s.", opponent(m), g.Reason)
	}
	reason := g.Reason
	if strings.HasSuffix(reason, "are needed") { // for an effect smaller than the trial was made for
		reason = "the candidate is not shown to be better"
	}
	return fmt.Sprintf("It did not pass its trial against %s: %s responses (95 %% interval %s to %s); %s.",
		opponent(m), moreOrFewer(g.Lift.Relative), percent(g.Lift.RelativeLow), percent(g.Lift.RelativeHigh), reason)
}

func tooEarly(deliveries, responses int64) string {
	if deliveries == 0 {
		return "It is too early to tell whether the hour of sending matters: nothing was sent at a random hour yet."
	}
	return fmt.Sprintf("It is too early to tell whether the hour of sending matters: %s brought %s.",
		plural(deliveries, "message sent at a random hour", "messages sent at random hours"), plural(responses, "response", "responses"))
}

func stillNeeded(n *Needed) string {
	if n == nil || n.Deliveries <= 0 {
		return "A new training will tell."
	}
	return fmt.Sprintf("About %s sent at random hours %s needed. Campaigns that choose the hour explore by themselves.",
		plural(n.Deliveries, "more message", "more messages"), map[bool]string{true: "is", false: "are"}[n.Deliveries == 1])
}

// aboveAverage compares the best hour with the average one.
func aboveAverage(fit *dto.Model) string {
	if fit.GlobalSlot < 0 {
		return ""
	}
	if more := fit.Curve[fit.GlobalSlot] - 1; more > 0.005 {
		return fmt.Sprintf(", about %.0f %% above the average hour", 100*more)
	}
	return ""
}

func clock(hour int) string {
	if hour < 0 {
		return "no hour"
	}
	return fmt.Sprintf("%02d:00", hour)
}

func moreOrFewer(lift float64) string {
	if lift < 0 {
		return fmt.Sprintf("%.0f %% fewer", -100*lift)
	}
	return fmt.Sprintf("%.0f %% more", 100*lift)
}

func percent(x float64) string {
	return fmt.Sprintf("%.0f %%", 100*math.Min(x, 1e4))
}

func capital(n int) string {
	words := [...]string{"No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten"}
	if n < len(words) {
		return words[n]
	}
	return fmt.Sprint(n)
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// thousands writes a count as people read it: 12,345.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
