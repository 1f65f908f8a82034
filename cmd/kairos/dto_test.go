package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos/dto/sim"
)

// registry answers like the API's registry and keeps what it was asked.
type registry struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	models []string // answers to GET of a model, in turn; the last stays
}

const (
	inTraining = `{"version":7,"state":"training","verdict":"","headline":"It is being trained.","created_at":"2026-03-02T09:00:00Z"}`
	onTrial    = `{"version":7,"state":"canary","verdict":"clusters","headline":"People differ in their best hour; two kinds of rhythm were found.",
		"next":"It is on trial; when it has passed, a person promotes it.","reason":"Both questions are answered.","created_at":"2026-03-02T09:00:00Z","trained_at":"2026-03-02T09:00:05Z",
		"data":{"from":"2026-02-01T00:00:00Z","until":"2026-03-01T00:00:00Z","response_window":"24h","slots":[8,9],"people":3000,"deliveries":60000,"responses":4100,"dropped_overlap":12,"dropped_late":3},
		"tests":{"main":{"statistic":81.2,"df":23,"p":1e-8,"adjusted_p":2e-8,"people":1800},"interaction":{"statistic":4.25,"df":0,"p":0.00001,"adjusted_p":0.00001,"people":1700},"look":1,"alpha":0.025},
		"needed":null,
		"clusters":[{"cluster":0,"size":2000,"share":0.667,"hour":9,"curve":[1,1,1,1,1,1,1,1,1,1.4],"low":[1,1,1,1,1,1,1,1,1,1.2],"high":[1,1,1,1,1,1,1,1,1,1.6]},{"cluster":1,"size":1000,"share":0.333,"hour":-1}],
		"canary":{"share":0.5,"since":"2026-03-02T10:00:00Z","needed_per_arm":9000,"candidate":{"n":4000,"responses":440,"rate":0.11},"current":{"n":4100,"responses":410,"rate":0.1},"control":{"n":800,"responses":70,"rate":0.0875},
			"progress":0.44,"lift":{"estimate":0.1,"interval":[-0.03,0.25],"p":0.14,"verdict":"not_enough_data"}},
		"decisions":[{"at":"2026-03-02T09:00:00Z","action":"requested","actor":"Ada","reason":"spring"},{"at":"2026-03-02T09:00:05Z","action":"rolled_back","actor":"kairos","reason":"x"}]}`
	tooFew = `{"version":8,"state":"rejected","verdict":"not_enough_data","headline":"There is too little to say yet.","reason":"12 of 3,100 responses are there.","created_at":"2026-03-03T09:00:00Z",
		"tests":{"main":{"statistic":20,"df":23,"p":0.6,"adjusted_p":1,"people":10},"interaction":{"statistic":0.1,"df":0,"p":0.4,"adjusted_p":0.8,"people":9},"look":2,"alpha":0.0083},"needed":{"responses":3088,"deliveries":61000}}`
	broken = `{"version":9,"state":"failed","verdict":"","headline":"","error":"the disk is full","created_at":"2026-03-03T09:00:00Z"}`
)

func newRegistry(t *testing.T, models ...string) *registry {
	r := &registry{models: models}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		body, _ := io.ReadAll(req.Body)
		r.asked = append(r.asked, strings.TrimSpace(req.Method+" "+req.URL.RequestURI()+" "+string(body)))
		w.Header().Set("Content-Type", "application/json")
		switch {
		case req.Header.Get("Authorization") != "Bearer k":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"status":401,"title":"Unauthorized"}`)
		case req.Method == http.MethodPost && req.URL.Path == "/v1/dto/models":
			w.WriteHeader(http.StatusAccepted)
			_, _ = fmt.Fprint(w, inTraining)
		case req.URL.Path == "/v1/dto/models" && req.URL.Query().Get("after") == "":
			_, _ = fmt.Fprintf(w, `{"items":[%s,%s],"next":"a b"}`, broken, tooFew)
		case req.URL.Path == "/v1/dto/models":
			_, _ = fmt.Fprintf(w, `{"items":[%s],"next":null}`, onTrial)
		case req.URL.Query().Get("format") == "csv":
			_, _ = fmt.Fprint(w, "version,cluster\n7,0\n")
		case strings.HasSuffix(req.URL.Path, "/promote"):
			w.WriteHeader(http.StatusConflict)
			_, _ = fmt.Fprint(w, `{"status":409,"title":"Conflict","detail":"Its trial has 44 % of the messages it needs."}`)
		default:
			m := r.models[0]
			if len(r.models) > 1 {
				r.models = r.models[1:]
			}
			if m == "" {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = fmt.Fprint(w, m)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// kairos runs the command against the registry.
func (r *registry) kairos(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(append(args, "--server", r.URL, "--api-key", "k"), &out, &err)
	return code, out.String(), err.String()
}

func TestDTOTrain(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, inTraining, "", inTraining, onTrial)
	code, out, errs := r.kairos("dto", "train", "--by", "Ada", "--reason", "spring", "--follow")
	require.Zero(t, code, errs)
	require.Equal(t, `POST /v1/dto/models {"by":"Ada","reason":"spring"}`, r.asked[0])
	for _, s := range []string{
		"model 7, on trial: People differ in their best hour; two kinds of rhythm were found.",
		"It is on trial; when it has passed, a person promotes it.",
		"learnt from: 60000 exploration messages, 4100 responses, 3000 people",
		"left out: 12 with another message to the person within 24h, 3 sent late",
		"does the hour matter? yes (p 2e-08 after Holm, level 0.025; chi-square 81.2, 23 degrees of freedom, 1800 people)",
		"do people differ? yes (p 1e-05 after Holm, level 0.025; z 4.25, 1700 people)",
	} {
		require.Contains(t, out, s)
	}
	require.NotContains(t, out, "still needed")

	r = newRegistry(t, tooFew)
	code, out, _ = r.kairos("dto", "train", "--follow", "--json")
	require.Zero(t, code)
	require.Equal(t, "POST /v1/dto/models {}", r.asked[0])
	require.JSONEq(t, tooFew, out)
	require.Equal(t, 1, strings.Count(out, "\n"), "one value a line")
	_, out, _ = r.kairos("dto", "train", "--follow")
	require.Contains(t, out, "does the hour matter? not shown")
	require.Contains(t, out, "still needed for a verdict of null: 61000 exploration messages, about 3088 responses")

	code, out, errs = newRegistry(t, broken).kairos("dto", "train", "--follow")
	require.Equal(t, 1, code)
	require.Contains(t, out, "the disk is full")
	require.Contains(t, errs, "model 9 was not trained")

	r = newRegistry(t, inTraining)
	code, out, _ = r.kairos("dto", "train")
	require.Zero(t, code)
	require.Contains(t, out, "model 7 is being trained")
	require.Len(t, r.asked, 1)
}

func TestDTOModels(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, onTrial)
	code, out, errs := r.kairos("dto", "models")
	require.Zero(t, code, errs)
	require.Equal(t, []string{"GET /v1/dto/models?limit=100&after=", "GET /v1/dto/models?limit=100&after=a+b"}, r.asked)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3)
	require.Equal(t, "9  failed               -                2026-03-03 09:00 UTC", lines[0])
	require.Contains(t, lines[1], "not enough data  2026-03-03 09:00 UTC  There is too little to say yet.")
	require.Contains(t, lines[2], "on trial")

	_, out, _ = r.kairos("dto", "models", "--json")
	lines = strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 3)
	require.JSONEq(t, onTrial, lines[2])
}

func TestDTOShow(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, onTrial)
	code, out, errs := r.kairos("dto", "show", "7")
	require.Zero(t, code, errs)
	for _, s := range []string{
		"1     2000    67 %   09:00      +40 % (+20 to +60)",
		"2     1000    33 %   -          -",
		"trial since 2026-03-02 10:00 UTC: 44 % of what is needed (9000 messages in each group)",
		"candidate  4000 sent  440 responded  11.0 %",
		"lift: +10.0 % responses against the current hours, 95 % interval -3.0 % to +25.0 %, p 0.14",
		"2026-03-02 09:00 UTC  requested    by Ada     spring",
		"rolled back  by kairos",
	} {
		require.Contains(t, out, s)
	}
	_, out, _ = r.kairos("dto", "show", "7", "--csv")
	require.Equal(t, "version,cluster\n7,0\n", out)
	_, out, _ = r.kairos("dto", "show", "7", "--json")
	require.JSONEq(t, onTrial, out)
	code, _, _ = r.kairos("dto", "show", "seven")
	require.Equal(t, 2, code)
}

func TestDTODecisions(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, strings.Replace(onTrial, `"canary"`, `"rejected"`, 1))
	code, out, errs := r.kairos("dto", "reject", "7", "--by", "Ada", "--reason", "wrong season")
	require.Zero(t, code, errs)
	require.Equal(t, `POST /v1/dto/models/7/reject {"by":"Ada","reason":"wrong season"}`, r.asked[0])
	require.Contains(t, out, "model 7 is rejected")
	code, _, _ = r.kairos("dto", "rollback", "7", "--by", "Ada", "--reason", "complaints")
	require.Zero(t, code)
	require.Contains(t, r.asked[1], "POST /v1/dto/models/7/rollback ")
	code, _, errs = r.kairos("dto", "promote", "7", "--by", "Ada", "--reason", "it is good")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "Its trial has 44 % of the messages it needs.")
	for _, args := range [][]string{{"dto", "promote", "7", "--by", "Ada"}, {"dto", "promote", "7", "--reason", "x"}, {"dto", "promote"}} {
		code, _, _ = r.kairos(args...)
		require.Equal(t, 2, code, args)
	}
	require.Len(t, r.asked, 3)
}

func TestDTOEvaluate(t *testing.T) {
	t.Parallel()
	evaluate := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := run(append([]string{"dto", "evaluate", "--replications", "4", "--people", "60"}, args...), &out, &errs)
		return code, out.String(), errs.String()
	}
	file := filepath.Join(t.TempDir(), "rhythms.csv")
	var days strings.Builder
	days.WriteString("user,day,hour_mask\n")
	for user := range 40 {
		for day := range 20 {
			fmt.Fprintf(&days, "%d,%d,%d\n", user, day, 1<<(8+user%2*10+day%2))
		}
	}
	require.NoError(t, os.WriteFile(file, []byte(days.String()), 0o600))

	code, out, errs := evaluate("--rhythms", file, "--json")
	require.Zero(t, code, errs)
	require.Empty(t, errs)
	names := map[string]sim.Figure{}
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		var f sim.Figure
		require.NoError(t, json.Unmarshal([]byte(line), &f), line)
		require.NotContains(t, names, f.Name)
		names[f.Name] = f
	}
	require.Len(t, names, 15+5+1+2+3+2+2)
	require.Equal(t, "+.066 +- .046", names["real rhythms over the global best hour"].Reference)
	require.Equal(t, 1.0, names["the naive method, where time is irrelevant"].Value)

	code, out, errs = evaluate("--markdown")
	require.Zero(t, code, errs)
	require.Contains(t, errs, "error rates, time irrelevant: 4 in")
	require.Contains(t, out, "4 replications, 60 people in the worlds of the error rates, seed 1; go")
	require.Contains(t, out, "so nothing to replay")
	require.Contains(t, out, "| figure | here | reference | target | reached | how |\n|---|")
	require.Regexp(t, `\d+ of 27 targets reached\n$`, out)
	for _, f := range names {
		if !strings.HasPrefix(f.Name, "real rhythms") {
			require.Contains(t, out, fmt.Sprintf("| %s | %.3f | ", f.Name, f.Value), "the same seed, the same figures")
		}
	}

	bad := strings.Replace(days.String(), "\n0,3,", "\n0,3;", 1)
	require.NoError(t, os.WriteFile(file, []byte(bad), 0o600))
	code, out, errs = evaluate("--rhythms", file)
	require.Equal(t, 1, code)
	require.Empty(t, out)
	require.Contains(t, errs, "rhythms.csv: line 5: ")
	code, _, errs = evaluate("--rhythms", file+".gone")
	require.Equal(t, 1, code)
	require.Contains(t, errs, "no such file")
	for _, args := range [][]string{{"--replications", "3"}, {"--people", "10"}, {"--seed", "-1"}} {
		code, _, errs = evaluate(args...)
		require.Equal(t, 2, code, args)
		require.NotContains(t, errs, "panic")
	}
}

// On an installation where nothing was explored a training ends, says what is
// needed, and leaves nothing to promote.
func TestDTOTrainsOnAnEmptyLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.serve(rolesFront + "," + rolesStage)
	out := w.run("dto", "train", "--by", "Ada", "--reason", "to see", "--follow")
	require.Contains(t, out, "model 1, rejected: It is too early to tell")
	require.Contains(t, out, "still needed for a verdict of null: ")
	require.Contains(t, w.run("dto", "models"), "not enough data")
	out = w.run("dto", "show", "1")
	require.Regexp(t, `requested +by Ada +to see`, out)
	require.Equal(t, "version,cluster,size,hour,rhythm,curve,low,high", strings.SplitN(w.run("dto", "show", "1", "--csv"), "\n", 2)[0])
	p := start(t, w.environment(nil), "dto", "promote", "1", "--by", "Ada", "--reason", "why not")
	require.Equal(t, 1, p.wait(time.Minute))
	require.Contains(t, p.stderr.String(), "409 Conflict: ")
}
