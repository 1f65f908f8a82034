package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
)

func TestContacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.call("POST", "/v1/contacts", map[string]any{"external_id": "p1", "email": "Ann@example.com", "timezone": "Europe/Berlin",
		"attributes": map[string]any{"plan": "pro", "big": 9007199254740993}}).ok(201)
	id := c["id"].(string)
	r := w.call("POST", "/v1/contacts", map[string]any{"external_id": "p1", "first_name": "Ann", "attributes": map[string]any{"age": 40}})
	require.Equal(t, id, r.ok(200)["id"])
	require.Contains(t, r.Body, "9007199254740993")
	require.Equal(t, "pro", r.ok(200)["attributes"].(map[string]any)["plan"])

	require.Len(t, w.call("GET", "/v1/contacts?email=ANN@example.com", nil).ok(200)["items"], 1)
	require.Len(t, w.call("GET", "/v1/contacts?external_id=none", nil).ok(200)["items"], 0)

	c = w.call("PATCH", "/v1/contacts/"+id, `{"first_name":null,"attributes":{"plan":null},"region":"EU"}`).ok(200)
	require.Nil(t, c["first_name"])
	require.Equal(t, "EU", c["region"])
	require.NotContains(t, c["attributes"], "plan")

	prefs := `{"channels":{"email":true},"topics":{"news":false},"preferred_hours":[{"days":["mon"],"from":"18:00","until":"21:00"}],"quiet_hours":{"from":"22:00","until":"07:00"}}`
	r = w.call("PUT", "/v1/contacts/"+id+"/preferences", prefs)
	r.ok(200)
	require.JSONEq(t, prefs, r.Body)
	require.Equal(t, "contact.preferred", w.call("GET", "/v1/contacts/"+id+"/timeline", nil).ok(200)["items"].([]any)[0].(map[string]any)["kind"])

	require.Equal(t, 204, w.call("DELETE", "/v1/contacts/"+id, nil).Status)
	c = w.call("GET", "/v1/contacts/"+id, nil).ok(200)
	require.Nil(t, c["email"])
	require.NotNil(t, c["erased_at"])
	w.call("PATCH", "/v1/contacts/"+id, `{"region":"EU"}`).problem(409, "")
}

func TestContactBatchAndPaging(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.call("POST", "/v1/contacts/batch", `{"contacts":[{"external_id":"a"},{"email":"no address"},{"external_id":"b"},{"external_id":"a"}]}`)
	require.JSONEq(t, `{"created":2,"updated":1,"rejected":[{"index":1,"error":"email is not an address"}]}`,
		strings.ReplaceAll(r.Body, r.rejection(0), "email is not an address"))
	r.ok(200)
	require.NotContains(t, r.Body, "no address")

	first := w.call("GET", "/v1/contacts?limit=1", nil).ok(200)
	require.Len(t, first["items"], 1)
	second := w.call("GET", "/v1/contacts?limit=1&after="+first["next"].(string), nil).ok(200)
	require.NotEqual(t, first["items"], second["items"])
	require.Contains(t, second, "next")
	require.Nil(t, second["next"])
}

func TestLargestBatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var b strings.Builder
	for i := range 10_000 {
		_, _ = fmt.Fprintf(&b, `{"external_id":"c%d","email":"c%d@example.com","attributes":{"plan":"pro","age":%d}},`, i, i, i%80)
	}
	all := strings.TrimSuffix(b.String(), ",")
	require.EqualValues(t, 10_000, w.call("POST", "/v1/contacts/batch", `{"contacts":[`+all+`]}`).ok(200)["created"])
	w.call("POST", "/v1/contacts/batch", `{"contacts":[`+all+`,{"external_id":"one too many"}]}`).problem(422, "body.contacts")
}

func (r reply) rejection(i int) string {
	return r.ok(200)["rejected"].([]any)[i].(map[string]any)["error"].(string)
}

func TestCampaignLifeByREST(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	template, _, id := w.sample()
	c := w.call("GET", "/v1/campaigns/"+id, nil).ok(200)
	for k, v := range draft(template) {
		if k == "cost" || k == "experiment" || k == "schedule" || k == "classification" || k == "channels" || k == "audience" || k == "goal" || k == "utm" {
			continue
		}
		require.Equal(t, v, c[k], k)
	}
	require.Equal(t, map[string]any{"fixed": "100.00", "per_message": "0.001", "currency": "EUR"}, c["cost"])
	require.Equal(t, map[string]any{"mode": "now", "window": "24h"}, c["schedule"])
	require.Equal(t, map[string]any{"all": true}, c["audience"])
	require.Equal(t, map[string]any{"source": "kairos", "medium": "email", "campaign": "autumn"}, c["utm"])
	require.Equal(t, "draft", c["state"])
	require.Equal(t, "campaign", c["kind"])
	require.Nil(t, c["audience_size"])
	require.Nil(t, c["launched_at"])
	require.NotContains(t, c, "spec")
	for _, k := range []string{"planned", "skipped", "sent", "accepted", "unknown", "failed", "held_out", "total"} {
		require.EqualValues(t, 0, c["progress"].(map[string]any)[k], k)
	}

	c = w.call("PATCH", "/v1/campaigns/"+id, `{"name":"Winter","schedule":{"mode":"at","at":"2026-03-05T09:00:00Z"}}`).ok(200)
	require.Equal(t, "Winter", c["name"])
	require.Equal(t, "marketing", c["purpose"])

	e := w.call("POST", "/v1/campaigns/"+id+"/estimate", nil).ok(200)
	require.EqualValues(t, 1, e["audience"])
	require.EqualValues(t, 1, e["reachable"])
	require.Equal(t, "100.001", e["cost"])

	w.call("POST", "/v1/campaigns/"+id+"/pause", nil).problem(409, "")
	c = w.call("POST", "/v1/campaigns/"+id+"/launch", nil, "Kairos-Purpose", "marketing", "Kairos-Classification", "pii, gdpr").ok(200)
	require.Equal(t, "scheduled", c["state"])
	require.EqualValues(t, 1, c["audience_size"])
	require.Equal(t, "paused", w.call("POST", "/v1/campaigns/"+id+"/pause", `{}`).ok(200)["state"])
	require.Equal(t, "scheduled", w.call("POST", "/v1/campaigns/"+id+"/resume", nil).ok(200)["state"])
	p := w.call("PATCH", "/v1/campaigns/"+id, `{"name":"x"}`).problem(409, "")
	require.Contains(t, p.Detail, "scheduled")
	require.Equal(t, "cancelled", w.call("POST", "/v1/campaigns/"+id+"/cancel", nil).ok(200)["state"])

	require.Len(t, w.call("GET", "/v1/campaigns?state=cancelled", nil).ok(200)["items"], 1)
	require.Empty(t, w.call("GET", "/v1/campaigns?state=draft", nil).ok(200)["items"])

	items := w.settled("/v1/events?kind=campaign.launched,campaign.cancelled", 2)
	var purpose string
	var classes []string
	require.NoError(t, w.pool.QueryRow(t.Context(), `SELECT purpose, classification FROM tickets WHERE id = $1`,
		items[0].(map[string]any)["ticket"]).Scan(&purpose, &classes))
	require.Equal(t, "marketing", purpose)
	require.Equal(t, []string{"pii", "gdpr"}, classes)
}

func TestSegmentsAndTemplates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	template, contact, _ := w.sample()
	s := w.call("POST", "/v1/segments", `{"name":"Ann","expression":"first_name == \"Ann\""}`).ok(201)
	require.EqualValues(t, 1, w.call("GET", "/v1/segments/"+s["id"].(string)+"/count", nil).ok(200)["count"])
	require.Len(t, w.call("GET", "/v1/segments", nil).ok(200)["items"], 1)

	v2 := w.call("PUT", "/v1/templates/"+template, `{"name":"Offer","subject":"Bye","html":"<p>{{ contact.first_name }} {{ unsubscribe_url }}</p>"}`).ok(200)
	require.EqualValues(t, 2, v2["version"])
	v3 := w.call("POST", "/v1/templates", `{"id":"`+template+`","name":"Offer","subject":"Again","html":"<p>x {{ unsubscribe_url }}</p>"}`).ok(201)
	require.Equal(t, template, v3["id"])
	require.EqualValues(t, 3, v3["version"])
	require.Equal(t, "Hello {{ contact.first_name }}", w.call("GET", "/v1/templates/"+template+"?version=1", nil).ok(200)["subject"])
	p := w.call("POST", "/v1/templates/"+template+"/preview?version=1", map[string]any{"contact": contact}).ok(200)
	require.Equal(t, "Hello Ann", p["subject"])
	p = w.call("POST", "/v1/templates/"+template+"/preview?version=1", `{"data":{"contact":{"first_name":"Bo"}}}`).ok(200)
	require.Contains(t, p["html"], "Hi Bo")
}

func TestSingleMessageIsExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	template, contact, campaign := w.sample()
	in := map[string]any{"template": template, "external_id": "p1", "key": "order-17", "data": map[string]any{"order": 17}}
	n := w.call("POST", "/v1/notifications", in).ok(202)
	require.Equal(t, contact, n["contact"])
	require.Equal(t, "planned", n["state"])
	require.Equal(t, n["id"], w.call("POST", "/v1/notifications", in).ok(200)["id"])
	id := n["id"].(string)
	require.Equal(t, "order-17", w.call("GET", "/v1/notifications/"+id, nil).ok(200)["key"])
	e := w.call("GET", "/v1/notifications/"+id+"/explain", nil).ok(200)
	require.Equal(t, id, e["notification"])
	require.NotEmpty(t, e["rules"])
	require.NotEmpty(t, e["slot"].(map[string]any)["utc"])
	list := w.call("GET", "/v1/campaigns/"+n["campaign"].(string)+"/notifications?state=planned", nil).ok(200)
	require.Len(t, list["items"], 1)

	tested := w.call("POST", "/v1/campaigns/"+campaign+"/test", `{"to":["me@example.com","Ann@example.com"]}`).ok(202)
	require.Len(t, tested["notifications"], 2)
	require.EqualValues(t, 0, w.call("GET", "/v1/campaigns/"+campaign, nil).ok(200)["progress"].(map[string]any)["total"])

	w.call("POST", "/v1/suppressions", map[string]any{"contact": contact}).ok(204)
	in["key"] = "order-18"
	n = w.call("POST", "/v1/notifications", in).ok(202)
	require.Equal(t, "skipped", n["state"])
	require.Equal(t, "suppressed", n["reason"])
	items := w.call("GET", "/v1/suppressions?limit=1&contact="+contact, nil).ok(200)
	require.Len(t, items["items"], 1)
	require.NotNil(t, items["next"])
	require.Len(t, w.call("GET", "/v1/suppressions?after="+items["next"].(string), nil).ok(200)["items"], 1)
	require.Equal(t, 204, w.call("DELETE", "/v1/contacts/"+contact+"/suppressions", nil).Status)
	require.Empty(t, w.call("GET", "/v1/unknowns", nil).ok(200)["items"])
}

func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.call("POST", "/v1/contacts/import", strings.NewReader("email,plan\na@example.com,pro\nb@example.com,free\n"), "Content-Type", "text/csv; charset=utf-8").ok(202)
	require.Equal(t, "running", i["state"])
	got := w.call("GET", "/v1/imports/"+i["id"].(string), nil).ok(200)
	for _, k := range []string{"rows", "created", "updated", "rejected", "errors"} {
		require.Contains(t, got, k)
	}
	require.Len(t, w.call("GET", "/v1/imports", nil).ok(200)["items"], 1)
	w.call("POST", "/v1/contacts/import", strings.NewReader(`{"email":"a@example.com"}`), "Content-Type", "application/json").problem(415, "header.Content-Type")
	w.call("POST", "/v1/contacts/import", strings.NewReader(""), "Content-Type", "text/csv").problem(422, "body")
}

func TestReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _, id := w.sample()
	f := w.call("GET", "/v1/reports/funnel?campaign="+id, nil).ok(200)
	var steps []string
	for _, s := range f["steps"].([]any) {
		steps = append(steps, s.(map[string]any)["step"].(string))
	}
	require.Equal(t, strings.Fields("planned sent delivered opened clicked viewed cta offer_accepted offer_declined paid"), steps)
	roi := w.call("GET", "/v1/reports/roi?campaign="+id, nil).ok(200)
	require.Equal(t, map[string]any{"fixed": "100.00", "messages": "0.00", "total": "100.00"}, roi["cost"])

	for _, path := range []string{"funnel", "roi"} {
		r := w.call("GET", "/v1/reports/"+path+"?format=csv&campaign="+id, nil)
		require.Equal(t, "text/csv; charset=utf-8", r.Header.Get("Content-Type"))
		require.True(t, strings.HasPrefix(r.Body, "campaign,as_of,"), r.Body)
		require.Equal(t, "text/csv; charset=utf-8", w.call("GET", "/v1/reports/"+path+"?campaign="+id, nil, "Accept", "text/csv").Header.Get("Content-Type"))
		require.Equal(t, "application/json", w.call("GET", "/v1/reports/"+path+"?campaign="+id, nil, "Accept", "application/json, text/csv").Header.Get("Content-Type"))
		w.parquet("/v1/reports/" + path + "?campaign=" + id)
		w.call("GET", "/v1/reports/"+path+"?format=csv&campaign=01936c3e-8a6f-7cc2-9f5e-2b1d0c3a4e5f", nil, "Accept", "text/csv").problem(404, "")
	}
}

// parquet asks for a path's table in both ways, and gives its columns and how
// many rows it has.
func (w *world) parquet(path string) (columns []string, rows int) {
	w.t.Helper()
	r := w.call("GET", path+"&format=parquet", nil)
	require.Equal(w.t, 200, r.Status, r.Body)
	require.Equal(w.t, "application/vnd.apache.parquet", r.Header.Get("Content-Type"))
	require.Contains(w.t, r.Header.Get("Content-Disposition"), `.parquet"`)
	require.Equal(w.t, "application/vnd.apache.parquet", w.call("GET", path, nil, "Accept", "application/vnd.apache.parquet").Header.Get("Content-Type"))
	f, err := parquet.OpenFile(strings.NewReader(r.Body), int64(len(r.Body)))
	require.NoError(w.t, err)
	for _, c := range f.Schema().Fields() {
		columns = append(columns, c.Name())
	}
	return columns, int(f.NumRows())
}

// settled waits until a reading of the log has n events: one shows when every
// transaction before it has ended, also those of other databases of the server.
func (w *world) settled(path string, n int) (items []any) {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		items = w.call("GET", path, nil).ok(200)["items"].([]any)
		return len(items) >= n
	}, 10*time.Second, 10*time.Millisecond)
	require.Len(w.t, items, n)
	return items
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, contact, _ := w.sample()
	in := `{"events":[
		{"kind":"payment.received","external_id":"p1","key":"order-17","amount":12.5,"currency":"EUR","occurred_at":"2026-03-01T00:00:00Z"},
		{"kind":"page.viewed","external_id":"nobody"},
		{"kind":"page.viewed","contact":"` + contact + `","token":"x"},
		{"kind":"notification.sent","contact":"` + contact + `"},
		{"kind":"page.viewed","token":"forged"},
		{"kind":"offer.accepted","contact":"` + contact + `","data":{"offer":"x"}}]}`
	r := w.call("POST", "/v1/events", in).ok(202)
	require.EqualValues(t, 2, r["accepted"])
	require.EqualValues(t, 4, r["rejected"])
	var status []string
	for i, x := range r["results"].([]any) {
		m := x.(map[string]any)
		require.EqualValues(t, i, m["index"])
		status = append(status, m["status"].(string))
	}
	require.Equal(t, []string{"accepted", "rejected", "rejected", "rejected", "rejected", "accepted"}, status)
	first := r["results"].([]any)[0].(map[string]any)["id"]
	r = w.call("POST", "/v1/events", in).ok(202)
	require.Equal(t, "duplicate", r["results"].([]any)[0].(map[string]any)["status"])
	require.Equal(t, first, r["results"].([]any)[0].(map[string]any)["id"])

	items := w.settled("/v1/events?kind=payment.received", 1)
	data := items[0].(map[string]any)["data"].(map[string]any)
	require.Equal(t, "12.50", data["amount"])
	require.Equal(t, "EUR", data["currency"])
	require.Empty(t, w.call("GET", "/v1/events?after="+items[0].(map[string]any)["cursor"].(string)+"&kind=payment.received", nil).ok(200)["items"])

	columns, rows := w.parquet("/v1/events?kind=payment.received")
	require.Equal(t, "cursor,id,kind,occurred_at,recorded_at,campaign,contact,notification,key,data", strings.Join(columns, ","))
	require.Equal(t, 1, rows)
	table := w.call("GET", "/v1/events?kind=payment.received&format=csv", nil).Body
	require.Contains(t, table, `order-17,"{`)
	require.True(t, strings.HasPrefix(strings.Split(table, "\n")[1], items[0].(map[string]any)["cursor"].(string)+","), "a table goes on behind its last row's cursor")
}
