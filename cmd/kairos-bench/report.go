package main

import (
	"fmt"
	"strings"
	"time"
)

// report is all that was measured.
type report struct {
	Conditions conditions    `json:"conditions"`
	Import     *importResult `json:"import,omitempty"`
	Plan       *planResult   `json:"plan,omitempty"`
	SMTP       *smtpResult   `json:"smtp,omitempty"`
	Clicks     []clickResult `json:"clicks,omitempty"`
}

type importResult struct {
	Rows              int64   `json:"rows"`
	CSVBytes          int64   `json:"csv_bytes"`
	Seconds           float64 `json:"seconds"` // first byte to finished
	RowsPerSecond     float64 `json:"rows_per_second"`
	CopySeconds       float64 `json:"copy_seconds"`
	CopyRowsPerSecond float64 `json:"copy_rows_per_second"`
	Ratio             float64 `json:"ratio"` // of the bare COPY's speed
	metered
}

type planResult struct {
	Rows              int64   `json:"rows"`
	Batches           int64   `json:"batches"`
	InBatches         int64   `json:"in_batches"`
	LaunchAnswer      float64 `json:"launch_answer_seconds"` // until POST launch was answered
	Seconds           float64 `json:"seconds"`               // launch to the last notification planned
	FoldedSeconds     float64 `json:"folded_seconds"`        // launch to the last event folded
	RowsPerSecond     float64 `json:"rows_per_second"`
	CopySeconds       float64 `json:"copy_seconds"`        // of the notifications
	CopyEventsSeconds float64 `json:"copy_events_seconds"` // of their events
	Ratio             float64 `json:"ratio"`
	RatioBoth         float64 `json:"ratio_with_events"`
	DatabaseBefore    int64   `json:"database_before_bytes"`
	DatabaseAfter     int64   `json:"database_after_bytes"`
	WAL               int64   `json:"wal_bytes"`
	metered
}

type smtpResult struct {
	SinkDelay        time.Duration `json:"sink_delay_ns,omitempty"`
	Messages         int64         `json:"messages"`
	LetterBytes      int64         `json:"letter_bytes"`
	MessageBytes     int64         `json:"message_bytes"`
	Connections      int           `json:"connections"`
	Seconds          float64       `json:"seconds"` // first to last message by the sink's clock
	PerSecond        float64       `json:"per_second"`
	LaunchToFirst    float64       `json:"launch_to_first_seconds"`
	LaunchToFinished float64       `json:"launch_to_finished_seconds"`
	FoldedSeconds    float64       `json:"folded_seconds"`
	Pipelined        float64       `json:"pipelined_per_second"`
	PipelinedAfter   float64       `json:"pipelined_after_per_second"`
	LockStep         float64       `json:"lock_step_per_second"`
	Ratio            float64       `json:"ratio"` // of the mean of the pipelined ceilings
	metered
}

type clickResult struct {
	Connections  int     `json:"connections"`
	Click        figures `json:"click"`
	Noop         figures `json:"noop"`
	Ratio        float64 `json:"ratio"`
	Acknowledged int64   `json:"acknowledged"`
	Logged       int64   `json:"logged"`
	Alike        int64   `json:"alike"` // may be one event with another: same link, within a second
	Dropped      int64   `json:"dropped"`
	ShipLag      float64 `json:"ship_lag_seconds"` // last answer to the last hit in the log
	FoldLag      float64 `json:"fold_lag_seconds"` // last answer to the last hit in the reports
	metered
}

type figures struct {
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	Max       float64 `json:"max_ms"`
}

// table collects lines of markdown.
type table struct{ strings.Builder }

func (t *table) head(names ...string) {
	t.row(names...)
	t.row(strings.Split(strings.Repeat("---,", len(names)-1)+"---", ",")...)
}

func (t *table) row(cells ...string) { t.WriteString("| " + strings.Join(cells, " | ") + " |\n") }

// markdown is the report for docs/performance.md.
func (r *report) markdown() string {
	t := &table{}
	t.WriteString(r.Conditions.words() + "\n\n")
	t.head("path", "measured", "ceiling, same run", "of it")
	if i := r.Import; i != nil {
		t.row(fmt.Sprintf("import of %s contacts, CSV, 5 attributes", thousands(i.Rows)),
			fmt.Sprintf("%s rows/s (%.1f s)", round(i.RowsPerSecond), i.Seconds),
			fmt.Sprintf("bare COPY %s rows/s (%.1f s)", round(i.CopyRowsPerSecond), i.CopySeconds), percent(i.Ratio))
	}
	if p := r.Plan; p != nil {
		t.row(fmt.Sprintf("plan of %s, optimised, with holdout, control and explore", thousands(p.Rows)),
			fmt.Sprintf("%s/s (%.1f s)", round(p.RowsPerSecond), p.Seconds),
			fmt.Sprintf("bare COPY of the notifications %.1f s, and of their events %.1f s", p.CopySeconds, p.CopyEventsSeconds),
			fmt.Sprintf("%s, %s", percent(p.Ratio), percent(p.RatioBoth)))
	}
	if s := r.SMTP; s != nil {
		slow := ""
		if s.SinkDelay > 0 {
			slow = fmt.Sprintf(", the sink takes %s for each", s.SinkDelay)
		}
		t.row(fmt.Sprintf("SMTP campaign of %s, %s of HTML, 3 links, pixel%s", thousands(s.Messages), size(s.LetterBytes), slow),
			fmt.Sprintf("%s messages/s", round(s.PerSecond)),
			fmt.Sprintf("sink: pipelined %s before, %s after; lock-step %s", round(s.Pipelined), round(s.PipelinedAfter), round(s.LockStep)), percent(s.Ratio))
	}
	for _, c := range r.Clicks {
		t.row(fmt.Sprintf("clicks, %d connections", c.Connections),
			fmt.Sprintf("%s durable 302/s, p50 %.1f ms, p99 %.1f ms", round(c.Click.PerSecond), c.Click.P50, c.Click.P99),
			fmt.Sprintf("no-op 302: %s/s, p50 %.1f ms, p99 %.1f ms", round(c.Noop.PerSecond), c.Noop.P50, c.Noop.P99), percent(c.Ratio))
	}
	r.details(t)
	return t.String()
}

func (r *report) details(t *table) {
	t.WriteString("\n")
	if p := r.Plan; p != nil {
		fmt.Fprintf(t, "- plan: launch answered after %.2f s, all events folded after %.1f s; %s batches; Redis used_memory %s before, %s at its peak; database %s to %s, WAL %s.\n",
			p.LaunchAnswer, p.FoldedSeconds, thousands(p.Batches), size(p.RedisBefore), size(p.RedisPeak), size(p.DatabaseBefore), size(p.DatabaseAfter), size(p.WAL))
	}
	if s := r.SMTP; s != nil {
		fmt.Fprintf(t, "- smtp: launch to first message %.2f s, to finished %.1f s, to the last event folded %.1f s; messages of %s over %d connections; everybody got exactly one, ledger and log say so.\n",
			s.LaunchToFirst, s.LaunchToFinished, s.FoldedSeconds, size(s.MessageBytes), s.Connections)
	}
	for _, c := range r.Clicks {
		fmt.Fprintf(t, "- clicks, %d connections: %s acknowledged, %s in the log (%s of them may count as one with another), %s dropped; in the log %.1f s after the last answer, in the reports %.1f s.\n",
			c.Connections, thousands(c.Acknowledged), thousands(c.Logged), thousands(c.Alike), thousands(c.Dropped), c.ShipLag, c.FoldLag)
	}
	t.WriteString("\n")
	t.head("processes", "CPU s (each µs per item) and peak RSS")
	line := func(what string, items int64, m *metered) {
		var cells []string
		for _, u := range m.Usage {
			if u.CPU < 0.01 && u.Name == "noop" || u.Name == "bench" && what != "clicks" {
				continue
			}
			cells = append(cells, fmt.Sprintf("%s %.1f (%.0f µs) %s", u.Name, u.CPU, u.CPU*1e6/float64(items), size(u.PeakRSS)))
		}
		t.row(what, strings.Join(cells, "; "))
	}
	if i := r.Import; i != nil {
		line("import", i.Rows, &i.metered)
	}
	if p := r.Plan; p != nil {
		line("plan with fold", p.Rows, &p.metered)
	}
	if s := r.SMTP; s != nil {
		line("smtp with fold", s.Messages, &s.metered)
	}
	for _, c := range r.Clicks {
		line(fmt.Sprintf("clicks, %d connections", c.Connections), c.Acknowledged, &c.metered)
	}
}

func percent(v float64) string { return fmt.Sprintf("%.0f %%", v*100) }

// round keeps three digits: more would claim what a run can't tell.
func round(v float64) string {
	scale := 1.0
	for v/scale >= 1000 {
		scale *= 10
	}
	return thousands(int64(v/scale+.5) * int64(scale))
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.0f GB", float64(n)/(1<<30))
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
	case n >= 10<<20:
		return fmt.Sprintf("%.0f MB", float64(n)/(1<<20))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KB", float64(n)/(1<<10))
}
