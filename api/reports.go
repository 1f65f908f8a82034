package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"kairos/internal/table"
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

// table is the form of the table that is asked for; false: JSON is.
func (q *ReportForm) table() (table.Form, bool) {
	if q.Format != "" {
		return table.Form(q.Format), q.Format != "json"
	}
	for part := range strings.SplitSeq(q.Accept, ",") {
		media, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		switch strings.ToLower(strings.TrimSpace(media)) {
		case "text/csv":
			return table.CSV, true
		case table.Parquet.MediaType():
			return table.Parquet, true
		case "application/json", "*/*", "application/*":
			return "", false
		}
	}
	return "", false
}

// rows are what a value looks like as a table.
type rows func(io.Writer, table.Form) error

// rowsOf makes rows of structs whose fields are the columns.
func rowsOf[R any](all []R) rows {
	return func(w io.Writer, form table.Form) error { return table.Write(w, form, all) }
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
		func(ctx context.Context, q *reportQuery) (any, rows, error) {
			f, err := a.opts.Analysis.Funnel(ctx, q.Campaign.ID)
			return f, rowsOf(f.Rows()), err
		})
	report[ROIReport](a, "roi", "Get a campaign's return on investment", "Attributed, and incremental against the holdout with its interval, beside the cost.",
		func(ctx context.Context, q *reportQuery) (any, rows, error) {
			r, err := a.opts.Analysis.ROI(ctx, q.Campaign.ID)
			return r, rowsOf(r.Rows()), err
		})
	a.timing()
}

// asTable ends the description of everything that is to be had as a table too.
const asTable = " As a table with `?format=csv` (or `Accept: text/csv`), safe to open in a spreadsheet, or `?format=parquet` (`Accept: application/vnd.apache.parquet`), amounts as decimals and times in UTC."

// report registers one report on a campaign; W is the shape of its JSON, which
// the value's own encoding has.
func report[W any](a *server, name, summary, about string, make func(context.Context, *reportQuery) (any, rows, error)) {
	path := "/v1/reports/" + name
	handle(a, call{method: http.MethodGet, path: path, id: "report-" + name, tag: "Reports", summary: summary,
		about: about + asTable, scopes: []string{ScopeReports}, errors: []int{404}},
		func(ctx context.Context, q *reportQuery) (*reportOutput, error) {
			value, all, err := make(ctx, q)
			if err != nil {
				return nil, err
			}
			return q.write(fmt.Sprintf("%s-%s", name, q.Campaign.ID), value, all)
		})
	documentTable[W](a, path)
}

// write answers with a value as JSON, or as a table under a file's name.
func (q *ReportForm) write(file string, value any, all rows) (*reportOutput, error) {
	out, b := &reportOutput{ContentType: "application/json", Vary: "Accept"}, &bytes.Buffer{}
	var err error
	if form, ok := q.table(); ok {
		out.ContentType = form.MediaType()
		out.Disposition = fmt.Sprintf(`attachment; filename="%s.%s"`, file, form)
		err = all(b, form)
	} else {
		err = json.NewEncoder(b).Encode(value)
	}
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", file, err)
	}
	out.Body = b.Bytes()
	return out, nil
}

// documentTable describes what write answers on a path; W is the shape of the
// JSON.
func documentTable[W any](a *server, path string) {
	schema := huma.SchemaFromType(a.api.OpenAPI().Components.Schemas, reflect.TypeFor[W]())
	a.api.OpenAPI().Paths[path].Get.Responses["200"].Content = map[string]*huma.MediaType{
		"application/json":        {Schema: schema},
		"text/csv":                {Schema: &huma.Schema{Type: "string"}},
		table.Parquet.MediaType(): {Schema: &huma.Schema{Type: "string", Format: "binary"}},
	}
}
