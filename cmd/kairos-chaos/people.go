package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"kairos"
	"kairos/internal/token"
)

// oneKey: many POSTs at once with one idempotency key, to two processes, have
// one effect and one answer.
func oneKey(t *trial) {
	rounds, posts := pick(t, 3, 20), 200
	t.smtp(0)
	t.usual(0)
	second := t.serve("api")
	var m struct{ ID string }
	t.check(t.api.Post(t.ctx, "/v1/templates", map[string]any{"name": "Offer", "channel": "email", "subject": "Offer", "html": html}, &m))
	http := &http.Client{Transport: &http.Transport{MaxConnsPerHost: posts / 2}, Timeout: time.Minute}
	defer http.CloseIdleConnections()
	for round := range rounds {
		name := fmt.Sprintf("One %d", round)
		body := fmt.Sprintf(`{"name":%q,"template":%q,"audience":{"all":true},"schedule":{"mode":"now"}}`, name, m.ID)
		var mu sync.Mutex
		answers, codes := map[string]bool{}, map[int]int{}
		var all sync.WaitGroup
		for i := range posts {
			all.Go(func() {
				code, answer, err := t.postOnce(http, []string{t.api.Server, second.URL}[i%2], name, body)
				for err == nil && code == 429 && t.ctx.Err() == nil { // the key's rate is used up: no answer yet
					time.Sleep(time.Second)
					code, answer, err = t.postOnce(http, []string{t.api.Server, second.URL}[i%2], name, body)
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					code = -1
				}
				codes[code]++
				if code == 201 {
					answers[answer] = true
				}
			})
		}
		all.Wait()
		t.res.Faults += posts
		t.res.Recipients += posts
		effects := t.count(`SELECT count(*) FROM campaigns WHERE name = $1`, name)
		t.res.Accepted += effects
		t.res.Duplicates += max(0, effects-1)
		t.res.Missing += max(0, 1-effects)
		if len(answers) != 1 || codes[201]+codes[409] != posts {
			t.breach("%d different answers, by status %v", len(answers), codes)
		}
	}
}

func (t *trial) postOnce(c *http.Client, server, key, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(t.ctx, http.MethodPost, server+"/v1/campaigns", bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+t.api.Key)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", strings.ReplaceAll(key, " ", "-"))
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

// pauseCancel: once a pause or a cancellation has been answered, at most what
// was in flight still goes out, and resuming sends nobody twice.
func pauseCancel(t *trial) {
	people, pauses, senders := pick(t, 3000, 20_000), pick(t, 2, 20), 2
	sink := t.smtp(20 * time.Millisecond)
	t.usual(senders)
	t.audience(people)
	id := t.campaign(nil)
	most := 0
	stopped := func(action string) {
		t.taken(sink.Total, min(sink.Total()+people/(2*pauses), people-1))
		t.act(id, action)
		at := sink.Total() // after the answer
		t.fault("%s after %d messages", action, at)
		after := t.settled(sink.Total)
		most = max(most, after-at)
		if after-at > senders*t.inFlight {
			t.breach("%d messages after the answer to %s", after-at, action)
		}
	}
	for range pauses {
		stopped("pause")
		t.act(id, "resume")
	}
	stopped("cancel")
	after := sink.Total()
	t.proves(after < people, "the campaign was over before it was cancelled")
	t.until(time.Minute, func() string {
		if n := t.status(id).Progress.Pending; n > 0 {
			return fmt.Sprintf("%d are still to be sent", n)
		}
		return ""
	})
	t.pause(2 * time.Second) // longer than any tick: does anything go on?
	if n := sink.Total(); n != after {
		t.breach("%d messages after the cancellation had settled", n-after)
	}
	t.verify(sink.Recipients(), people, 0, id)
	t.res.note("at most %d messages after an answer; %d in flight are allowed", most, senders*t.inFlight)
}

// unsubscribe: people leave while the campaign is sent. Whoever's leaving was
// answered has no attempt that began later.
func unsubscribe(t *trial) {
	people := pick(t, 2500, 20_000)
	sink := t.smtp(20 * time.Millisecond)
	t.usual(2)
	t.audience(people)
	id := t.campaign(nil)
	t.taken(sink.Total, people/20)
	rows := t.rows(id)
	t.random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	type left struct {
		id kairos.ID
		at time.Time
	}
	var gone []left
	for _, r := range rows[:len(rows)/3] {
		at, err := t.leave(r)
		t.check(err)
		gone = append(gone, left{r.id, at})
		if sink.Total() > people*3/4 {
			break
		}
	}
	t.res.Faults = len(gone)
	t.proves(sink.Total() < people, "the campaign was over")
	t.finished(id, 5*time.Minute)
	spared, late := 0, 0
	for _, g := range gone {
		var state, reason string
		var after int
		t.check(t.pool.QueryRow(t.ctx, `
			SELECT state, coalesce(reason, ''), (SELECT count(*) FROM attempts a WHERE a.notification = n.id AND a.campaign = n.campaign AND a.started_at > $2)
			FROM notifications n WHERE id = $1`, g.id, g.at).Scan(&state, &reason, &after))
		late += after
		if state == kairos.StateSkipped {
			spared++
			if reason != string(kairos.ReasonUnsubscribed) {
				t.breach("skipped for %q", reason)
			}
		}
	}
	if late > 0 {
		t.breach("%d attempts began after the unsubscription had been answered", late)
	}
	t.proves(spared > 0, "everybody who left had been sent to already")
	t.res.note("%d left, %d of them in time to be spared", len(gone), spared)
	t.verify(sink.Recipients(), people, 0, id)
}

// leave is RFC 8058's one click; it returns when it was answered.
func (t *trial) leave(r row) (time.Time, error) {
	to := t.api.Server + "/u/" + t.mint(token.Claims{Purpose: token.PurposeUnsubscribe, Campaign: r.campaign, Notification: r.id})
	req, err := http.NewRequestWithContext(t.ctx, http.MethodPost, to, strings.NewReader("List-Unsubscribe=One-Click"))
	if err != nil {
		return time.Time{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("unsubscribing was answered with %s", resp.Status)
	}
	return time.Now(), err
}
