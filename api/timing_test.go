package api

import (
	"context"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis"
)

func TestTimingReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	template, _, plain := w.sample()
	spec := draft(template)
	spec["schedule"] = map[string]any{"mode": "optimised", "window": "24h", "baseline": "10:00"}
	spec["experiment"] = map[string]any{"control": 0.5}
	id := w.call("POST", "/v1/campaigns", spec).ok(201)["id"].(string)
	path := "/v1/reports/timing?campaign="

	r := w.call("GET", path+id, nil).ok(200)
	require.Len(t, r, 7)
	require.Equal(t, []any{}, r["models"])
	require.Equal(t, "not_enough_data", r["verdict"])
	for _, k := range []string{"needed", "lift", "srm"} {
		require.Contains(t, r, k)
		require.Nil(t, r[k], k)
	}
	require.Equal(t, "all", w.call("GET", path+plain, nil).ok(200)["arms"].([]any)[0].(map[string]any)["arm"])

	// What the fold would have written: 1,000 in each arm, 150 and 100 clicked.
	for arm, clicked := range map[string]int{"optimised": 150, "control": 100} {
		_, err := w.pool.Exec(context.Background(), `
			INSERT INTO rollups SELECT $1, $2, 'email', step, 1000, 1000 FROM unnest(ARRAY['planned', 'sent']) AS step`, id, arm)
		require.NoError(t, err)
		_, err = w.pool.Exec(context.Background(), `
			INSERT INTO arms VALUES ($1, $2, 0, 1000, $3, $4)`, id, arm, clicked, epoch)
		require.NoError(t, err)
	}
	r = w.call("GET", path+id, nil).ok(200)
	require.Equal(t, "better", r["verdict"])
	require.Nil(t, r["needed"])
	require.Equal(t, []any{
		map[string]any{"arm": "control", "n": 1000.0, "responses": 100.0, "rate": 0.1},
		map[string]any{"arm": "optimised", "n": 1000.0, "responses": 150.0, "rate": 0.15},
	}, r["arms"])
	lift := r["lift"].(map[string]any)
	require.InDelta(t, 0.5, lift["estimate"], 1e-9)
	require.Len(t, lift["interval"], 2)
	require.Less(t, lift["p"], 0.01)
	require.Equal(t, map[string]any{"p": 1.0, "ok": true}, r["srm"])

	csv := w.call("GET", path+id+"&format=csv", nil)
	require.Equal(t, "text/csv; charset=utf-8", csv.Header.Get("Content-Type"))
	lines := strings.Split(csv.Body, "\n")
	require.Equal(t, "campaign,arm,n,responses,rate,verdict,needed,lift,lift_low,lift_high,p,srm_p,srm_ok", lines[0])
	cells := strings.Split(lines[2], ",")
	require.Equal(t, []string{id, "optimised", "1000", "150", "0.15", "better", ""}, cells[:7])
	estimate, err := strconv.ParseFloat(cells[7], 64)
	require.NoError(t, err)
	require.InDelta(t, 0.5, estimate, 1e-9)
	require.Equal(t, []string{"1", "true"}, cells[11:])
	require.Equal(t, csv.Body, w.call("GET", path+id, nil, "Accept", "text/csv").Body)

	columns, arms := w.parquet(path + id)
	require.Equal(t, strings.Split(lines[0], ","), columns)
	require.Equal(t, 2, arms)
	w.call("GET", path+kairos.NewID().String(), nil).problem(404, "")
	w.call("GET", path+id, nil, "Authorization", "Bearer "+w.key(ScopeReports)).ok(200)
	w.call("GET", path+id, nil, "Authorization", "Bearer "+w.key(ScopeEvents)).problem(403, "")
}

func TestTimingReportOverAPeriod(t *testing.T) {
	t.Parallel()
	sameShape(t, "timing", reflect.TypeFor[analysis.Timing](), reflect.TypeFor[TimingReport]())
	w := newWorld(t)
	template, _, plain := w.sample()
	for i, clicked := range []map[string]int{{"optimised": 150, "control": 100}, {"optimised": 130, "control": 110}} {
		spec := draft(template)
		spec["schedule"] = map[string]any{"mode": "optimised", "window": "24h", "baseline": "10:00"}
		spec["experiment"] = map[string]any{"control": 0.5}
		id := w.call("POST", "/v1/campaigns", spec).ok(201)["id"].(string)
		for arm, n := range clicked {
			_, err := w.pool.Exec(context.Background(), `
				INSERT INTO rollups SELECT $1, $2, 'email', step, 1000, 1000 FROM unnest(ARRAY['planned', 'sent']) AS step`, id, arm)
			require.NoError(t, err)
			_, err = w.pool.Exec(context.Background(), `
				INSERT INTO arms VALUES ($1, $2, 0, 1000, $3, $4)`, id, arm, n, epoch.AddDate(0, 0, i))
			require.NoError(t, err)
		}
	}
	w.clock.Advance(10 * 24 * time.Hour)
	const path = "/v1/reports/timing"
	r := w.call("GET", path+"?from=2026-03-01T00:00:00Z&until=2026-03-05T00:00:00Z", nil).ok(200)
	require.NotContains(t, r, "campaign")
	require.Equal(t, "2026-03-01T00:00:00Z", r["from"])
	require.EqualValues(t, 2, r["campaigns"])
	require.Equal(t, "better", r["verdict"])
	require.EqualValues(t, 280, r["arms"].([]any)[1].(map[string]any)["responses"])
	require.InDelta(t, 280./210-1, r["lift"].(map[string]any)["estimate"], 1e-3)
	require.EqualValues(t, 1, w.call("GET", path+"?until=2026-03-03T00:00:00%2B01:00", nil).ok(200)["campaigns"])
	require.EqualValues(t, 1, w.call("GET", path+"?from=2026-03-03T00:00:00Z", nil).ok(200)["campaigns"])
	none := w.call("GET", path+"?from=2026-03-08T00:00:00Z", nil).ok(200)
	require.NotContains(t, none, "campaigns")
	require.Equal(t, "not_enough_data", none["verdict"])

	csv := w.call("GET", path+"?from=2026-03-01T00:00:00Z&until=2026-03-05T00:00:00Z&format=csv", nil)
	require.Equal(t, `attachment; filename="timing-2026-03-01-2026-03-05.csv"`, csv.Header.Get("Content-Disposition"))
	require.True(t, strings.HasPrefix(csv.Body, "from,until,arm,n,"), csv.Body)

	w.call("GET", path, nil).problem(422, "query.campaign")
	w.call("GET", path+"?campaign="+plain+"&from=2026-03-01T00:00:00Z", nil).problem(422, "query.campaign")
	w.call("GET", path+"?from=2026-03-05T00:00:00Z&until=2026-03-01T00:00:00Z", nil).problem(422, "query.until")
	w.call("GET", path+"?from=2026-03-05T00:00:00Z&until=2026-03-05T00:00:00Z", nil).problem(422, "query.until")
	w.call("GET", path+"?from=yesterday", nil).problem(422, "query.from")
	w.call("GET", path+"?since=2026-03-01T00:00:00Z", nil).problem(400, "query.since")
}
