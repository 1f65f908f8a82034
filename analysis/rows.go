package analysis

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"kairos"
)

// FunnelRow is one line of a funnel as a table.
type FunnelRow struct {
	Campaign       string    `parquet:"campaign"`
	AsOf           time.Time `parquet:"as_of,timestamp(microsecond)"`
	Group          string    `parquet:"group"` // all, arm, channel, apart
	Name           string    `parquet:"name"`  // of the arm or channel
	Step           string    `parquet:"step"`
	Unique         int64     `parquet:"unique"`
	Total          int64     `parquet:"total"`
	RateOfPrevious *float64  `parquet:"rate_of_previous"`
	RateOfSent     *float64  `parquet:"rate_of_sent"`
}

// Rows is the funnel as a table: a line for each step of all messages, of each
// arm and of each channel, and of what stands apart.
func (f Funnel) Rows() (rows []FunnelRow) {
	put := func(group, name string, steps []Step) {
		for _, s := range steps {
			rows = append(rows, FunnelRow{f.Campaign.String(), f.AsOf, group, name, s.Step, s.Unique, s.Total, s.RateOfPrevious, s.RateOfSent})
		}
	}
	put("all", "", f.Steps)
	for _, arm := range slices.Sorted(maps.Keys(f.ByArm)) {
		put("arm", arm, f.ByArm[arm])
	}
	for _, channel := range slices.Sorted(maps.Keys(f.ByChannel)) {
		put("channel", channel, f.ByChannel[channel])
	}
	put("apart", "", f.Apart)
	return rows
}

// ROIRow is the return of a campaign in one currency.
type ROIRow struct {
	Campaign                   string         `parquet:"campaign"`
	AsOf                       time.Time      `parquet:"as_of,timestamp(microsecond)"`
	Currency                   string         `parquet:"currency"`
	AttributedConversions      int64          `parquet:"attributed_conversions"`
	AttributedRevenue          kairos.Amount  `parquet:"attributed_revenue,decimal(6:18)"`
	IncrementalConversions     *float64       `parquet:"incremental_conversions"`
	IncrementalConversionsLow  *float64       `parquet:"incremental_conversions_low"`
	IncrementalConversionsHigh *float64       `parquet:"incremental_conversions_high"`
	IncrementalRevenue         *kairos.Amount `parquet:"incremental_revenue,decimal(6:18)"`
	IncrementalLow             *kairos.Amount `parquet:"incremental_low,decimal(6:18)"`
	IncrementalHigh            *kairos.Amount `parquet:"incremental_high,decimal(6:18)"`
	Verdict                    string         `parquet:"verdict"`
	Needed                     *int64         `parquet:"needed"`
	Treated                    int64          `parquet:"treated"`
	HeldOut                    int64          `parquet:"held_out"`
	CostFixed                  *kairos.Amount `parquet:"cost_fixed,decimal(6:18)"`
	CostMessages               *kairos.Amount `parquet:"cost_messages,decimal(6:18)"`
	CostTotal                  *kairos.Amount `parquet:"cost_total,decimal(6:18)"`
	ROI                        *float64       `parquet:"roi"`
	ROIIncremental             *float64       `parquet:"roi_incremental"`
}

// Rows is the report as a table: a line for each currency; the campaign's own
// comes first and alone has a cost side.
func (r ROI) Rows() []ROIRow {
	row := func(currency string, at Attributed, in Incremental) ROIRow {
		out := ROIRow{
			Campaign: r.Campaign.String(), AsOf: r.AsOf, Currency: currency,
			AttributedConversions: at.Conversions, AttributedRevenue: at.Revenue,
			IncrementalConversions: in.Conversions, IncrementalRevenue: in.Revenue,
			Verdict: in.Verdict, Needed: in.Needed, Treated: in.Treated, HeldOut: in.HeldOut,
		}
		if i := in.ConversionsInterval; i != nil {
			out.IncrementalConversionsLow, out.IncrementalConversionsHigh = &i[0], &i[1]
		}
		if i := in.Interval; i != nil {
			out.IncrementalLow, out.IncrementalHigh = &i[0], &i[1]
		}
		return out
	}
	own := row(r.Currency, r.Attributed, r.Incremental)
	own.CostFixed, own.CostMessages, own.CostTotal = &r.Cost.Fixed, &r.Cost.Messages, &r.Cost.Total
	own.ROI, own.ROIIncremental = r.ROI, r.ROIIncremental
	rows := []ROIRow{own}
	for _, o := range r.OtherCurrencies {
		rows = append(rows, row(o.Currency, o.Attributed, o.Incremental))
	}
	return rows
}

// TimingColumns are an arm's figures in a timing report; those of the whole
// campaign or period stand on each.
type TimingColumns struct {
	Arm       string   `parquet:"arm"`
	N         int64    `parquet:"n"`
	Responses int64    `parquet:"responses"`
	Rate      *float64 `parquet:"rate"`
	Verdict   string   `parquet:"verdict"`
	Needed    *int64   `parquet:"needed"`
	Lift      *float64 `parquet:"lift"`
	LiftLow   *float64 `parquet:"lift_low"`
	LiftHigh  *float64 `parquet:"lift_high"`
	P         *float64 `parquet:"p"`
	SRMP      *float64 `parquet:"srm_p"`
	SRMOK     *bool    `parquet:"srm_ok"`
}

// TimingRow is an arm of a campaign.
type TimingRow struct {
	Campaign string `parquet:"campaign"`
	TimingColumns
}

// TimingPeriodRow is an arm over all campaigns of a period.
type TimingPeriodRow struct {
	From  *time.Time `parquet:"from,timestamp(microsecond)"` // nil: since ever
	Until time.Time  `parquet:"until,timestamp(microsecond)"`
	TimingColumns
}

// Rows is the report on a campaign as a table: a line for each arm.
func (r Timing) Rows() (rows []TimingRow) {
	for _, c := range r.columns() {
		rows = append(rows, TimingRow{r.Campaign.String(), c})
	}
	return rows
}

// PeriodRows is the report over a period as a table: a line for each arm.
func (r Timing) PeriodRows() (rows []TimingPeriodRow) {
	var from *time.Time
	if !r.From.IsZero() {
		from = &r.From
	}
	for _, c := range r.columns() {
		rows = append(rows, TimingPeriodRow{from, r.Until, c})
	}
	return rows
}

func (r Timing) columns() (rows []TimingColumns) {
	whole := TimingColumns{Verdict: r.Verdict, Needed: r.Needed}
	if l := r.Lift; l != nil {
		whole.Lift, whole.P = l.Estimate, &l.P
		if l.Interval != nil {
			whole.LiftLow, whole.LiftHigh = &l.Interval[0], &l.Interval[1]
		}
	}
	if r.SRM != nil {
		whole.SRMP, whole.SRMOK = &r.SRM.P, &r.SRM.OK
	}
	for _, a := range r.Arms {
		row := whole
		row.Arm, row.N, row.Responses, row.Rate = string(a.Arm), a.N, a.Responses, a.Rate
		rows = append(rows, row)
	}
	return rows
}

// EventRow is an event as a line of a table; its data stays JSON. The columns
// are the fields of the REST API's events.
type EventRow struct {
	Cursor       string          `parquet:"cursor" json:"cursor"`
	ID           string          `parquet:"id" json:"id"`
	Kind         string          `parquet:"kind" json:"kind"`
	OccurredAt   time.Time       `parquet:"occurred_at,timestamp(microsecond)" json:"occurred_at"`
	RecordedAt   time.Time       `parquet:"recorded_at,timestamp(microsecond)" json:"recorded_at"`
	Campaign     *string         `parquet:"campaign" json:"campaign,omitempty"`
	Contact      *string         `parquet:"contact" json:"contact,omitempty"`
	Notification *string         `parquet:"notification" json:"notification,omitempty"`
	Key          string          `parquet:"key" json:"key,omitempty"`
	Data         json.RawMessage `parquet:"data,json,optional" json:"data,omitempty"`
}

// EventRows is a page of the log as a table.
func EventRows(events []kairos.Event) []EventRow {
	optional := func(id kairos.ID) *string {
		if id.IsZero() {
			return nil
		}
		s := id.String()
		return &s
	}
	rows := make([]EventRow, len(events))
	for i := range events {
		e := &events[i]
		rows[i] = EventRow{
			Cursor: e.Cursor.String(), ID: e.ID.String(), Kind: e.Kind, OccurredAt: e.OccurredAt, RecordedAt: e.RecordedAt,
			Campaign: optional(e.Campaign), Contact: optional(e.Contact), Notification: optional(e.Notification), Key: e.Key, Data: e.Data,
		}
	}
	return rows
}
