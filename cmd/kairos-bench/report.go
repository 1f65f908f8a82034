package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// report is all that was measured, in its order.
type report struct {
	Conditions conditions
	results    []measured
}

// measured is the result of one path.
type measured struct {
	path string
	result
}

// result is what a path measured; it encodes as JSON.
type result interface {
	// tell adds the path's lines to the report.
	tell(*told)
}

func (r *report) add(path string, res result) { r.results = append(r.results, measured{path, res}) }

// MarshalJSON implements json.Marshaler: the conditions, and each result under
// its path's name.
func (r report) MarshalJSON() ([]byte, error) {
	all := map[string]any{"conditions": r.Conditions}
	for _, m := range r.results {
		all[m.path] = m.result
	}
	return json.Marshal(all)
}

// told is what the results say: rows of the table, notes under it, and what the
// processes took.
type told struct {
	rows  [][4]string
	notes []string
	used  [][2]string
}

// row of the table: what was measured, the figure, what stands beside it in
// the same run, and the share of that.
func (t *told) row(path, figure, ceiling, share string) {
	t.rows = append(t.rows, [4]string{path, figure, ceiling, share})
}

func (t *told) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// use is what the processes took for so many items. The bench's own CPU is
// named where it is the client of what was measured.
func (t *told) use(what string, items int64, m *metered, client bool) {
	var cells []string
	for _, u := range m.Usage {
		if u.CPU < 0.01 && u.Name == "noop" || u.Name == "bench" && !client {
			continue
		}
		cells = append(cells, fmt.Sprintf("%s %.1f (%.0f µs) %s", u.Name, u.CPU, u.CPU*1e6/float64(max(items, 1)), size(u.PeakRSS)))
	}
	t.used = append(t.used, [2]string{what, strings.Join(cells, "; ")})
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
	said := &told{}
	for _, m := range r.results {
		m.tell(said)
	}
	t := &table{}
	t.WriteString(r.Conditions.words() + "\n\n")
	t.head("path", "measured", "ceiling, same run", "of it")
	for _, row := range said.rows {
		t.row(row[:]...)
	}
	t.WriteString("\n")
	for _, note := range said.notes {
		t.WriteString("- " + note + "\n")
	}
	t.WriteString("\n")
	t.head("processes", "CPU s (each µs per item) and peak RSS")
	for _, line := range said.used {
		t.row(line[:]...)
	}
	return t.String()
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

func thousands[N int | int64](n N) string {
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
