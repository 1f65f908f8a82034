package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"kairos/analysis/timing"
)

// stateWords says a state the way a person would.
func stateWords(state string) string {
	switch state {
	case timing.Training:
		return "being trained"
	case timing.Candidate:
		return "waiting for a trial"
	case timing.OnTrial:
		return "on trial"
	}
	return state // failed, active, retired, rejected
}

func modelLine(m *timing.Model) string {
	verdict := strings.ReplaceAll(string(m.Verdict), "_", " ")
	if verdict == "" {
		verdict = "-"
	}
	line := fmt.Sprintf("%4d  %-19s  %-15s  %s", m.Version, stateWords(m.State), verdict, minute(m.CreatedAt))
	if m.Headline != "" {
		line += "  " + m.Headline
	}
	return line
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// trainedWords says what came of a training: headline, tests, what is needed.
func trainedWords(m *timing.Model) string {
	var b strings.Builder
	fmt.Fprintf(&b, "model %d, %s", m.Version, stateWords(m.State))
	if m.Headline != "" {
		fmt.Fprintf(&b, ": %s", m.Headline)
	}
	b.WriteString("\n")
	for _, s := range []string{m.Reason, m.Error, m.Next} {
		if s != "" && !strings.Contains(b.String(), s) {
			fmt.Fprintf(&b, "  %s\n", s)
		}
	}
	if d := m.Data; d != nil {
		fmt.Fprintf(&b, "learnt from: %d exploration messages, %d responses, %d people, sent %s to %s\n",
			d.Deliveries, d.Responses, d.People, minute(d.From), minute(d.Until))
		if d.DroppedOverlap+d.DroppedLate > 0 {
			fmt.Fprintf(&b, "left out: %d with another message to the person within %s, %d sent late\n", d.DroppedOverlap, d.ResponseWindow, d.DroppedLate)
		}
	}
	if t := m.Tests; t != nil {
		fmt.Fprintf(&b, "does the hour matter? %s\n", testWords(t.Main, t.Alpha))
		fmt.Fprintf(&b, "do people differ? %s\n", testWords(t.Interaction, t.Alpha))
	}
	if n := m.Needed; n != nil {
		fmt.Fprintf(&b, "still needed for a verdict of null: %d exploration messages, about %d responses\n", n.Deliveries, n.Responses)
	}
	return strings.TrimRight(b.String(), "\n")
}

// testWords says what a test found at its level.
func testWords(t timing.Test, alpha float64) string {
	answer := "not shown"
	if t.AdjustedP < alpha {
		answer = "yes"
	}
	kind := fmt.Sprintf("z %.2f", t.Statistic)
	if t.DF > 0 {
		kind = fmt.Sprintf("chi-square %.1f, %d degrees of freedom", t.Statistic, t.DF)
	}
	return fmt.Sprintf("%s (p %.2g after Holm, level %.2g; %s, %d people)", answer, t.AdjustedP, alpha, kind, t.People)
}

// modelWords is everything about a model that fits a terminal.
func modelWords(m *timing.Model) string {
	var b strings.Builder
	b.WriteString(trainedWords(m) + "\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	if len(m.Clusters) > 0 {
		fmt.Fprintln(w, "\nkind\tpeople\tshare\tbest hour\tthen against the mean hour")
		for _, c := range m.Clusters {
			hour, gain := "-", "-"
			if c.Hour >= 0 && c.Hour < len(c.Curve) {
				hour, gain = fmt.Sprintf("%02d:00", c.Hour), fmt.Sprintf("%+.0f %%", 100*(c.Curve[c.Hour]-1))
				if c.Hour < len(c.Low) && c.Hour < len(c.High) {
					gain += fmt.Sprintf(" (%+.0f to %+.0f)", 100*(c.Low[c.Hour]-1), 100*(c.High[c.Hour]-1))
				}
			}
			fmt.Fprintf(w, "%d\t%d\t%.0f %%\t%s\t%s\n", c.Cluster+1, c.Size, 100*c.Share, hour, gain)
		}
		_ = w.Flush() // a strings.Builder takes everything
	}
	if c := m.Canary; c != nil {
		fmt.Fprintf(&b, "\ntrial since %s: %.0f %% of what is needed (%d messages in each group)\n", minute(c.Since), 100*c.Progress, c.NeededPerArm)
		arms(w, "candidate", &c.Candidate)
		arms(w, "current", &c.Current)
		arms(w, "control", &c.Control)
		_ = w.Flush()
		if s := liftWords(c.Lift, "the current hours"); s != "" {
			fmt.Fprintln(&b, s)
		}
		if c.Done {
			fmt.Fprintf(&b, "judged: %s. %s\n", map[bool]string{true: "passed", false: "not passed"}[c.Pass], c.Reason)
		}
	}
	if len(m.Arms) > 0 {
		b.WriteString("\ncampaigns planned while it was active\n")
		for i := range m.Arms {
			arms(w, m.Arms[i].Arm, &m.Arms[i])
		}
		_ = w.Flush()
		if s := liftWords(m.Lift, "the usual time"); s != "" {
			fmt.Fprintln(&b, s)
		}
		if m.LiftNeeded != nil {
			fmt.Fprintf(&b, "about %d more messages are needed in the smaller group\n", *m.LiftNeeded)
		}
		if m.SRM != nil && !m.SRM.OK {
			fmt.Fprintf(&b, "THE GROUPS DO NOT HAVE THE SIZES THEY WERE MEANT TO HAVE (p %.2g). Do not trust the comparison before the cause is found.\n", m.SRM.P)
		}
	}
	if d := m.Drift; d != nil {
		fmt.Fprintf(&b, "\nwatched for %d days, level %.1f of %.1f", d.Days, d.Level, d.Threshold)
		if d.AlarmAt != nil {
			fmt.Fprintf(&b, "; ALARM %s: %s", minute(*d.AlarmAt), d.Reason)
		}
		b.WriteString("\n")
	}
	if len(m.Decisions) > 0 {
		b.WriteString("\n")
		for _, d := range m.Decisions {
			fmt.Fprintf(w, "%s\t%s\tby %s\t%s\n", minute(d.At), strings.ReplaceAll(d.Action, "_", " "), d.Actor, d.Reason)
		}
		_ = w.Flush()
	}
	return strings.TrimRight(b.String(), "\n")
}

func arms(w *tabwriter.Writer, name string, a *timing.Arm) {
	fmt.Fprintf(w, "  %s\t%d sent\t%d responded\t%s\n", name, a.N, a.Responses, percent(a.Rate))
}

func liftWords(l *timing.Lift, over string) string {
	if l == nil || l.Estimate == nil || l.Interval == nil {
		return ""
	}
	return fmt.Sprintf("lift: %+.1f %% responses against %s, 95 %% interval %+.1f %% to %+.1f %%, p %.2g",
		100**l.Estimate, over, 100*l.Interval[0], 100*l.Interval[1], l.P)
}
