package analysis

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"kairos"
)

// cell makes text safe for spreadsheets, which would read a formula in what
// begins with = + - @ tab or CR: an apostrophe goes in front. Plain decimal
// numbers stay numbers.
func cell(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return s
	}
	if s[0] == '-' && len(s) > 1 && strings.Trim(s[1:], "0123456789.") == "" {
		return s
	}
	return "'" + s
}

// table writes rows of safe cells.
type table struct {
	w   *csv.Writer
	err error
}

func newTable(w io.Writer, header ...string) *table {
	t := &table{w: csv.NewWriter(w)}
	t.row(header...)
	return t
}

func (t *table) row(cells ...string) {
	if t.err != nil {
		return
	}
	for i := range cells {
		cells[i] = cell(cells[i])
	}
	t.err = t.w.Write(cells)
}

func (t *table) end(what string) error {
	t.w.Flush()
	if t.err == nil {
		t.err = t.w.Error()
	}
	if t.err != nil {
		return fmt.Errorf("write %s: %w", what, t.err)
	}
	return nil
}

// WriteFunnelCSV writes a funnel as one table: a line for each step of all
// messages, of each arm and of each channel, and of what stands apart.
func WriteFunnelCSV(w io.Writer, f Funnel) error {
	t := newTable(w, "campaign", "as_of", "group", "name", "step", "unique", "total", "rate_of_previous", "rate_of_sent")
	put := func(group, name string, steps []Step) {
		for _, s := range steps {
			t.row(f.Campaign.String(), f.AsOf.UTC().Format(time.RFC3339), group, name, s.Step,
				strconv.FormatInt(s.Unique, 10), strconv.FormatInt(s.Total, 10), number(s.RateOfPrevious), number(s.RateOfSent))
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
	return t.end("funnel")
}

// WriteROICSV writes a report as one line for each currency; the campaign's
// own comes first and alone has a cost side.
func WriteROICSV(w io.Writer, r ROI) error {
	t := newTable(w, "campaign", "as_of", "currency", "attributed_conversions", "attributed_revenue",
		"incremental_conversions", "incremental_conversions_low", "incremental_conversions_high",
		"incremental_revenue", "incremental_low", "incremental_high", "verdict", "needed", "treated", "held_out",
		"cost_fixed", "cost_messages", "cost_total", "roi", "roi_incremental")
	put := func(currency string, at Attributed, in Incremental, cost ...string) {
		cells := []string{r.Campaign.String(), r.AsOf.UTC().Format(time.RFC3339), currency,
			strconv.FormatInt(at.Conversions, 10), at.Revenue.String(), number(in.Conversions), "", "", "", "", "", in.Verdict, "",
			strconv.FormatInt(in.Treated, 10), strconv.FormatInt(in.HeldOut, 10)}
		if in.ConversionsInterval != nil {
			cells[6], cells[7] = number(&in.ConversionsInterval[0]), number(&in.ConversionsInterval[1])
		}
		if in.Revenue != nil {
			cells[8] = in.Revenue.String()
		}
		if in.Interval != nil {
			cells[9], cells[10] = in.Interval[0].String(), in.Interval[1].String()
		}
		if in.Needed != nil {
			cells[12] = strconv.FormatInt(*in.Needed, 10)
		}
		t.row(append(cells, cost...)...)
	}
	put(r.Currency, r.Attributed, r.Incremental, r.Cost.Fixed.String(), r.Cost.Messages.String(), r.Cost.Total.String(),
		number(r.ROI), number(r.ROIIncremental))
	for _, o := range r.OtherCurrencies {
		put(o.Currency, o.Attributed, o.Incremental, "", "", "", "", "")
	}
	return t.end("roi")
}

// WriteEventsCSV writes events as a table; data stays JSON.
func WriteEventsCSV(w io.Writer, events []kairos.Event) error {
	t := newTable(w, "cursor", "id", "kind", "occurred_at", "recorded_at", "campaign", "contact", "notification", "key", "data")
	for i := range events {
		e := &events[i]
		t.row(e.Cursor.String(), e.ID.String(), e.Kind, e.OccurredAt.UTC().Format(time.RFC3339Nano), e.RecordedAt.UTC().Format(time.RFC3339Nano),
			optional(e.Campaign), optional(e.Contact), optional(e.Notification), e.Key, string(e.Data))
	}
	return t.end("events")
}

func optional(id kairos.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

func number(f *float64) string {
	if f == nil {
		return ""
	}
	return strconv.FormatFloat(*f, 'f', -1, 64)
}
