package dashboard

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"kairos"
	"kairos/analysis"
	"kairos/analysis/timing"
	"kairos/dto"
)

var modelStates = map[string]phrase{
	timing.Training:  {"Training", "busy", "It is being trained."},
	timing.Failed:    {"Failed", "bad", "The training ended with an error; nothing changed."},
	timing.Candidate: {"Waiting for a trial", "wait", "Good enough for a trial; another model is on trial now."},
	timing.OnTrial:   {"On trial", "odd", "It plans a share of the optimised messages, beside what is used now."},
	timing.Active:    {"In use", "good", "It plans the optimised messages."},
	timing.Retired:   {"Retired", "calm", "It was in use."},
	timing.Rejected:  {"Not used", "calm", "The verdict, the trial or a person said so."},
}

var timingVerdicts = map[string]phrase{
	"":                        {"No verdict yet", "busy", "It is not trained."},
	string(dto.NotEnoughData): {"Not enough data", "wait", "Too few responses were explored to tell."},
	string(dto.Null):          {"The hour doesn't matter", "calm", "An effect worth speaking of would have shown, and none did."},
	string(dto.Global):        {"One best hour", "good", "The hour matters, and people do not differ in it."},
	string(dto.Clusters):      {"People differ", "good", "The hour matters, and people differ in it."},
}

// headlineOf is the verdict in a sentence.
func headlineOf(v dto.Verdict, headline string) string {
	if headline != "" {
		return headline
	}
	return phraseOf(timingVerdicts, string(v)).word + "."
}

// parts cuts a headline after its first clause: the rest is shown smaller.
func parts(headline string) (first, rest string) {
	for i := range headline {
		if i > 20 && i+1 < len(headline) && headline[i+1] == ' ' && strings.IndexByte(".:;", headline[i]) >= 0 {
			return strings.TrimRight(headline[:i], ".:;") + ".", sentence(headline[i+2:])
		}
	}
	return headline, ""
}

func firstPart(headline string) string {
	first, _ := parts(headline)
	return first
}

var actionWords = map[string]phrase{
	"requested": {"Training asked for", "busy", ""}, "trained": {"Trained", "calm", ""}, "failed": {"Training failed", "bad", ""},
	"canary": {"Put on trial", "odd", ""}, "judged": {"Trial judged", "odd", ""}, "promoted": {"Promoted", "good", ""},
	"rejected": {"Rejected", "calm", ""}, "rolled_back": {"Rolled back", "bad", ""}, "retired": {"Retired", "calm", ""},
	"drifted": {"Drift alarm", "bad", ""},
}

// momentWords say when the messages of an arm go out.
var momentWords = map[string]string{
	string(kairos.ArmControl): "at the usual time", string(kairos.ArmExplore): "at a random hour",
	string(kairos.ArmOptimised): "at the hour chosen for them", string(kairos.ArmPreferred): "at an hour they asked for",
	string(kairos.ArmHoldout): "never", string(kairos.ArmAll): "at one time for everybody",
}

// armLine is one arm of a comparison.
type armLine struct {
	name, moment string
	n, responses int64
	rate         *float64
}

func armLineOf(a timing.Arm) armLine {
	return armLine{armWord(kairos.Arm(a.Arm)), momentWords[a.Arm], a.N, a.Responses, a.Rate}
}

func armLines(arms []timing.Arm) []armLine {
	lines := make([]armLine, len(arms))
	for i, a := range arms {
		lines[i] = armLineOf(a)
	}
	return lines
}

// trialLines are the arms of a trial.
func trialLines(m timing.Model) []armLine {
	candidate, current, control := armLineOf(m.Canary.Candidate), armLineOf(m.Canary.Current), armLineOf(m.Canary.Control)
	candidate.name, candidate.moment = "On trial", "at the hour of model "+strconv.Itoa(m.Version)
	current.name, current.moment = "In use", momentWords[string(kairos.ArmControl)]
	if m.Parent != nil {
		current.moment = "at the hour of model " + strconv.Itoa(*m.Parent)
	}
	control.name, control.moment = armWord(kairos.ArmControl), momentWords[string(kairos.ArmControl)]
	return []armLine{candidate, current, control}
}

// widestRate is the rate that fills a bar.
func widestRate(lines []armLine) float64 {
	var w float64
	for _, l := range lines {
		if l.rate != nil {
			w = max(w, *l.rate)
		}
	}
	return w
}

func rateOf(l armLine) float64 {
	if l.rate == nil {
		return 0
	}
	return *l.rate
}

// liftView is a comparison of response rates in figure and words.
type liftView struct {
	estimate *float64
	interval *[2]float64
	p        float64
	against  string // what it is compared with
	words    verdict
	needed   *int64
	known    bool
}

// liftOf describes a lift over what "against" says ("the usual time"); nil:
// there is nothing to compare.
func liftOf(l *timing.Lift, needed *int64, against string) liftView {
	if l == nil {
		return liftView{words: verdict{"Nothing to compare yet", "It takes messages to both groups, and responses.", "calm"}, against: against, needed: needed}
	}
	return liftView{estimate: l.Estimate, interval: l.Interval, p: l.P, against: against, needed: needed, known: true,
		words: liftWords(l.Verdict, needed, against)}
}

func liftWords(name string, needed *int64, against string) verdict {
	switch name {
	case analysis.VerdictBetter:
		return verdict{"More responses", "Beyond chance, compared with " + against + ".", "good"}
	case analysis.VerdictWorse:
		return verdict{"Fewer responses", "Beyond chance, compared with " + against + ".", "bad"}
	case analysis.VerdictNoDifference:
		return verdict{"No difference worth speaking of", "The groups are large enough to show one, compared with " + against + ", and there is none.", "calm"}
	}
	if needed != nil && *needed > 0 {
		return verdict{"Too early to tell", "About " + roughly(*needed) + " more messages are needed in the smaller group.", "wait"}
	}
	return verdict{"Too early to tell", "Too few messages or responses so far.", "wait"}
}

// relative writes a lift of 0.124 as "+12.4%".
func relative(f *float64) string {
	switch {
	case f == nil || math.IsNaN(*f):
		return "–"
	case *f > 10:
		return "over +1,000%"
	}
	s := strconv.FormatFloat(math.Abs(*f)*100, 'f', 1, 64) + "%"
	if *f < 0 && s != "0.0%" {
		return "−" + s
	}
	return "+" + s
}

// chance writes a p-value.
func chance(p float64) string { return dto.PValue(p) }

// hourWord writes a local hour of day as "19:00–20:00".
func hourWord(h int) string {
	if h < 0 || h > 23 {
		return "none was explored"
	}
	return fmt.Sprintf("%02d:00–%02d:00", h, (h+1)%24)
}

// wholeShare writes a share of 0.25 as "25%".
func wholeShare(f float64) string { return strconv.FormatFloat(f*100, 'f', 0, 64) + "%" }

func decimal(f float64, digits int) string { return strconv.FormatFloat(f, 'f', digits, 64) }

// exploredOf is how far exploration has come towards a verdict, and in words.
func exploredOf(s timing.Standing) (share float64, words string) {
	explored := count(s.Responses) + " responses to " + count(s.Exposures) + " messages at random hours"
	n := s.Needed
	switch {
	case s.Exposures == 0 && n == nil:
		return 0, "Nothing was explored yet."
	case n == nil || n.Responses <= 0 && n.Deliveries <= 0:
		return 1, explored + ": enough for a verdict."
	case n.Responses > 0:
		return float64(s.Responses) / float64(s.Responses+n.Responses),
			explored + ", of about " + roughly(s.Responses+n.Responses) + " responses that a verdict needs."
	}
	return float64(s.Exposures) / float64(s.Exposures+n.Deliveries),
		explored + ", of about " + roughly(s.Exposures+n.Deliveries) + " messages that a verdict needs."
}

// testLine is one test in words and figures.
type testLine struct {
	question, answer, words, figures string
	yes                              bool
}

func testLines(t timing.Tests) []testLine {
	line := func(question, yes, no string, x timing.Test) testLine {
		l := testLine{question: question, yes: x.AdjustedP <= t.Alpha}
		l.answer, l.words = "Not shown", no
		if l.yes {
			l.answer, l.words = "Yes", yes
		}
		if x.DF > 0 {
			l.figures = "chi-square " + decimal(x.Statistic, 1) + ", " + strconv.Itoa(x.DF) + " degrees of freedom, "
		} else {
			l.figures = "z " + decimal(x.Statistic, 2) + ", "
		}
		l.figures += chance(x.P) + ", " + "adjusted for two tests " + chance(x.AdjustedP) + ", " + count(int64(x.People)) + " people carry information"
		return l
	}
	return []testLine{
		line("Does the hour matter?", "Responses differ between hours by more than chance would make them.",
			"The differences that were seen between hours could be chance.", t.Main),
		line("Do people differ?", "Kinds of people respond at hours of their own, by more than chance would make it seem.",
			"The differences that were seen between people could be chance.", t.Interaction),
	}
}

// day writes a date.
func day(t *time.Time) string {
	if t == nil {
		return "–"
	}
	return t.UTC().Format("2 Jan 2006")
}

// small writes a significance level.
func small(a float64) string { return strconv.FormatFloat(a, 'g', 2, 64) }

// floor rounds a progress down: 100 % means all.
func floor(share float64) float64 { return math.Floor(share*100) / 100 }

func exploredTone(share float64) string {
	if share >= 1 {
		return "good"
	}
	return "held"
}

// trainWords say when the next training comes by itself.
func trainWords(s timing.Standing) string {
	if s.TrainAt == nil && s.Canary != nil {
		return "No training starts by itself while a model is on trial."
	}
	if s.TrainAt == nil {
		return "No training is planned by itself."
	}
	return "The next training starts by itself on " + moment(*s.TrainAt) + "."
}

// listWords are the verdict of a model in a list.
func listWords(m timing.Model) string {
	switch {
	case m.Error != "":
		return m.Error
	case m.Headline != "":
		return firstPart(m.Headline)
	case m.Verdict == "":
		return "–"
	}
	return headlineOf(m.Verdict, "")
}

func actorWord(name string) string {
	if name == "kairos" {
		return "Kairos, by its rules"
	}
	return name
}

var numberWords = []string{"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"}

// spelled writes a small number as a word.
func spelled(n int) string {
	if n >= 0 && n < len(numberWords) {
		return numberWords[n]
	}
	return strconv.Itoa(n)
}

// typed is what stood in a form's reason.
func typed(form decision, name string) string {
	if form.step != name {
		return ""
	}
	return form.by.Reason
}
