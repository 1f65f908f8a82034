package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
	"kairos/delivery"
)

// dsnLetter is a delivery status notification about ann@example.com.
func dsnLetter(to, action, status string) string {
	return "To: <" + to + ">\r\nSubject: Undelivered\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n" +
		"Reporting-MTA: dns; relay.example\r\n\r\nFinal-Recipient: rfc822; ann@example.com\r\nAction: " + action + "\r\nStatus: " + status +
		"\r\nDiagnostic-Code: smtp; 550 ann@example.com is unknown\r\n\r\n--b--\r\n"
}

// unknownTo makes one transactional message to the sample's person whose
// attempt is unknown, and returns the attempt and its return path.
func (w *world) unknownTo(template, key string) (attempt, path string) {
	w.t.Helper()
	n := w.call("POST", "/v1/notifications", map[string]any{"template": template, "external_id": "p1", "key": key}).ok(202)
	_, err := w.pool.Exec(w.t.Context(), `
		WITH n AS (UPDATE notifications SET state = 'unknown' WHERE id = $1 RETURNING id, campaign, batch)
		INSERT INTO attempts (notification, number, campaign, batch, epoch, provider, state, started_at) SELECT id, 1, campaign, batch, 1, 'smtp', 'unknown', $2 FROM n`,
		n["id"], epoch)
	require.NoError(w.t, err)
	attempt = n["id"].(string) + ".1"
	return attempt, "bounce+" + attempt + "@bounce.example"
}

// fedBack lets delivery read the log until an attempt has the state.
func (w *world) fedBack(attempt, state string) {
	w.t.Helper()
	id, _, _ := strings.Cut(attempt, ".")
	require.Eventually(w.t, func() bool {
		require.NoError(w.t, w.api.opts.Delivery.Feedback(w.t.Context()))
		var got string
		require.NoError(w.t, w.pool.QueryRow(w.t.Context(), `SELECT state FROM attempts WHERE notification = $1`, id).Scan(&got))
		return got == state
	}, 20*time.Second, 10*time.Millisecond)
}

func TestBounces(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.key(ScopeEvents)
	template, contact, _ := w.sample()
	post := func(path, message string, headers ...string) reply {
		t.Helper()
		return w.call("POST", path, strings.NewReader(message), append([]string{"Content-Type", "message/rfc822", "Authorization", "Bearer " + key}, headers...)...)
	}
	// A soft one settles and suppresses nobody; the address is in the header.
	soft, path := w.unknownTo(template, "a")
	require.Len(t, w.call("GET", "/v1/unknowns", nil).ok(200)["items"], 1)
	require.Equal(t, map[string]any{"recorded": true, "attempt": soft, "kind": kairos.NotificationBounced, "class": "soft", "code": "4.2.2"},
		post("/v1/bounces", dsnLetter("x@y.example", "failed", "4.2.2"), "Kairos-To", path).ok(202))
	w.fedBack(soft, "accepted")
	require.Empty(t, w.call("GET", "/v1/suppressions", nil).ok(200)["items"])
	// A delay, by the message's own To.
	delayed, path := w.unknownTo(template, "b")
	require.Equal(t, kairos.NotificationDeferred, post("/v1/bounces", dsnLetter(path, "delayed", "4.4.1")).ok(202)["kind"])
	w.fedBack(delayed, "accepted")
	require.Empty(t, w.call("GET", "/v1/suppressions", nil).ok(200)["items"])
	// A hard one, by the query, twice.
	hard, path := w.unknownTo(template, "c")
	for i := range 2 {
		r := post("/v1/bounces?to="+strings.ReplaceAll(path, "+", "%2B"), dsnLetter("x@y.example", "failed", "5.1.1")).ok(202)
		require.Equal(t, "hard", r["class"])
		require.Equal(t, hard, r["attempt"])
		require.Equal(t, i == 1, r["duplicate"] == true)
	}
	w.fedBack(hard, "accepted")
	require.Empty(t, w.call("GET", "/v1/unknowns", nil).ok(200)["items"])
	require.Equal(t, "bounced", w.call("GET", "/v1/suppressions", nil).ok(200)["items"].([]any)[0].(map[string]any)["reason"])
	n := w.call("POST", "/v1/notifications", map[string]any{"template": template, "external_id": "p1", "key": "d"}).ok(202)
	require.Equal(t, "suppressed", n["reason"])
	events := w.settled("/v1/events?kind=notification.bounced,notification.deferred&contact="+contact, 3)
	require.NotContains(t, fmt.Sprint(events), "@")
	require.NotContains(t, w.log.String(), "ann@")
	require.NotContains(t, w.log.String(), "bounce+")
}

func TestWhatIsNoBounceIsTakenAndDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for reason, message := range map[string]string{
		delivery.BounceNoReport:  "To: a@b.example\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n",
		delivery.BounceNoFailure: dsnLetter("a@b.example", "relayed", "2.0.0"),
		delivery.BounceNoAttempt: dsnLetter("a@b.example", "failed", "5.1.1"),
		delivery.BounceUnknown:   dsnLetter("bounce+"+kairos.NewID().String()+".1@b.example", "failed", "5.1.1"),
	} {
		r := w.call("POST", "/v1/bounces", strings.NewReader(message), "Content-Type", "message/rfc822", "Idempotency-Key", reason)
		require.Equal(t, map[string]any{"recorded": false, "reason": reason}, r.ok(202))
	}
	mail := []string{"Content-Type", "message/rfc822"}
	require.Equal(t, delivery.BounceNoReport, w.call("POST", "/v1/bounces", strings.NewReader(""), mail...).ok(202)["reason"])
	require.Equal(t, delivery.BounceNoReport, w.call("POST", "/v1/bounces", strings.NewReader("\x00\xff"), mail...).ok(202)["reason"])
	w.call("POST", "/v1/bounces", strings.NewReader(strings.Repeat("x", delivery.MaxBounce)), mail...).ok(202)
	w.call("POST", "/v1/bounces", strings.NewReader(strings.Repeat("x", delivery.MaxBounce+1)), mail...).problem(413, "")
	chunked := struct{ *strings.Reader }{strings.NewReader(strings.Repeat("x", delivery.MaxBounce+1))}
	w.call("POST", "/v1/bounces", chunked, mail...).problem(413, "")
	w.call("POST", "/v1/bounces", `{}`).problem(415, "header.Content-Type")
	w.call("POST", "/v1/bounces", strings.NewReader("x"), append(mail, "Content-Encoding", "gzip")...).problem(415, "header.Content-Encoding")
	w.call("POST", "/v1/bounces?to="+strings.Repeat("x", 501), strings.NewReader("x"), mail...).problem(422, "query.to")
	w.call("POST", "/v1/bounces?to=%00", strings.NewReader("x"), mail...).problem(400, "")
	require.Empty(t, w.call("GET", "/v1/events?kind=notification.bounced", nil).ok(200)["items"])
}
