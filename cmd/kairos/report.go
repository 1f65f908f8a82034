package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

type reportCmd struct {
	Funnel reportFunnelCmd `cmd:"" help:"Print who was sent, opened, clicked, paid."`
	ROI    reportROICmd    `cmd:"" name:"roi" help:"Print revenue, cost and return, attributed and incremental."`
}

// oneReport names a campaign's report.
type oneReport struct {
	client
	ID  string `arg:"" help:"The campaign's id."`
	CSV bool   `name:"csv" help:"Print CSV."`
}

// run prints the report: words, JSON or CSV.
func (c *oneReport) run(ctx context.Context, t *terminal, kind string, words func([]byte) (string, error)) error {
	path := "/v1/reports/" + kind + "?campaign=" + c.ID
	if c.CSV {
		return c.get(ctx, path+"&format=csv", t.out)
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
