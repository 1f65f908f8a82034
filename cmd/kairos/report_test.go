package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTimingReportInWords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		raw  string
		want []string
		not  string
	}{
		"better": {`{"verdict":"better","needed":null,"arms":[{"arm":"control","n":1000,"responses":100,"rate":0.1},{"arm":"optimised","n":1000,"responses":150,"rate":0.15}],
			"lift":{"estimate":0.5,"interval":[0.186,0.897],"p":0.00072},"srm":{"p":0.71,"ok":true}}`,
			[]string{"control    at the usual time   1000  100        10.0 %", "optimised  at the chosen hour  1000  150        15.0 %",
				"verdict: better. The chosen hours brought more responses", "lift: +50.0 % responses", "95 % interval +18.6 % to +89.7 %, p 0.00072",
				"the sizes they were meant to have (p 0.71)"}, "needed"},
		"needed": {`{"verdict":"not_enough_data","needed":4116,"arms":[],"lift":{"estimate":null,"interval":null,"p":0.3},"srm":{"p":0.0000001,"ok":false}}`,
			[]string{"verdict: not enough data. About 4116 more messages are needed in the smaller group.", "DO NOT HAVE THE SIZES"}, "lift:"},
		"nothing to compare": {`{"verdict":"not_enough_data","needed":null,"arms":[{"arm":"all","n":0,"responses":0,"rate":null}],"lift":null,"srm":null}`,
			[]string{"all    at one time for everybody  0     0          -", "nothing to compare"}, "check:"},
		"no difference": {`{"verdict":"no_detectable_difference","arms":[]}`, []string{"verdict: no detectable difference. The groups are large enough"}, "lift:"},
		"of a period": {`{"from":"2026-03-01T00:00:00Z","until":"2026-04-01T00:00:00Z","campaigns":4,"verdict":"better","arms":[],"models":[3,5],"note":"one of them had no control"}`,
			[]string{"4 campaigns, first sent since 2026-03-01 00:00 UTC and before 2026-04-01 00:00 UTC", "models that chose: 3 5", "note: one of them had no control"}, "lift:"},
		"worse": {`{"verdict":"worse","arms":[]}`, []string{"fewer responses"}, "more responses"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := timingWords([]byte(c.raw))
			require.NoError(t, err)
			for _, want := range c.want {
				require.Contains(t, got, want)
			}
			require.NotContains(t, got, c.not)
			require.False(t, strings.HasSuffix(got, "\n"))
		})
	}
	_, err := timingWords([]byte(`{`))
	require.Error(t, err)
}

func TestTimingReportOfACampaignOrAPeriod(t *testing.T) {
	t.Parallel()
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RequestURI()
		_, _ = io.WriteString(w, `{"verdict":"worse","arms":[]}`)
	}))
	t.Cleanup(server.Close)
	report := func(args ...string) int {
		return run(append([]string{"report", "timing", "--server", server.URL, "--api-key", "k"}, args...), io.Discard, io.Discard)
	}
	require.Zero(t, report("some-id"))
	require.Equal(t, "/v1/reports/timing?campaign=some-id", asked)
	require.Zero(t, report("some id", "--csv"))
	require.Equal(t, "/v1/reports/timing?campaign=some+id&format=csv", asked)
	require.Zero(t, report("some id", "--parquet"))
	require.Equal(t, "/v1/reports/timing?campaign=some+id&format=parquet", asked)
	require.Zero(t, report("--from", "2026-03-01T00:00:00+01:00", "--until", "2026-04-01T00:00:00Z"))
	require.Equal(t, "/v1/reports/timing?from=2026-03-01T00%3A00%3A00%2B01%3A00&until=2026-04-01T00%3A00%3A00Z", asked)
	asked = ""
	for _, args := range [][]string{{}, {"some-id", "--csv", "--parquet"}, {"some-id", "--until", "2026-04-01T00:00:00Z"}, {"--from", "March"}} {
		require.Equal(t, 2, report(args...), args)
	}
	require.Empty(t, asked)
}
