package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/analysis"
	"kairos/analysis/timing"
	"kairos/dto"
)

func TestTimingPagesSayTheVerdictFirst(t *testing.T) {
	for name, c := range map[string]struct {
		shelf        *shelf
		front, model []string
		not          []string
	}{
		"kinds": {fourKinds(),
			[]string{"People differ in their best hour.", "Model 9 passed its trial", "+24.1%", "It passed. A person may promote it", "Train now", "enough for a verdict", "8 Mar 2026"},
			[]string{"People differ in their best hour.", "Promote", "Reject", "The four kinds of people", "08:00–09:00", "adjusted for two tests", "Cross-check", "Fingerprint of the data", "+9.7%"},
			[]string{"Roll back", "No hour stands out"}},
		"null": {flat(),
			[]string{"The hour of sending makes no difference.", "No model is in use", "No model is on trial"},
			[]string{"The hour of sending makes no difference.", "no hour stands out", "refused: too few effective observations", "Not shown"},
			[]string{"Promote", "Best hour", "kinds of people"}},
		"too little": {thin(),
			[]string{"It is too early to tell", "of about 1,100 responses", "Not enough data", "30% of their messages"},
			[]string{"It is too early to tell", "Still to be explored: about 9,300 messages"},
			[]string{"Promote", "Best hour"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTimingWorld(t, c.shelf, nil)
			res, body := w.get("/dashboard/timing")
			require.Equal(t, http.StatusOK, res.StatusCode)
			for _, text := range c.front {
				require.Contains(t, body, text)
			}
			require.Less(t, strings.Index(body, c.front[0]), strings.Index(body, "random hours"))
			res, body = w.get(modelPath(c.shelf.models[0].Version))
			require.Equal(t, http.StatusOK, res.StatusCode)
			for _, text := range c.model {
				require.Contains(t, body, text)
			}
			for _, text := range c.not {
				require.NotContains(t, body, text)
			}
			require.Empty(t, w.log.String())
		})
	}
}

func TestTimingOfAnEmptyInstallation(t *testing.T) {
	w := newTimingWorld(t, empty(), nil)
	_, body := w.get("/dashboard/timing")
	for _, text := range []string{"It is too early to tell", "of about 1,100 responses that a verdict needs", "How it begins", "optimised"} {
		require.Contains(t, body, text)
	}
	for path, status := range map[string]int{"/dashboard/timing/1": 404, "/dashboard/timing/x": 404, "/dashboard/timing/0": 404, "/dashboard/timing/-1": 404,
		"/dashboard/timing/+1": 404, "/dashboard/timing/99999999999999999999": 404, "/dashboard/timing/1/promote": 404} {
		res, _ := w.get(path)
		require.Equal(t, status, res.StatusCode, path)
	}
	plain := newWorld(t, nil)
	res, _ := plain.get("/dashboard/timing")
	require.Equal(t, http.StatusNotFound, res.StatusCode, "without a registry")
	_, body = plain.get("/dashboard")
	require.NotContains(t, body, "/dashboard/timing")
}

func TestModelInUseAndOlderOnes(t *testing.T) {
	w := newTimingWorld(t, fourKinds(), nil)
	_, body := w.get(modelPath(7))
	for _, text := range []string{"Roll back", "+24.1%", "+13.3%", "the groups have the sizes they were meant to have", "Does it still work?", "alarm threshold 8.0", "Ada Lovelace",
		"Passed its trial; the newsletter team agrees.", "at an hour they asked for", "6–22", "9f2c1b7a"} {
		require.Contains(t, body, text)
	}
	require.NotContains(t, body, ">Promote<")
	_, body = w.get(modelPath(4))
	require.Contains(t, body, "About 11,000 more messages are needed")
	require.NotContains(t, body, "decide-")
	_, body = w.get(modelPath(6))
	require.Contains(t, body, "Training took longer than it may.")
}

func TestModelsArePaged(t *testing.T) {
	s := &shelf{}
	for v := 40; v > 10; v-- {
		s.models = append(s.models, trained(v, timing.Rejected, dto.Null, "", ""))
	}
	w := newTimingWorld(t, s, nil)
	_, body := w.get("/dashboard/timing")
	require.Equal(t, modelsPerPage, strings.Count(body, `id="v-`))
	require.Contains(t, body, "The hour doesn&#39;t matter.", "a verdict without a headline")
	next := nextPage.FindStringSubmatch(body)
	require.NotNil(t, next)
	_, body = w.get(next[1])
	require.Equal(t, 10, strings.Count(body, `id="v-`))
}

func TestDecisionsNeedANameAndAReason(t *testing.T) {
	s := fourKinds()
	w := newTimingWorld(t, s, nil)
	good := url.Values{"by": {" Ada Lovelace "}, "reason": {"It passed."}}
	for _, c := range []struct {
		path, by, reason string
		status           int
		text             string
	}{
		{"/9/promote", "", "It passed", 400, "Your name is missing."},
		{"/9/promote", "Ada", " \n", 400, "The reason is missing."},
		{"/7/promote", "Ada", "Again", 303, ""},
		{"/3/promote", "Ada", "<b>why</b>", 409, "It did not pass its trial."},
		{"/9/reject", "Ada", "", 400, "The reason is missing."},
		{"/7/rollback", "", "", 400, "Your name is missing."},
		{"/train", "", "x", 400, "Your name is missing."},
		{"/99/promote", "Ada", "x", 404, "Not found"},
		{"/x/promote", "Ada", "x", 404, "Not found"},
		{"/9/delete", "Ada", "x", 405, ""},
	} {
		res, body := w.do(http.MethodPost, "/dashboard/timing"+c.path, nil, url.Values{"by": {c.by}, "reason": {c.reason}}.Encode())
		require.Equal(t, c.status, res.StatusCode, c.path)
		require.Contains(t, body, c.text, c.path)
		require.NotContains(t, body, "<b>why")
		if c.status == 400 && c.by != "" {
			require.Contains(t, body, `value="Ada"`, "what was typed stays")
		}
	}
	require.Equal(t, []string{"promote 7 by Ada: Again"}, s.asked)
	s.asked = nil
	for path, want := range map[string]string{"/train": "/dashboard/timing", "/9/promote": modelPath(9), "/7/rollback": modelPath(7), "/9/reject": modelPath(9)} {
		res, _ := w.do(http.MethodPost, "/dashboard/timing"+path, http.Header{"Sec-Fetch-Site": {"cross-site"}}, good.Encode())
		require.Equal(t, http.StatusForbidden, res.StatusCode)
		res, _ = w.do(http.MethodPost, "/dashboard/timing"+path, nil, good.Encode())
		require.Equal(t, http.StatusSeeOther, res.StatusCode)
		require.Equal(t, want, res.Header.Get("Location"))
	}
	require.ElementsMatch(t, []string{"request 0 by Ada Lovelace: It passed.", "promote 9 by Ada Lovelace: It passed.", "rollback 7 by Ada Lovelace: It passed.",
		"reject 9 by Ada Lovelace: It passed."}, s.asked)
	s.standing.Training = ref(10)
	res, body := w.do(http.MethodPost, "/dashboard/timing/train", nil, good.Encode())
	require.Equal(t, http.StatusConflict, res.StatusCode)
	require.Contains(t, body, "One is running.")
}

func TestOnlyKeysThatMayDecideAboutModels(t *testing.T) {
	for decides, want := range map[bool]int{false: http.StatusForbidden, true: http.StatusSeeOther} {
		w := newTimingWorld(t, fourKinds(), func(o *Options) {
			o.Authenticate = func(context.Context, string) (Visitor, bool) {
				return Visitor{Name: "ada", Acts: true, Decides: decides}, true
			}
		})
		res, _ := w.get("/dashboard/timing")
		require.Equal(t, http.StatusSeeOther, res.StatusCode, "signed out")
		res, _ = w.do(http.MethodPost, "/dashboard/timing/9/promote", nil, "by=a&reason=b")
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
		res, _ = w.do(http.MethodPost, "/dashboard/login", nil, url.Values{"key": {"k"}}.Encode())
		cookie := http.Header{"Cookie": {cookieName + "=" + res.Cookies()[0].Value}}
		for _, path := range []string{"/9/promote", "/train"} {
			res, _ = w.do(http.MethodPost, "/dashboard/timing"+path, cookie, "by=Ada&reason=b")
			require.Equal(t, want, res.StatusCode, path)
		}
		_, body := w.do(http.MethodGet, modelPath(9), cookie)
		require.Equal(t, decides, strings.Contains(body, `id="decide-promote"`))
	}
}

func TestTimingShowsHostileTextsWithoutRunningThem(t *testing.T) {
	const hostile = `<script>alert(1)</script>"'><img src=x>`
	s := fourKinds()
	m := &s.models[0]
	m.Headline, m.Next, m.Reason, m.Error, m.Code, m.Canary.Reason = hostile, hostile, hostile, hostile, hostile, hostile
	m.Data.Fingerprint, m.State, m.Drift = hostile, timing.OnTrial, &timing.Drift{Reason: hostile, AlarmAt: &noon, Threshold: 8}
	m.Arms, m.ActiveAt = []timing.Arm{armOf(hostile, 1, 1)}, &noon
	m.Decisions = []timing.Decision{{At: noon, Action: hostile, Actor: hostile, Reason: hostile}}
	s.standing.Headline, s.standing.Next = hostile, hostile
	w := newTimingWorld(t, s, nil)
	for _, path := range []string{"/dashboard/timing", modelPath(9)} {
		_, body := w.get(path)
		require.NotContains(t, body, "<script>")
		require.NotContains(t, body, "<img src=x")
	}
}

// TestRegistryThroughTheDashboard goes through a model's life with the registry itself.
func TestRegistryThroughTheDashboard(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(timing.New(w.pool, w.clock, timing.Options{}))
	post := func(path string) (*http.Response, string) {
		return w.do(http.MethodPost, "/dashboard/timing"+path, nil, url.Values{"by": {"Ada Lovelace"}, "reason": {"For the test."}}.Encode())
	}
	res, body := w.get("/dashboard/timing")
	require.Equal(t, http.StatusOK, res.StatusCode, w.log.String())
	require.Contains(t, body, "How it begins")
	res, body = post("/train")
	require.Equal(t, http.StatusSeeOther, res.StatusCode, body)
	_, body = w.get("/dashboard/timing")
	require.Contains(t, body, "is being trained")
	require.NotContains(t, body, `id="decide-train"`)
	res, body = post("/train")
	require.Equal(t, http.StatusConflict, res.StatusCode)
	require.Contains(t, body, `role="alert"`)

	var version int
	require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT version FROM timing_models`).Scan(&version))
	path := "/" + strconv.Itoa(version)
	_, body = w.get(modelPath(version))
	require.Contains(t, body, "Training")
	require.Contains(t, body, "by Ada Lovelace")
	res, body = post(path + "/promote")
	require.Equal(t, http.StatusConflict, res.StatusCode)
	require.Contains(t, body, "It is still being trained")

	w.exec(`UPDATE timing_models SET state = 'canary', verdict = 'global', trained_at = $1, canary_at = $1,
	        canary = '{"share": 0.5, "needed_per_arm": 100, "done": true, "pass": true, "progress": 1, "reason": "more responses"}' WHERE version = $2`, noon, version)
	require.Eventually(t, func() bool { // answers are kept for a moment
		_, body = w.get(modelPath(version))
		return strings.Contains(body, `id="decide-promote"`)
	}, patience, 20*time.Millisecond)
	res, body = post(path + "/promote")
	require.Equal(t, http.StatusSeeOther, res.StatusCode, body+w.log.String())
	_, body = w.get(modelPath(version))
	require.Contains(t, body, "Promoted")
	require.Contains(t, body, `id="decide-rollback"`)
	res, body = post(path + "/reject")
	require.Equal(t, http.StatusConflict, res.StatusCode)
	require.Contains(t, body, "only a candidate or a model on trial can be rejected")
	res, _ = post(path + "/rollback")
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	_, body = w.get(modelPath(version))
	require.Contains(t, body, "Rolled back")
	require.NotContains(t, body, `id="decide-`)
}

func TestCampaignTellsWhatItsMomentsBrought(t *testing.T) {
	estimate := .2
	rate := .1
	lift := campaignLift(analysis.Timing{Verdict: analysis.VerdictBetter, Lift: &analysis.TimingLift{Estimate: &estimate, Interval: &[2]float64{.05, .4}, P: .004}})
	html, err := render(t.Context(), timingCard(analysis.Timing{Verdict: analysis.VerdictBetter, Models: []int{3, 4}, Note: "read this first",
		Lift: &analysis.TimingLift{Estimate: &estimate, Interval: &[2]float64{.05, .4}, P: .004}, SRM: &analysis.TimingSRM{P: 1e-9},
		Arms: []analysis.TimingArm{{Arm: kairos.ArmControl, N: 10, Responses: 1, Rate: &rate}, {Arm: kairos.ArmPreferred, N: 0}}}))
	require.NoError(t, err)
	for _, text := range []string{lift.words.title, "+20.0%", "+5.0%", "+40.0%", modelPath(3), modelPath(4), "Read this first.", "Do not trust this comparison", "at the usual time", "10.0%", "Preferred hours"} {
		require.Contains(t, html, text)
	}
	w := newWorld(t, nil)
	_, body := w.get("/dashboard/campaigns/" + w.autumn().String())
	require.Contains(t, body, `id="timing"`)
	now := w.campaign("At once", kairos.Running, 1)
	w.exec(`UPDATE campaigns SET spec = jsonb_set(spec, '{schedule}', '{"mode": "now"}') WHERE id = $1`, now)
	_, body = w.get("/dashboard/campaigns/" + now.String())
	require.NotContains(t, body, `id="timing"`)
}
