package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every resource says exactly what is wrong where, and never repeats it.
func TestBadInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	template, contact, campaign := w.sample()
	none := "01936c3e-8a6f-7cc2-9f5e-2b1d0c3a4e5f"
	spec := func(change string) string {
		return `{"name":"x","template":"` + template + `","audience":{"all":true},"schedule":{"mode":"now"}` + change + `}`
	}
	with := func(audience, schedule string) string {
		return `{"name":"x","template":"` + template + `","audience":` + audience + `,"schedule":` + schedule + `}`
	}
	all, now := `{"all":true}`, `{"mode":"now"}`
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	cases := []struct {
		method, path, body string
		status             int
		at                 string
	}{
		{"POST", "/v1/contacts", `{"email":`, 400, "body"},
		{"POST", "/v1/contacts", ``, 400, "body"},
		{"POST", "/v1/contacts", `[]`, 422, "body"},
		{"POST", "/v1/contacts", `null`, 422, "body"},
		{"POST", "/v1/contacts", `{}`, 422, "body.email"},
		{"POST", "/v1/contacts", `{"email":"a@b.example","sekret":1}`, 400, "body.sekret"},
		{"POST", "/v1/contacts", `{"Email":"a@b.example"}`, 400, "body.Email"},
		{"POST", "/v1/contacts", `{"email":17}`, 422, "body.email"},
		{"POST", "/v1/contacts", `{"email":"sekret"}`, 422, "body.email"},
		{"POST", "/v1/contacts", `{"email":"a@b.example\r\nBcc: sekret@x.example"}`, 422, "body.email"},
		{"POST", "/v1/contacts", `{"email":"a@b.example","first_name":"sek\u0000ret"}`, 422, "body"},
		{"POST", "/v1/contacts", `{"email":"a@b.example","timezone":"sekret/x"}`, 422, "body.timezone"},
		{"POST", "/v1/contacts", `{"email":"a@b.example","attributes":[]}`, 422, "body.attributes"},
		{"POST", "/v1/contacts", `{"email":"a@b.example","attributes":` + deep + `}`, 400, "body"},
		{"POST", "/v1/contacts/batch", `{}`, 422, "body.contacts"},
		{"POST", "/v1/contacts/batch", `{"contacts":[]}`, 422, "body.contacts"},
		{"POST", "/v1/contacts/batch", `{"contacts":[{"x":1}]}`, 400, "body.contacts[0].x"},
		{"GET", "/v1/contacts?limit=0", "", 422, "query.limit"},
		{"GET", "/v1/contacts?limit=1001", "", 422, "query.limit"},
		{"GET", "/v1/contacts?limit=sekret", "", 422, "query.limit"},
		{"GET", "/v1/contacts?after=sekret", "", 422, "query.after"},
		{"GET", "/v1/contacts?sekret=1", "", 400, "query.sekret"},
		{"GET", "/v1/contacts/sekret", "", 422, "path.id"},
		{"GET", "/v1/contacts/" + none, "", 404, ""},
		{"DELETE", "/v1/contacts/" + none, "", 404, ""},
		{"PATCH", "/v1/contacts/" + contact, `{"email":"sekret"}`, 422, "body.email"},
		{"PATCH", "/v1/contacts/" + contact, `{"id":"x"}`, 400, "body.id"},
		{"PUT", "/v1/contacts/" + contact + "/preferences", `{"preferred_hours":[{"days":["sekret"],"from":"18:00","until":"21:00"}]}`, 422, "body.preferred_hours[0].days[0]"},
		{"PUT", "/v1/contacts/" + contact + "/preferences", `{"preferred_hours":[{"days":["mon"],"from":"24:00","until":"21:00"}]}`, 422, "body.preferred_hours[0].from"},
		{"PUT", "/v1/contacts/" + contact + "/preferences", `{"quiet_hours":{"from":"22:00"}}`, 422, "body.quiet_hours.until"},
		{"GET", "/v1/contacts/" + none + "/timeline", "", 404, ""},
		{"GET", "/v1/contacts/" + contact + "/timeline?after=x", "", 422, "query.after"},
		{"GET", "/v1/imports/" + none, "", 404, ""},
		{"POST", "/v1/segments", `{"name":"x"}`, 422, "body.expression"},
		{"POST", "/v1/segments", `{"name":"x","expression":"region =="}`, 422, "body.expression"},
		{"POST", "/v1/segments", `{"name":"x","expression":"drop('sekret')"}`, 422, "body.expression"},
		{"GET", "/v1/segments/" + none + "/count", "", 404, ""},
		{"POST", "/v1/templates", `{"name":"x","subject":"s","html":"{% include 'sekret' %}"}`, 422, "body.html"},
		{"POST", "/v1/templates", `{"name":"x","subject":"{{ sekret","html":"x"}`, 422, "body.subject"},
		{"POST", "/v1/templates", `{"name":"x","subject":"a\nb","html":"x"}`, 422, "body.subject"},
		{"POST", "/v1/templates", `{"name":"x","channel":"sms","subject":"a","html":"x"}`, 422, "body.channel"},
		{"PUT", "/v1/templates/" + none, `{"name":"x","subject":"a","html":"<p>x</p>"}`, 404, ""},
		{"POST", "/v1/templates/" + none + "/preview", `{}`, 404, ""},
		{"POST", "/v1/templates/" + template + "/preview", `{"data":[]}`, 422, "body.data"},
		{"POST", "/v1/campaigns", `{"template":"` + template + `","audience":{"all":true},"schedule":{"mode":"now"}}`, 422, "body.name"},
		{"POST", "/v1/campaigns", spec(`,"sekret":1`), 400, "body.sekret"},
		{"POST", "/v1/campaigns", spec(`,"utm":{"sekret":1}`), 400, "body.utm.sekret"},
		{"POST", "/v1/campaigns", spec(`,"channels":["sms"]`), 422, "body.channels[0]"},
		{"POST", "/v1/campaigns", spec(`,"experiment":{"holdout":2}`), 422, "body.experiment.holdout"},
		{"POST", "/v1/campaigns", spec(`,"experiment":{"holdout":0.6,"control":0.6}`), 422, "body.experiment"},
		{"POST", "/v1/campaigns", spec(`,"cost":{"fixed":"sekret"}`), 422, "body.cost.fixed"},
		{"POST", "/v1/campaigns", spec(`,"cost":{"fixed":1e9}`), 422, "body.cost.fixed"},
		{"POST", "/v1/campaigns", spec(`,"cost":{"fixed":"-1"}`), 422, "body.cost.fixed"},
		{"POST", "/v1/campaigns", spec(`,"cost":{"fixed":""}`), 422, "body.cost.fixed"},
		{"POST", "/v1/campaigns", spec(`,"cost":{"fixed":true}`), 422, "body.cost.fixed"},
		{"POST", "/v1/campaigns", spec(`,"cost":{"currency":"sekret"}`), 422, "body.cost.currency"},
		{"POST", "/v1/campaigns", spec(`,"latest":"sekret"`), 422, "body.latest"},
		{"POST", "/v1/campaigns", spec(`,"latest":"2020-01-01T00:00:00Z"`), 422, "body.latest"},
		{"POST", "/v1/campaigns", spec(`,"goal":{"attribution_window":"sekret"}`), 422, "body.goal.attribution_window"},
		{"POST", "/v1/campaigns", spec(`,"name":"a\r\nb"`), 422, "body.name"},
		{"POST", "/v1/campaigns", with(`{}`, now), 422, "body.audience"},
		{"POST", "/v1/campaigns", with(`{"all":true,"segment":"`+none+`"}`, now), 422, "body.audience"},
		{"POST", "/v1/campaigns", with(`{"segment":"`+none+`"}`, now), 422, "body.audience.segment"},
		{"POST", "/v1/campaigns", with(`{"contacts":["sekret"]}`, now), 422, "body.audience.contacts[0]"},
		{"POST", "/v1/campaigns", with(`{"contacts":["`+none+`"]}`, now), 422, "body.audience.contacts"},
		{"POST", "/v1/campaigns", with(all, `{}`), 422, "body.schedule.mode"},
		{"POST", "/v1/campaigns", with(all, `{"mode":"sekret"}`), 422, "body.schedule.mode"},
		{"POST", "/v1/campaigns", with(all, `{"mode":"at"}`), 422, "body.schedule.at"},
		{"POST", "/v1/campaigns", with(all, `{"mode":"at","at":"2020-01-01T00:00:00Z"}`), 422, "body.schedule.at"},
		{"POST", "/v1/campaigns", with(all, `{"mode":"at","at":"sekret"}`), 422, "body.schedule.at"},
		{"POST", "/v1/campaigns", with(all, `{"mode":"local"}`), 422, "body.schedule.local_time"},
		{"POST", "/v1/campaigns", with(all, `{"mode":"local","local_time":"25:00"}`), 422, "body.schedule.local_time"},
		{"POST", "/v1/campaigns", with(all, `{"mode":"now","window":"sekret"}`), 422, "body.schedule.window"},
		{"POST", "/v1/campaigns", with(all, `{"mode":"now","window":"-1h"}`), 422, "body.schedule.window"},
		{"POST", "/v1/campaigns", with(all, `{"mode":"now","window":"9999999h9999999h"}`), 422, "body.schedule.window"},
		{"PATCH", "/v1/campaigns/" + campaign, `{"state":"running"}`, 400, "body.state"},
		{"PATCH", "/v1/campaigns/" + none, `{"name":"x"}`, 404, ""},
		{"POST", "/v1/campaigns/" + none + "/launch", "", 404, ""},
		{"POST", "/v1/campaigns/sekret/launch", "", 422, "path.id"},
		{"POST", "/v1/campaigns/" + campaign + "/launch", `{"force":true}`, 400, "body"},
		{"POST", "/v1/campaigns/" + campaign + "/resume", "", 409, ""},
		{"POST", "/v1/campaigns/" + campaign + "/test", `{"to":["sekret"]}`, 422, "body.to"},
		{"POST", "/v1/campaigns/" + campaign + "/test", `{"to":[]}`, 422, "body.to"},
		{"GET", "/v1/campaigns?state=sekret", "", 422, "query.state"},
		{"GET", "/v1/campaigns/" + none + "/notifications", "", 404, ""},
		{"GET", "/v1/campaigns/" + campaign + "/notifications?state=sekret", "", 422, "query.state"},
		{"GET", "/v1/notifications/" + none, "", 404, ""},
		{"GET", "/v1/notifications/" + none + "/explain", "", 404, ""},
		{"POST", "/v1/notifications", `{"template":"` + template + `"}`, 422, "body.contact"},
		{"POST", "/v1/notifications", `{"template":"` + template + `","contact":"` + none + `"}`, 422, "body.contact"},
		{"POST", "/v1/notifications", `{"template":"` + template + `","external_id":"sekret"}`, 422, "body.external_id"},
		{"POST", "/v1/notifications", `{"template":"` + none + `","contact":"` + contact + `"}`, 422, "body.template"},
		{"POST", "/v1/events", `{"events":[]}`, 422, "body.events"},
		{"POST", "/v1/events", `{"events":[{"kind":"page.viewed","x":1}]}`, 400, "body.events[0].x"},
		{"GET", "/v1/events?after=sekret", "", 422, "query.after"},
		{"GET", "/v1/events?campaign=sekret", "", 422, "query.campaign"},
		{"GET", "/v1/events/stream?after=sekret", "", 422, "query.after"},
		{"GET", "/v1/reports/funnel", "", 422, "query.campaign"},
		{"GET", "/v1/reports/funnel?campaign=" + none, "", 404, ""},
		{"GET", "/v1/reports/roi?campaign=" + none + "&format=sekret", "", 422, "query.format"},
		{"POST", "/v1/unknowns/sekret/resolve", `{"choice":"accepted"}`, 422, "path.attempt"},
		{"POST", "/v1/unknowns/" + none + ".1/resolve", `{"choice":"sekret"}`, 422, "body.choice"},
		{"POST", "/v1/suppressions", `{}`, 422, "body.contact"},
		{"POST", "/v1/suppressions", `{"email":"sekret"}`, 422, "body.email"},
		{"POST", "/v1/suppressions", `{"contact":"` + none + `"}`, 422, "body.contact"},
		{"GET", "/v1/suppressions?after=sekret", "", 422, "query.after"},
	}
	for _, c := range cases {
		t.Run(c.method+" "+c.path+" "+c.body[:min(len(c.body), 60)], func(t *testing.T) {
			var body any
			if c.body != "" || c.status == 400 && c.method == "POST" {
				body = c.body
			}
			r := w.call(c.method, c.path, body)
			r.t = t
			r.problem(c.status, c.at)
			if !strings.Contains(c.at, "sekret") {
				require.NotContains(t, r.Body, "sekret", "a problem must not echo the input")
			}
		})
	}
}

func TestBadTicketHeaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.call("POST", "/v1/contacts", `{"email":"a@b.example"}`, "Kairos-Purpose", "Two Words").problem(422, "header.Kairos-Purpose")
	w.call("POST", "/v1/contacts", `{"email":"a@b.example"}`, "Kairos-Classification", "pii,,x").problem(422, "header.Kairos-Classification")
	w.call("POST", "/v1/contacts", `{"email":"a@b.example"}`, "traceparent", "nonsense").ok(201)
}

func FuzzCheckJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"\u0000"}`, `"\\u0000"`, strings.Repeat("[", 40), `{"a":"}{[\""}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := string(b)
		_ = checkJSON(b)
		require.Equal(t, before, string(b))
	})
}
