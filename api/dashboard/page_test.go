package dashboard

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

var (
	inline   = regexp.MustCompile(`(?i)<script(?:\s+(?:defer|async))*\s*>|\sstyle=|\son[a-z]+=|javascript:`)
	nextPage = regexp.MustCompile(`rel="next" href="([^"]+)"`)
)

func TestEveryPageKeepsThePolicy(t *testing.T) {
	w := newWorld(t, nil)
	id := w.autumn()
	first := w.people(id, 1, kairos.StateAccepted, "", kairos.ArmControl)
	m := w.caught("ada@example.com", "<p>hello</p>")
	for _, path := range []string{
		"/dashboard", "/dashboard/", "/dashboard?state=running", "/dashboard/campaigns/" + id.String(),
		"/dashboard/campaigns/" + id.String() + "/notifications", "/dashboard/campaigns/" + id.String() + "/notifications?state=skipped",
		"/dashboard/notifications/" + first.String(), "/dashboard/unknowns", "/dashboard/unknowns?campaign=" + id.String(),
		"/dashboard/inbox", "/dashboard/inbox?to=ada", "/dashboard/inbox/new?seen=0", "/dashboard/inbox/" + m.ID.String(),
	} {
		t.Run(path, func(t *testing.T) {
			res, body := w.get(path)
			require.Equal(t, http.StatusOK, res.StatusCode, body)
			require.Equal(t, policy, res.Header.Get("Content-Security-Policy"))
			require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
			require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
			require.Empty(t, inline.FindString(body))
			require.NotContains(t, body, "http://cdn")
		})
	}
	require.Empty(t, w.log.String())
}

func TestNothingThere(t *testing.T) {
	w := newWorld(t, nil)
	noMail := newWorld(t, func(o *Options) { o.Mail = nil })
	none := kairos.NewID().String()
	for _, c := range []struct {
		w      *world
		method string
		path   string
		status int
	}{
		{w, "GET", "/dashboard/nowhere", 404},
		{w, "GET", "/dashboard/campaigns/" + none, 404},
		{w, "GET", "/dashboard/campaigns/1%27%20OR%201=1", 404},
		{w, "GET", "/dashboard/campaigns/" + none + "/live", 404},
		{w, "GET", "/dashboard/campaigns/" + none + "/notifications", 404},
		{w, "POST", "/dashboard/campaigns/" + none + "/pause", 404},
		{w, "POST", "/dashboard/campaigns/" + none + "/delete", 405},
		{w, "GET", "/dashboard/campaigns/" + none + "/pause", 404},
		{w, "GET", "/dashboard/notifications/" + none, 404},
		{w, "GET", "/dashboard/notifications/x", 404},
		{w, "GET", "/dashboard/inbox/" + none, 404},
		{w, "GET", "/dashboard/inbox/" + none + "/html", 404},
		{w, "GET", "/dashboard/inbox/" + none + "/raw", 404},
		{w, "GET", "/dashboard/inbox?before=x", 400},
		{w, "GET", "/dashboard/inbox/new?seen=x", 400},
		{w, "GET", "/dashboard/assets/nothing.js", 404},
		{w, "GET", "/dashboard/assets/..%2fpage.go", 404},
		{w, "GET", "/dashboard?state=stuck", 400},
		{w, "GET", "/dashboard?after=x", 400},
		{w, "GET", "/dashboard/unknowns?campaign=x", 400},
		{w, "GET", "/dashboard/unknowns?after=x", 400},
		{w, "GET", "/dashboard/login", 404}, // nobody signs in to an open one
		{noMail, "GET", "/dashboard/inbox", 404},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			res, body := c.w.do(c.method, c.path, nil)
			require.Equal(t, c.status, res.StatusCode, body)
			require.Equal(t, policy, res.Header.Get("Content-Security-Policy"))
			require.NotContains(t, body, "OR 1=1")
		})
	}
	_, body := noMail.get("/dashboard")
	require.NotContains(t, body, "/dashboard/inbox")
}

func TestAnInternalErrorIsLoggedNotShown(t *testing.T) {
	w := newWorld(t, nil)
	w.exec(`ALTER TABLE campaigns RENAME TO secret_name`)
	res, body := w.get("/dashboard")
	require.Equal(t, http.StatusInternalServerError, res.StatusCode)
	require.NotContains(t, body, "relation")
	require.Contains(t, w.log.String(), "relation")
	w.exec(`ALTER TABLE secret_name RENAME TO campaigns`)
}

func TestHostileNamesAreShownNotRun(t *testing.T) {
	w := newWorld(t, nil)
	const hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\rdata: gone\n\nevent: done"
	id := w.campaign(hostile, kairos.Running, 3)
	first := w.people(id, 1, kairos.StateAccepted, "<b>reason</b>", "<i>arm</i>")
	w.exec(`UPDATE contacts SET first_name = $1`, hostile)
	w.attempt(id, first, kairos.AttemptUnknown, "<u>1</u>", hostile)
	w.event(kairos.Event{Kind: kairos.NotificationClicked, OccurredAt: noon, Campaign: id, Contact: first, Notification: first,
		Data: []byte(`{"url":"<script>alert(2)</script>","machine":"<script>"}`)})
	m := w.mail.Deliver("<script>@x", []string{"<script>alert(3)</script>@x"}, []byte("Subject: <script>alert(4)</script>\r\nX: <script>\r\n\r\n<script>"))
	paths := []string{
		"/dashboard", "/dashboard/campaigns/" + id.String(), "/dashboard/campaigns/" + id.String() + "/notifications",
		"/dashboard/notifications/" + first.String(), "/dashboard/unknowns", "/dashboard/inbox", "/dashboard/inbox/" + m.ID.String(),
		"/dashboard/inbox?to=" + "%22%3E%3Cscript%3Ealert(5)%3C/script%3E", "/dashboard/inbox/new?seen=-1&to=%22%3E%3Cscript%3E",
	}
	for _, path := range paths {
		res, body := w.get(path)
		require.Equal(t, http.StatusOK, res.StatusCode, path)
		for _, bad := range []string{"<script>", "<img src=x", "<b>reason", "<i>arm", "<u>1"} {
			require.NotContains(t, body, bad, path)
		}
	}
	require.Empty(t, w.log.String())

	// The stream keeps its own events whatever a name holds.
	w.exec(`UPDATE campaigns SET state = 'finished', finished_at = $2 WHERE id = $1`, id, noon.Add(-30*24*time.Hour))
	res, body := w.get("/dashboard/campaigns/" + id.String() + "/live")
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	require.NotContains(t, body, "<script>")
	require.NotContains(t, body, "\r")
	require.Equal(t, 1, strings.Count(body, "\nevent: done\n"))
	for _, name := range []string{"head", "progress", "funnel", "returns", "activity"} {
		require.Equal(t, 1, strings.Count("\n"+body, "\nevent: "+name+"\n"), name)
	}
	for line := range strings.Lines(body) {
		require.Regexp(t, `^(id: 1|event: [a-z]+|data:.*|)\n$`, line)
	}
}

func TestFirstSteps(t *testing.T) {
	w := newWorld(t, nil)
	_, body := w.get("/dashboard")
	require.Contains(t, body, "No campaigns yet")
	for _, path := range []string{"/v1/contacts", "/v1/templates", "/v1/campaigns", "/launch"} {
		require.Contains(t, body, w.server.URL+"/v1/")
		require.Contains(t, body, path)
	}
	w.campaign("One", kairos.Draft, 0)
	_, body = w.get("/dashboard?state=failed")
	require.NotContains(t, body, "No campaigns yet")
	require.Contains(t, body, "No campaign is in this state")
}

func TestListFiltersAndPages(t *testing.T) {
	w := newWorld(t, nil)
	for range campaignsPerPage + 1 {
		w.campaign("Small one", kairos.Finished, 1)
	}
	w.campaign("The running one", kairos.Running, 1)
	_, body := w.get("/dashboard")
	require.Equal(t, campaignsPerPage, strings.Count(body, `scope="row"`))
	next := nextPage.FindStringSubmatch(body)
	require.NotNil(t, next)
	_, body = w.get(strings.ReplaceAll(next[1], "&amp;", "&"))
	require.Equal(t, 2, strings.Count(body, `scope="row"`))
	require.Contains(t, body, "First page")
	require.Nil(t, nextPage.FindStringSubmatch(body))
	_, body = w.get("/dashboard?state=running")
	require.Equal(t, 1, strings.Count(body, `scope="row"`))
	require.Contains(t, body, "The running one")
}

func TestCampaignPage(t *testing.T) {
	w := newWorld(t, nil)
	id := w.autumn()
	_, body := w.get("/dashboard/campaigns/" + id.String())
	for _, text := range []string{
		"Autumn offer", "82%", ">1,750<", ">2,228<", "unsubscribed", "the provider refused for good", "41.6%", "Optimised",
		"Not enough data", "1,842.60 EUR", "101.75 EUR", "24.90 EUR", "https://shop.example/autumn?sku=4711", "Opened by machines",
	} {
		require.Contains(t, body, text)
	}
	require.Contains(t, body, `sse-connect="/dashboard/campaigns/`+id.String()+`/live?head=`)

	w.exec(`UPDATE campaigns SET state = 'finished', finished_at = $2 WHERE id = $1`, id, noon)
	_, body = w.get("/dashboard/campaigns/" + id.String())
	require.Contains(t, body, "sse-connect", "results still come in")
	require.NotContains(t, body, "do-pause")
	w.clock.Advance(8 * 24 * time.Hour)
	_, body = w.get("/dashboard/campaigns/" + id.String())
	require.NotContains(t, body, "sse-connect", "the attribution window is over")
}

func TestLedgerPagesAndFilters(t *testing.T) {
	w := newWorld(t, nil)
	id := w.campaign("Ledger", kairos.Running, 70)
	w.people(id, ledgerPerPage+5, kairos.StateSkipped, kairos.ReasonNoAddress, kairos.ArmAll)
	w.people(id, 3, kairos.StateHeldOut, "", kairos.ArmHoldout)
	path := "/dashboard/campaigns/" + id.String() + "/notifications"
	_, body := w.get(path + "?state=skipped")
	require.Equal(t, ledgerPerPage, strings.Count(body, `scope="row"`))
	require.Contains(t, body, "no address for the channel")
	next := nextPage.FindStringSubmatch(body)
	require.NotNil(t, next)
	require.Contains(t, next[1], "state=skipped")
	_, body = w.get(strings.ReplaceAll(next[1], "&amp;", "&"))
	require.Equal(t, 5, strings.Count(body, `scope="row"`))
	_, body = w.get(path + "?state=held_out")
	require.Equal(t, 3, strings.Count(body, `scope="row"`))
	res, _ := w.get(path + "?state=lost")
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
}

func TestNotificationPage(t *testing.T) {
	w := newWorld(t, nil)
	id := w.campaign("Letters", kairos.Running, 1)
	first := w.people(id, 1, kairos.StateAccepted, "", kairos.ArmControl)
	w.attempt(id, first, kairos.AttemptAccepted, "250", "2.0.0 Ok: queued as 4711")
	w.event(kairos.Event{Kind: kairos.NotificationOpened, OccurredAt: noon, Campaign: id, Contact: first, Notification: first})
	w.event(kairos.Event{Kind: kairos.NotificationClicked, OccurredAt: noon, Contact: first, Notification: kairos.NewID()})
	_, body := w.get("/dashboard/notifications/" + first.String())
	for _, text := range []string{"Ada Lovelace", "p-" + first.String() + "@example.com", "queued as 4711", "smtp", "Control", "Opened",
		w.server.URL + "/v1/notifications/" + first.String() + "/explain"} {
		require.Contains(t, body, text)
	}
	require.NotContains(t, body, "Clicked a link", "that is another message")
}

func TestActions(t *testing.T) {
	w := newWorld(t, nil)
	id := w.campaign("Actions", kairos.Running, 1)
	state := func() (s string) {
		require.NoError(t, w.pool.QueryRow(context.Background(), `SELECT state FROM campaigns WHERE id = $1`, id).Scan(&s))
		return s
	}
	path := "/dashboard/campaigns/" + id.String()
	own := http.Header{"Sec-Fetch-Site": {"same-origin"}}
	for _, c := range []struct {
		step   string
		header http.Header
		status int
		state  string
	}{
		{"pause", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403, kairos.Running},
		{"pause", http.Header{"Sec-Fetch-Site": {"same-site"}}, 403, kairos.Running},
		{"cancel", http.Header{"Origin": {"https://evil.example"}}, 403, kairos.Running},
		{"cancel", http.Header{"Origin": {"null"}}, 403, kairos.Running},
		{"pause", own, 303, kairos.Paused},
		{"pause", own, 303, kairos.Paused},
		{"resume", own, 303, kairos.Running},
		{"cancel", own, 303, kairos.Cancelled},
		{"resume", own, 409, kairos.Cancelled},
	} {
		res, body := w.do(http.MethodPost, path+"/"+c.step, c.header, "")
		require.Equal(t, c.status, res.StatusCode, body)
		require.Equal(t, c.state, state())
		if c.status == http.StatusSeeOther {
			require.Equal(t, path, res.Header.Get("Location"))
		}
	}
	var n int
	require.NoError(t, w.pool.QueryRow(context.Background(),
		`SELECT count(*) FROM events e JOIN tickets t ON t.id = e.ticket WHERE e.campaign = $1 AND t.origin = 'dashboard'`, id).Scan(&n))
	require.Equal(t, 3, n)
}

func TestInbox(t *testing.T) {
	w := newWorld(t, nil)
	for range mailsPerPage {
		w.caught("bob@example.com", "<p>hello</p>")
	}
	m := w.caught("ada@example.com", `<html><head><title>x</title></head><body><script>1</script><a href="http://localhost/c/t">go</a></body></html>`)
	path := "/dashboard/inbox/" + m.ID.String()

	_, body := w.get("/dashboard/inbox")
	require.Equal(t, mailsPerPage, strings.Count(body, `scope="row"`))
	next := nextPage.FindStringSubmatch(body)
	require.NotNil(t, next)
	_, body = w.get(next[1])
	require.Equal(t, 1, strings.Count(body, `scope="row"`))
	_, body = w.get("/dashboard/inbox?to=ADA")
	require.Equal(t, 1, strings.Count(body, `scope="row"`))
	_, body = w.get("/dashboard/inbox?to=nobody")
	require.Contains(t, body, "No mail to this recipient")

	_, body = w.get("/dashboard/inbox/new?seen=49&to=ada")
	require.Contains(t, body, "51 kept")
	require.Contains(t, body, "2 new")
	require.Contains(t, body, `href="/dashboard/inbox?to=ada"`)

	_, body = w.get(path)
	require.Contains(t, body, "Autumn has come")
	require.Contains(t, body, "Hello Ada, autumn has come.")
	require.Contains(t, body, `sandbox="allow-popups allow-popups-to-escape-sandbox"`)

	res, body := w.get(path + "/html")
	require.Equal(t, mailPolicy, res.Header.Get("Content-Security-Policy"))
	require.NotContains(t, mailPolicy, "allow-scripts")
	require.NotContains(t, mailPolicy, "allow-same-origin")
	require.Contains(t, mailPolicy, "default-src 'none'")
	require.Contains(t, body, `<base target="_blank">`)
	require.Contains(t, body, m.HTML)

	res, body = w.get(path + "/raw")
	require.Equal(t, string(m.Raw), body)
	require.Equal(t, "message/rfc822", res.Header.Get("Content-Type"))
	require.Contains(t, res.Header.Get("Content-Disposition"), "attachment")
}

func TestAssets(t *testing.T) {
	w := newWorld(t, nil)
	_, page := w.get("/dashboard")
	for _, m := range regexp.MustCompile(`/dashboard/assets/[a-z.-]+\?v=[0-9a-f]{12}`).FindAllString(page, -1) {
		res, _ := w.get(m)
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Contains(t, res.Header.Get("Cache-Control"), "immutable")
		res, _ = w.do(http.MethodGet, m, http.Header{"If-None-Match": {res.Header.Get("ETag")}})
		require.Equal(t, http.StatusNotModified, res.StatusCode)
	}
	for _, name := range []string{"htmx.LICENSE", "htmx-sse.LICENSE"} {
		res, body := w.get("/dashboard/assets/" + name)
		require.Equal(t, "no-cache", res.Header.Get("Cache-Control"))
		require.Contains(t, body, "Permission to use, copy, modify")
	}
	_, body := w.get("/dashboard/assets/uplot.LICENSE")
	require.Contains(t, body, "Permission is hereby granted")
}
