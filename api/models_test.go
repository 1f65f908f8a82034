package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis/timing"
	"kairos/dto"
	"kairos/dto/sim"
	"kairos/internal/table"
)

// What is written is the registry's own encoding; what is documented is
// another type. Both must have the same members.
func TestModelsAreDocumentedAsTheyAre(t *testing.T) {
	t.Parallel()
	sameShape(t, "model", reflect.TypeFor[timing.Model](), reflect.TypeFor[TimingModel]())
	sameShape(t, "standing", reflect.TypeFor[timing.Standing](), reflect.TypeFor[TimingStanding]())
}

// sameShape compares members, kinds of values and what may be null.
func sameShape(t *testing.T, at string, is, doc reflect.Type) {
	t.Helper()
	switch {
	case is == doc:
		return
	case is == reflect.TypeFor[kairos.Duration]() || is.Kind() == reflect.String:
		require.Equal(t, reflect.String, doc.Kind(), at)
		return
	case is == reflect.TypeFor[kairos.ID]():
		require.Equal(t, reflect.TypeFor[ID](), doc, at)
		return
	case is.Kind() == reflect.Array:
		require.Equal(t, reflect.Slice, doc.Kind(), at)
		sameShape(t, at+"[]", is.Elem(), doc.Elem())
		return
	}
	require.Equal(t, is.Kind(), doc.Kind(), at)
	switch is.Kind() {
	case reflect.Pointer, reflect.Slice:
		sameShape(t, at, is.Elem(), doc.Elem())
	case reflect.Struct:
		members, documented := membersOf(is), membersOf(doc)
		for name, member := range members {
			require.Contains(t, documented, name, at)
			sameShape(t, at+"."+name, member, documented[name])
		}
		require.Len(t, documented, len(members), at)
	}
}

func membersOf(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for i := range t.NumField() {
		if t.Field(i).Anonymous {
			maps.Copy(out, membersOf(t.Field(i).Type))
		}
		if name := t.Field(i).Tag.Get("json"); name != "" {
			out[name] = t.Field(i).Type
		}
	}
	return out
}

func TestModelsAreWrittenWithEmptyLists(t *testing.T) {
	t.Parallel()
	m := modelOf(&timing.Model{Data: &timing.Snapshot{}, Drift: &timing.Drift{}, Clusters: []timing.Cluster{{}}})
	require.NotNil(t, m.Curve)
	require.NotNil(t, m.Rhythm)
	require.NotNil(t, m.Arms)
	require.NotNil(t, m.Decisions)
	require.NotNil(t, m.Data.Slots)
	require.NotNil(t, m.Drift.Diary)
	require.NotNil(t, m.Clusters[0].High)
	before := timing.Model{Clusters: []timing.Cluster{{}}}
	_ = modelOf(&before)
	require.Nil(t, before.Clusters[0].High, "the registry's value is left alone")
}

func TestModelRows(t *testing.T) {
	t.Parallel()
	hours := make([]float64, 24)
	for h := range hours {
		hours[h] = float64(h) / 8
	}
	var b bytes.Buffer
	require.NoError(t, table.Write(&b, table.CSV, modelRows(&timing.Model{Version: 3, Clusters: []timing.Cluster{
		{Cluster: 0, Size: 70, Rhythm: hours, Curve: hours, Low: hours, High: hours},
		{Cluster: 1, Size: 30, Rhythm: hours, Curve: hours},
	}})))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	require.Len(t, lines, 1+2*24)
	require.Equal(t, "version,cluster,size,hour,rhythm,curve,low,high", lines[0])
	require.Equal(t, "3,0,70,3,0.375,0.375,0.375,0.375", lines[4])
	require.Equal(t, "3,1,30,23,2.875,2.875,,", lines[48])
}

func TestModelsRefuseWhatCannotBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := map[string]any{"by": "Ada", "reason": "the trial was clear"}
	for _, action := range []string{"promote", "reject", "rollback"} {
		path := "/v1/dto/models/1/" + action
		w.call("POST", path, map[string]any{"reason": "x"}).problem(422, "body.by")
		w.call("POST", path, map[string]any{"by": "Ada"}).problem(422, "body.reason")
		w.call("POST", path, map[string]any{"by": "", "reason": "x"}).problem(422, "body.by")
		w.call("POST", path, map[string]any{"by": strings.Repeat("a", 201), "reason": "x"}).problem(422, "body.by")
		w.call("POST", path, map[string]any{"by": "Ada", "reason": strings.Repeat("a", 1001)}).problem(422, "body.reason")
		w.call("POST", path, map[string]any{"by": "Ada", "reason": "x", "force": true}).problem(400, "body.force")
		w.call("POST", path, nil).problem(400, "body")
		w.call("POST", path, who, "Authorization", "Bearer "+w.key(ScopeReports)).problem(403, "")
	}
	w.call("GET", "/v1/dto/models/0", nil).problem(422, "path.v")
	w.call("GET", "/v1/dto/models/one", nil).problem(422, "path.v")
	w.call("GET", "/v1/dto/models?limit=0", nil).problem(422, "query.limit")
	for _, path := range []string{"/v1/dto/models", "/v1/dto/models/1", "/v1/dto/standing"} {
		w.call("GET", path, nil, "Authorization", "Bearer "+w.key(ScopeCampaigns)).problem(403, "")
	}
	w.call("POST", "/v1/dto/models", nil, "Authorization", "Bearer "+w.key(ScopeReports)).problem(403, "")
	w.call("POST", "/v1/dto/models", map[string]any{"by": strings.Repeat("a", 201)}).problem(422, "body.by")
	w.call("POST", "/v1/dto/models", map[string]any{"seed": 1}).problem(400, "body.seed")
}

// model writes a trained version in a state; canary is its trial, "" for none.
func (w *world) model(state, canary string) int {
	w.t.Helper()
	fit, err := dto.Fit(sim.World{Kind: sim.Clusters, People: 400, Effect: 1, Base: .2}.Draw(1).Data, dto.Options{Seed: 1, Clusters: []int{2}})
	require.NoError(w.t, err)
	raw, err := json.Marshal(fit)
	require.NoError(w.t, err)
	var version int
	require.NoError(w.t, w.pool.QueryRow(context.Background(), `
		INSERT INTO timing_models (state, look, code, seed, requested_by, request_reason, verdict, data, model, canary, reason, created_at, trained_at, active_at)
		VALUES ($1, 1, 'test', 1, 'kairos', 'weekly', 'clusters', '{"response_window": "24h", "deliveries": 8000}', $2, NULLIF($3, '')::jsonb, 'it was made up', $4, $4,
			CASE WHEN $1 IN ('active', 'retired') THEN $4::timestamptz END) RETURNING version`,
		state, string(raw), canary, w.clock.Now()).Scan(&version))
	return version
}

const passed = `{"share": 0.5, "since": "2026-03-01T00:00:00Z", "needed_per_arm": 100, "expected_lift": 0.2, "progress": 1, "done": true, "pass": true, "reason": "It brought more.",
	"candidate": {"arm": "candidate", "n": 1000, "responses": 150, "rate": 0.15}, "current": {"arm": "current", "n": 1000, "responses": 100, "rate": 0.1}, "control": {"arm": "control", "n": 0, "responses": 0, "rate": null}}`

func TestModelsBeforeThereIsOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := w.call("GET", "/v1/dto/standing", nil).ok(200)
	require.Len(t, s, 11)
	require.Equal(t, "not_enough_data", s["verdict"])
	require.InDelta(t, .3, s["explore"], 1e-9)
	require.NotEmpty(t, s["headline"])
	require.Nil(t, s["active"])
	require.Contains(t, s, "train_at")
	require.JSONEq(t, `{"items":[],"next":null}`, w.call("GET", "/v1/dto/models", nil).Body)
	w.call("GET", "/v1/dto/models/1", nil).problem(404, "")
	w.call("GET", "/v1/dto/models/1?format=csv", nil).problem(404, "")
	for _, action := range []string{"promote", "reject", "rollback"} {
		w.call("POST", "/v1/dto/models/1/"+action, map[string]any{"by": "Ada", "reason": "x"}).problem(404, "")
	}
}

func TestTrainByREST(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.call("POST", "/v1/dto/models", nil, "Idempotency-Key", "a")
	m := first.ok(202)
	require.Equal(t, "training", m["state"])
	require.Equal(t, "", m["verdict"])
	require.Nil(t, m["tests"])
	require.Equal(t, []any{}, m["clusters"])
	d := m["decisions"].([]any)[0].(map[string]any)
	require.Equal(t, []any{"requested", "test", "requested through the API"}, []any{d["action"], d["actor"], d["reason"]})
	again := w.call("POST", "/v1/dto/models", nil, "Idempotency-Key", "a")
	require.Equal(t, "true", again.Header.Get("Idempotency-Replayed"))
	require.Equal(t, first.Body, again.Body)
	w.call("POST", "/v1/dto/models", map[string]any{"by": "Ada"}).problem(409, "")
	require.Len(t, w.call("GET", "/v1/dto/models", nil).ok(200)["items"], 1)
	require.EqualValues(t, m["version"], w.call("GET", "/v1/dto/standing", nil).ok(200)["training"])

	w = newWorld(t)
	m = w.call("POST", "/v1/dto/models", map[string]any{"by": "Ada", "reason": "spring"}, "Authorization", "Bearer "+w.key(ScopeModels)).ok(202)
	d = m["decisions"].([]any)[0].(map[string]any)
	require.Equal(t, []any{"Ada", "spring"}, []any{d["actor"], d["reason"]})
}

func TestDecideByREST(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	former := w.model("active", passed)
	w.clock.Advance(24 * time.Hour)
	version := w.model("canary", passed)
	path := fmt.Sprintf("/v1/dto/models/%d", version)
	who := map[string]any{"by": "Ada Lovelace", "reason": "the trial was clear"}
	read := []string{"Authorization", "Bearer " + w.key(ScopeReports)}

	m := w.call("GET", path, nil, read...).ok(200)
	require.Equal(t, "clusters", m["verdict"])
	require.Len(t, m["curve"], 24)
	require.Len(t, m["clusters"], 2)
	require.Len(t, m["clusters"].([]any)[1].(map[string]any)["high"], 24)
	require.Equal(t, "24h", m["data"].(map[string]any)["response_window"])
	require.Equal(t, []any{}, m["data"].(map[string]any)["slots"])
	require.Equal(t, true, m["canary"].(map[string]any)["pass"])
	csv := w.call("GET", path, nil, "Accept", "text/csv")
	require.Equal(t, "text/csv; charset=utf-8", csv.Header.Get("Content-Type"))
	require.Len(t, strings.Split(strings.TrimSpace(csv.Body), "\n"), 1+48)

	w.call("POST", path+"/rollback", who).problem(409, "")
	m = w.call("POST", path+"/promote", who).ok(200)
	require.Equal(t, "active", m["state"])
	last := m["decisions"].([]any)[len(m["decisions"].([]any))-1].(map[string]any)
	require.Equal(t, []any{"promoted", "Ada Lovelace", "the trial was clear"}, []any{last["action"], last["actor"], last["reason"]})
	require.Equal(t, "retired", w.call("GET", fmt.Sprintf("/v1/dto/models/%d", former), nil).ok(200)["state"])
	require.EqualValues(t, version, w.call("GET", "/v1/dto/standing", nil, read...).ok(200)["active"])
	require.Contains(t, w.call("POST", path+"/promote", who).problem(409, "").Detail, "active already")
	require.Contains(t, w.call("POST", path+"/reject", who).problem(409, "").Detail, "Only a candidate")

	require.Equal(t, "retired", w.call("POST", path+"/rollback", who).ok(200)["state"])
	require.EqualValues(t, former, w.call("GET", "/v1/dto/standing", nil).ok(200)["active"])

	waiting := w.model("candidate", "")
	path = fmt.Sprintf("/v1/dto/models/%d", waiting)
	require.Contains(t, w.call("POST", path+"/promote", who).problem(409, "").Detail, "not been on trial")
	w.call("POST", path+"/reject", map[string]any{"by": "  ", "reason": "x"}).problem(422, "body.by")
	require.Equal(t, "rejected", w.call("POST", path+"/reject", who, "Authorization", "Bearer "+w.key(ScopeModels)).ok(200)["state"])

	page := w.call("GET", "/v1/dto/models?limit=2", nil, read...).ok(200)
	require.Len(t, page["items"], 2)
	require.EqualValues(t, waiting, page["items"].([]any)[0].(map[string]any)["version"])
	require.Equal(t, []any{}, page["items"].([]any)[0].(map[string]any)["clusters"])
	page = w.call("GET", "/v1/dto/models?limit=2&after="+page["next"].(string), nil, read...).ok(200)
	require.Len(t, page["items"], 1)
	require.Nil(t, page["next"])
	w.call("GET", "/v1/dto/models?after=x", nil).problem(422, "query.after")
}
