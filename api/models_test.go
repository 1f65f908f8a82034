package api

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis/timing"
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

func TestModelCSV(t *testing.T) {
	t.Parallel()
	hours := make([]float64, 24)
	for h := range hours {
		hours[h] = float64(h) / 8
	}
	var b bytes.Buffer
	require.NoError(t, writeModelCSV(&b, &timing.Model{Version: 3, Clusters: []timing.Cluster{
		{Cluster: 0, Size: 70, Rhythm: hours, Curve: hours, Low: hours, High: hours},
		{Cluster: 1, Size: 30, Rhythm: hours, Curve: hours},
	}}))
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
	w.call("GET", "/v1/dto/models/1?format=parquet", nil).problem(406, "query.format")
	w.call("GET", "/v1/dto/models?limit=0", nil).problem(422, "query.limit")
	for _, path := range []string{"/v1/dto/models", "/v1/dto/models/1", "/v1/dto/standing"} {
		w.call("GET", path, nil, "Authorization", "Bearer "+w.key(ScopeCampaigns)).problem(403, "")
	}
	w.call("POST", "/v1/dto/models", nil, "Authorization", "Bearer "+w.key(ScopeReports)).problem(403, "")
	w.call("POST", "/v1/dto/models", map[string]any{"by": strings.Repeat("a", 201)}).problem(422, "body.by")
	w.call("POST", "/v1/dto/models", map[string]any{"seed": 1}).problem(400, "body.seed")
}
