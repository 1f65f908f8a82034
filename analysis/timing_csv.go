package analysis

import (
	"io"
	"slices"
	"strconv"
	"time"
)

// WriteTimingCSV writes a report as one line for each arm; the figures of the
// whole campaign or period stand on each. The report over a period has the
// columns from and until (RFC 3339, from empty: since ever) in place of campaign.
func WriteTimingCSV(w io.Writer, r Timing) error {
	of, columns := []string{r.Campaign.String()}, []string{"campaign"}
	if r.Campaign.IsZero() {
		of, columns = []string{"", r.Until.UTC().Format(time.RFC3339)}, []string{"from", "until"}
		if !r.From.IsZero() {
			of[0] = r.From.UTC().Format(time.RFC3339)
		}
	}
	t := newTable(w, append(columns, "arm", "n", "responses", "rate", "verdict", "needed",
		"lift", "lift_low", "lift_high", "p", "srm_p", "srm_ok")...)
	whole := make([]string, 8)
	whole[0] = r.Verdict
	if r.Needed != nil {
		whole[1] = strconv.FormatInt(*r.Needed, 10)
	}
	if l := r.Lift; l != nil {
		whole[2], whole[5] = number(l.Estimate), number(&l.P)
		if l.Interval != nil {
			whole[3], whole[4] = number(&l.Interval[0]), number(&l.Interval[1])
		}
	}
	if r.SRM != nil {
		whole[6], whole[7] = number(&r.SRM.P), strconv.FormatBool(r.SRM.OK)
	}
	for _, a := range r.Arms {
		t.row(slices.Concat(of, []string{string(a.Arm), strconv.FormatInt(a.N, 10), strconv.FormatInt(a.Responses, 10),
			number(a.Rate)}, whole)...)
	}
	return t.end("timing")
}
