package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
)

type reportCmd struct {
	Funnel reportFunnelCmd `cmd:"" help:"Print who was sent, opened, clicked, paid."`
	ROI    reportROICmd    `cmd:"" name:"roi" help:"Print revenue, cost and return, attributed and incremental."`
	Timing reportTimingCmd `cmd:"" help:"Print whether the chosen moments brought more responses than the usual time, of a campaign or over a period."`
}

// oneReport names a campaign's report.
type oneReport struct {
	client
	ID string `arg:"" help:"The campaign's id."`
	tableForm
}

// tableForm asks for a table in place of words.
type tableForm struct {
	CSV     bool `name:"csv" help:"Print CSV." xor:"table"`
	Parquet bool `name:"parquet" help:"Print Parquet: for a file or a pipe." xor:"table"`
}

// form is the table asked for, "" for none.
func (f tableForm) form() string {
	switch {
	case f.CSV:
		return "csv"
	case f.Parquet:
		return "parquet"
	}
	return ""
}

// run prints the report: words, JSON or a table.
func (c *oneReport) run(ctx context.Context, t *terminal, kind string, words func([]byte) (string, error)) error {
	return c.printReport(ctx, t, "/v1/reports/"+kind+"?campaign="+url.QueryEscape(c.ID), c.tableForm, words)
}

// printReport prints what a path with a query answers: words, JSON or a table.
func (c *client) printReport(ctx context.Context, t *terminal, path string, table tableForm, words func([]byte) (string, error)) error {
	if form := table.form(); form != "" {
		return c.printTable(ctx, t, path+"&format="+form, form)
	}
	var raw json.RawMessage
	if err := c.get(ctx, path, &raw); err != nil {
		return err
	}
	if t.json {
		return t.print(raw, "")
	}
	s, err := words(raw)
	if err != nil {
		return err
	}
	return t.print(nil, s)
}

var errUnreadable = errors.New("a screen can't show Parquet: end the line with > FILE.parquet")

// printTable prints what a path answers as it is. A terminal can't show Parquet.
func (c *client) printTable(ctx context.Context, t *terminal, path, form string) error {
	if form == "parquet" && t.shown() {
		return errUnreadable
	}
	return c.get(ctx, path, t.out)
}

type reportFunnelCmd struct{ oneReport }

// Run prints the funnel.
func (c *reportFunnelCmd) Run(ctx context.Context, t *terminal) error {
	return c.run(ctx, t, "funnel", funnelWords)
}

type reportROICmd struct{ oneReport }

// Run prints the return on investment.
func (c *reportROICmd) Run(ctx context.Context, t *terminal) error {
	return c.run(ctx, t, "roi", roiWords)
}

// funnelAnswer is the funnel report's shape.
type funnelAnswer struct {
	Campaign string    `json:"campaign"`
	AsOf     time.Time `json:"as_of"`
	Steps    []struct {
		Step           string   `json:"step"`
		Unique         int64    `json:"unique"`
		Total          int64    `json:"total"`
		RateOfPrevious *float64 `json:"rate_of_previous"`
		RateOfSent     *float64 `json:"rate_of_sent"`
	} `json:"steps"`
}

func funnelWords(raw []byte) (string, error) {
	var f funnelAnswer
	if err := json.Unmarshal(raw, &f); err != nil {
		return "", fmt.Errorf("read funnel: %w", err)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "step\tpeople\ttotal\tof previous\tof sent\t")
	for _, s := range f.Steps {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t\n", s.Step, s.Unique, s.Total, percent(s.RateOfPrevious), percent(s.RateOfSent))
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	return strings.TrimRight(b.String(), "\n"), nil
}

func percent(p *float64) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100**p)
}

// roiAnswer is the ROI report's shape.
type roiAnswer struct {
	Campaign   string `json:"campaign"`
	Currency   string `json:"currency"`
	Attributed struct {
		Conversions int64  `json:"conversions"`
		Revenue     string `json:"revenue"`
	} `json:"attributed"`
	Incremental struct {
		Conversions *float64  `json:"conversions"`
		Revenue     *string   `json:"revenue"`
		Interval    []*string `json:"interval"`
		Verdict     string    `json:"verdict"`
		Needed      *int64    `json:"needed"`
	} `json:"incremental"`
	Cost struct {
		Fixed    string `json:"fixed"`
		Messages string `json:"messages"`
		Total    string `json:"total"`
	} `json:"cost"`
	ROI            *float64 `json:"roi"`
	ROIIncremental *float64 `json:"roi_incremental"`
}

func roiWords(raw []byte) (string, error) {
	var r roiAnswer
	if err := json.Unmarshal(raw, &r); err != nil {
		return "", fmt.Errorf("read roi: %w", err)
	}
	return r.words(), nil
}

func (r *roiAnswer) words() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "attributed\t%d payments\t%s %s\n", r.Attributed.Conversions, r.Attributed.Revenue, r.Currency)
	inc := r.Incremental
	if inc.Revenue != nil && len(inc.Interval) == 2 && inc.Interval[0] != nil && inc.Interval[1] != nil {
		fmt.Fprintf(w, "incremental\t%.1f payments\t%s %s, 95 %% interval %s to %s\n", *inc.Conversions, *inc.Revenue, r.Currency, *inc.Interval[0], *inc.Interval[1])
	} else {
		fmt.Fprintln(w, "incremental\tnot known\tno holdout to compare with")
	}
	verdict := strings.ReplaceAll(inc.Verdict, "_", " ")
	if inc.Needed != nil {
		verdict += fmt.Sprintf(", about %d people needed", *inc.Needed)
	}
	fmt.Fprintf(w, "verdict\t%s\n", verdict)
	fmt.Fprintf(w, "cost\t%s fixed + %s messages\t%s %s\n", r.Cost.Fixed, r.Cost.Messages, r.Cost.Total, r.Currency)
	fmt.Fprintf(w, "return\tattributed %s\tincremental %s\n", ratio(r.ROI), ratio(r.ROIIncremental))
	_ = w.Flush() // a strings.Builder takes everything
	return strings.TrimRight(b.String(), "\n")
}

func ratio(f *float64) string {
	if f == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *f)
}

type reportTimingCmd struct {
	client
	ID    string    `arg:"" optional:"" help:"The campaign's id; none: all campaigns of a period."`
	From  time.Time `help:"Campaigns whose first message was sent then or later, such as 2026-03-01T00:00:00Z." placeholder:"TIME"`
	Until time.Time `help:"And before then. Default: now." placeholder:"TIME"`
	tableForm
}

// Validate implements kong's hook.
func (c *reportTimingCmd) Validate() error {
	if period := !c.From.IsZero() || !c.Until.IsZero(); period == (c.ID != "") {
		return errors.New("give a campaign's id, or a period with --from, --until or both")
	}
	return nil
}

// Run prints the timing report.
func (c *reportTimingCmd) Run(ctx context.Context, t *terminal) error {
	q := url.Values{}
	if c.ID != "" {
		q.Set("campaign", c.ID)
	}
	for name, at := range map[string]time.Time{"from": c.From, "until": c.Until} {
		if !at.IsZero() {
			q.Set(name, at.Format(time.RFC3339))
		}
	}
	return c.printReport(ctx, t, "/v1/reports/timing?"+q.Encode(), c.tableForm, timingWords)
}

// timingAnswer is the timing report's shape.
type timingAnswer struct {
	Campaign  string    `json:"campaign"`
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	Campaigns int       `json:"campaigns"`
	Models    []int     `json:"models"`
	Note      string    `json:"note"`

	Verdict string `json:"verdict"`
	Needed  *int64 `json:"needed"`
	Arms    []struct {
		Arm       string   `json:"arm"`
		N         int64    `json:"n"`
		Responses int64    `json:"responses"`
		Rate      *float64 `json:"rate"`
	} `json:"arms"`
	Lift *struct {
		Estimate *float64  `json:"estimate"`
		Interval []float64 `json:"interval"`
		P        float64   `json:"p"`
	} `json:"lift"`
	SRM *struct {
		P  float64 `json:"p"`
		OK bool    `json:"ok"`
	} `json:"srm"`
}

func timingWords(raw []byte) (string, error) {
	var r timingAnswer
	if err := json.Unmarshal(raw, &r); err != nil {
		return "", fmt.Errorf("read timing: %w", err)
	}
	return r.words(), nil
}

func (r *timingAnswer) words() string {
	moments := map[string]string{"control": "at the usual time", "explore": "at a random hour", "optimised": "at the chosen hour",
		"preferred": "at an hour they asked for", "all": "at one time for everybody"}
	var b strings.Builder
	if !r.Until.IsZero() {
		from := "ever"
		if !r.From.IsZero() {
			from = minute(r.From)
		}
		fmt.Fprintf(&b, "%d campaigns, first sent since %s and before %s\n\n", r.Campaigns, from, minute(r.Until))
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "group\tmessage came\tsent\tresponded\trate")
	for _, a := range r.Arms {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", a.Arm, moments[a.Arm], a.N, a.Responses, percent(a.Rate))
	}
	_ = w.Flush() // a strings.Builder takes everything
	fmt.Fprintf(&b, "\nverdict: %s. %s\n", strings.ReplaceAll(r.Verdict, "_", " "), r.verdictWords())
	if l := r.Lift; l != nil && l.Estimate != nil && len(l.Interval) == 2 {
		fmt.Fprintf(&b, "lift: %+.1f %% responses at the chosen or asked-for hour against the usual time, 95 %% interval %+.1f %% to %+.1f %%, p %.2g\n",
			100**l.Estimate, 100*l.Interval[0], 100*l.Interval[1], l.P)
	}
	if len(r.Models) > 0 {
		fmt.Fprintf(&b, "models that chose: %s\n", strings.Trim(fmt.Sprint(r.Models), "[]"))
	}
	if r.Note != "" {
		fmt.Fprintf(&b, "note: %s\n", r.Note)
	}
	switch {
	case r.SRM == nil:
	case r.SRM.OK:
		fmt.Fprintf(&b, "check: the groups have the sizes they were meant to have (p %.2g)\n", r.SRM.P)
	default:
		fmt.Fprintf(&b, "check: THE GROUPS DO NOT HAVE THE SIZES THEY WERE MEANT TO HAVE (p %.2g). Do not trust the comparison before the cause is found.\n", r.SRM.P)
	}
	return strings.TrimRight(b.String(), "\n")
}

// verdictWords says what the verdict means for the next campaign.
func (r *timingAnswer) verdictWords() string {
	switch {
	case r.Verdict == "better":
		return "The chosen hours brought more responses than the usual time."
	case r.Verdict == "worse":
		return "The chosen hours brought fewer responses than the usual time."
	case r.Verdict == "no_detectable_difference":
		return "The groups are large enough to show a difference that matters, and there is none."
	case r.Needed != nil:
		return fmt.Sprintf("About %d more messages are needed in the smaller group.", *r.Needed)
	case r.Lift == nil:
		return "There is nothing to compare: it takes a schedule with a choice of hours, a control group, and responses."
	}
	return "Nothing can be said yet."
}
