package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"kairos/analysis"
)

// reportQuery names the campaign and the form of a report.
type reportQuery struct {
	Campaign ID `query:"campaign" required:"true"`
	ReportForm
}

// ReportForm is the form that is asked for.
type ReportForm struct {
	Format string `query:"format" enum:"json,csv,parquet" doc:"Default: what Accept asks for, else json."`
	Accept string `header:"Accept" hidden:"true"`
}

// form decides between json and csv.
func (q *ReportForm) form() (string, error) {
	switch {
	case q.Format == "parquet" || q.Format == "" && strings.Contains(q.Accept, "parquet"):
		return "", newProblem(http.StatusNotAcceptable, "Reports are not to be had as Parquet. Ask for csv or json.", "query.format", "must be csv or json")
	case q.Format != "":
		return q.Format, nil
	case prefersCSV(q.Accept):
		return "csv", nil
	}
	return "json", nil
}

// prefersCSV reports whether text/csv comes before JSON in an Accept header.
func prefersCSV(accept string) bool {
	for part := range strings.SplitSeq(accept, ",") {
		media, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		switch strings.ToLower(strings.TrimSpace(media)) {
		case "text/csv":
			return true
		case "application/json", "*/*", "application/*":
			return false
		}
	}
	return false
}

type reportOutput struct {
	ContentType string `header:"Content-Type" hidden:"true"`
	Disposition string `header:"Content-Disposition" hidden:"true"`
	Vary        string `header:"Vary" hidden:"true"`
	Body        []byte
}

// FunnelReport is the answer of GET /v1/reports/funnel.
type FunnelReport struct {
	Campaign  ID                      `json:"campaign"`
	AsOf      time.Time               `json:"as_of" doc:"Everything recorded until then is in."`
	Steps     []FunnelStep            `json:"steps" doc:"planned sent delivered opened clicked viewed cta offer_accepted offer_declined paid"`
	ByArm     map[string][]FunnelStep `json:"by_arm"`
	ByChannel map[string][]FunnelStep `json:"by_channel"`
	Apart     []FunnelStep            `json:"apart" doc:"What is no step: held out, skipped, bounced, complained, unsubscribed, opens and clicks of machines."`
}

// FunnelStep is one line of a funnel.
type FunnelStep struct {
	Step           string   `json:"step"`
	Unique         int64    `json:"unique"`
	Total          int64    `json:"total"`
	RateOfPrevious *float64 `json:"rate_of_previous"`
	RateOfSent     *float64 `json:"rate_of_sent"`
}

// ROIReport is the answer of GET /v1/reports/roi.
type ROIReport struct {
	Campaign        ID                `json:"campaign"`
	AsOf            time.Time         `json:"as_of"`
	Currency        string            `json:"currency"`
	Attributed      AttributedReturn  `json:"attributed"`
	Incremental     IncrementalReturn `json:"incremental"`
	Cost            CostReport        `json:"cost"`
	ROI             *float64          `json:"roi" doc:"(attributed revenue - cost) / cost; null without a cost."`
	ROIIncremental  *float64          `json:"roi_incremental" doc:"The same of the incremental revenue; null without a holdout."`
	OtherCurrencies []ForeignTakings  `json:"other_currencies" doc:"Never added up."`
}

// AttributedReturn is what followed an open, a click or the message's token.
type AttributedReturn struct {
	Conversions int64  `json:"conversions"`
	Revenue     Amount `json:"revenue"`
}

// IncrementalReturn is what came beyond what the held out brought.
type IncrementalReturn struct {
	Conversions         *float64   `json:"conversions"`
	ConversionsInterval *[]float64 `json:"conversions_interval" doc:"95 %"`
	Revenue             *Amount    `json:"revenue"`
	Interval            *[]Amount  `json:"interval" doc:"Of revenue, 95 %."`
	Verdict             string     `json:"verdict" doc:"better, worse, no_detectable_difference or not_enough_data"`
	Needed              *int64     `json:"needed" doc:"People in all at which the difference would show."`
	Treated             int64      `json:"treated"`
	HeldOut             int64      `json:"held_out"`
}

// CostReport is what a campaign cost.
type CostReport struct {
	Fixed    Amount `json:"fixed"`
	Messages Amount `json:"messages"`
	Total    Amount `json:"total"`
}

// ForeignTakings is the money side in another currency.
type ForeignTakings struct {
	Currency    string            `json:"currency"`
	Attributed  AttributedReturn  `json:"attributed"`
	Incremental IncrementalReturn `json:"incremental"`
}

func (a *server) reports() {
	report[FunnelReport](a, "funnel", "Get a campaign's funnel", "Unique and total by step, arm and channel, with rates. Machine opens and clicks are kept apart.",
		func(ctx context.Context, q *reportQuery) (any, func(*bytes.Buffer) error, error) {
			f, err := a.opts.Analysis.Funnel(ctx, q.Campaign.ID)
			return f, func(b *bytes.Buffer) error { return analysis.WriteFunnelCSV(b, f) }, err
		})
	report[ROIReport](a, "roi", "Get a campaign's return on investment", "Attributed, and incremental against the holdout with its interval, beside the cost.",
		func(ctx context.Context, q *reportQuery) (any, func(*bytes.Buffer) error, error) {
			r, err := a.opts.Analysis.ROI(ctx, q.Campaign.ID)
			return r, func(b *bytes.Buffer) error { return analysis.WriteROICSV(b, r) }, err
		})
	a.timing()
}

// asCSV ends the description of everything that is to be had as a table too.
const asCSV = " As CSV with `Accept: text/csv` or `?format=csv`, safe to open in a spreadsheet."

// report registers one report on a campaign; W is the shape of its JSON, which
// the value's own encoding has.
func report[W any](a *server, name, summary, about string, make func(context.Context, *reportQuery) (any, func(*bytes.Buffer) error, error)) {
	path := "/v1/reports/" + name
	handle(a, call{method: http.MethodGet, path: path, id: "report-" + name, tag: "Reports", summary: summary,
		about: about + asCSV, scopes: []string{ScopeReports}, errors: []int{404, 406}},
		func(ctx context.Context, q *reportQuery) (*reportOutput, error) {
			form, err := q.form()
			if err != nil {
				return nil, err
			}
			value, csv, err := make(ctx, q)
			if err != nil {
				return nil, err
			}
			return writeReport(form, fmt.Sprintf("%s-%s", name, q.Campaign.ID), value, csv)
		})
	documentReport[W](a, path)
}

// writeReport answers with a value as JSON, or as CSV under a file's name.
func writeReport(form, file string, value any, csv func(*bytes.Buffer) error) (*reportOutput, error) {
	out, b := &reportOutput{ContentType: "application/json", Vary: "Accept"}, &bytes.Buffer{}
	var err error
	if form == "csv" {
		out.ContentType = "text/csv; charset=utf-8"
		out.Disposition = fmt.Sprintf(`attachment; filename="%s.csv"`, file)
		err = csv(b)
	} else {
		err = json.NewEncoder(b).Encode(value)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", file, err)
	}
	out.Body = b.Bytes()
	return out, nil
}

// documentReport describes what writeReport answers on a path; W is the shape
// of the JSON.
func documentReport[W any](a *server, path string) {
	schema := huma.SchemaFromType(a.api.OpenAPI().Components.Schemas, reflect.TypeFor[W]())
	a.api.OpenAPI().Paths[path].Get.Responses["200"].Content = map[string]*huma.MediaType{
		"application/json": {Schema: schema}, "text/csv": {Schema: &huma.Schema{Type: "string"}},
	}
}
