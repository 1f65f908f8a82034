package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// report is a run.
type report struct {
	Conditions string    `json:"conditions"`
	Seed       uint64    `json:"seed"`
	Size       string    `json:"size"`
	Results    []*result `json:"results"`
}

// result is what came of a scenario. In the scenarios of group 6 the
// recipients are hits, and accepted are those that were acknowledged.
type result struct {
	Scenario   string          `json:"scenario"`
	Group      int             `json:"group"`
	Seed       uint64          `json:"seed"`
	Full       bool            `json:"full"`
	Faults     int             `json:"faults"`
	Recipients int             `json:"recipients"`
	Accepted   int             `json:"accepted"`
	Duplicates int             `json:"duplicates"`
	Missing    int             `json:"missing"`
	Unknown    int             `json:"unknown"` // at the end
	Allowed    int             `json:"unknown_allowed"`
	Resolved   int             `json:"resolved"` // attempts that evidence settled
	TakeOvers  []time.Duration `json:"take_overs_ns,omitempty"`
	Resumed    []time.Duration `json:"resumed_ns,omitempty"` // a worker was free for the last of a victim's batches
	Seconds    float64         `json:"seconds"`
	Notes      []string        `json:"notes,omitempty"`
	Skipped    string          `json:"skipped,omitempty"`
	Breaches   []string        `json:"breaches,omitempty"`
}

func (r *result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *result) takeOver() time.Duration { return percentile(r.TakeOvers) }

// percentile is the 99th: with fewer than a hundred, the longest.
func percentile(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	all := slices.Sorted(slices.Values(took))
	return all[(len(all)*99+99)/100-1]
}

func (r *result) verdict() string {
	switch {
	case r.Skipped != "":
		return "skipped: " + r.Skipped
	case len(r.Breaches) > 0:
		words := make([]string, 0, len(r.Breaches))
		for _, b := range slices.Compact(slices.Sorted(slices.Values(r.Breaches))) {
			words = append(words, cmp.Or(strings.Split(b, "\n")[0], "?"))
		}
		return "BROKEN: " + strings.Join(words, "; ")
	}
	return "holds"
}

func (r *result) words() string {
	s := fmt.Sprintf("%s (%.1f s)", r.verdict(), r.Seconds)
	if len(r.Notes) > 0 {
		s += ": " + strings.Join(r.Notes, "; ")
	}
	if len(r.Breaches) > 0 {
		s += fmt.Sprintf("; again: make repro-%s SEED=%d", r.Scenario, r.Seed)
		if r.Full {
			s += " SIZE=full"
		}
		for _, b := range r.Breaches { // in full: a log's end may be among them
			s += "\n          " + b
		}
	}
	return s
}

func (r *report) broken() (names []string) {
	for _, x := range r.Results {
		if len(x.Breaches) > 0 {
			names = append(names, x.Scenario)
		}
	}
	return names
}

// markdown is the table for docs/reliability.md, and below it what can't be
// said in a cell.
func (r *report) markdown() string {
	var b strings.Builder
	row := func(cells ...string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	fmt.Fprintf(&b, "%s; seed %d, %s sizes.\n\n", r.Conditions, r.Seed, r.Size)
	head := []string{"group", "scenario", "faults", "recipients", "accepted", "duplicates", "missing", "unknown (allowed)", "resolved", "take-over p99", "seconds", "verdict"}
	row(head...)
	row(strings.Split(strings.Repeat("---,", len(head)-1)+"---", ",")...)
	for _, x := range r.Results {
		took := "-"
		if len(x.TakeOvers) > 0 {
			took = fmt.Sprintf("%.1f s", x.takeOver().Seconds())
		}
		unknown := fmt.Sprint(x.Unknown)
		if x.Allowed > 0 {
			unknown = fmt.Sprintf("%d (%d)", x.Unknown, x.Allowed)
		}
		row(fmt.Sprint(x.Group), x.Scenario, fmt.Sprint(x.Faults), fmt.Sprint(x.Recipients), fmt.Sprint(x.Accepted), fmt.Sprint(x.Duplicates),
			fmt.Sprint(x.Missing), unknown, fmt.Sprint(x.Resolved), took, fmt.Sprintf("%.0f", x.Seconds), strings.ReplaceAll(x.verdict(), "|", "/"))
	}
	b.WriteString("\n")
	for _, x := range r.Results {
		if len(x.Notes) > 0 {
			fmt.Fprintf(&b, "- %s: %s.\n", x.Scenario, strings.Join(x.Notes, "; "))
		}
	}
	return b.String()
}
