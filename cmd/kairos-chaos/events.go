package main

import (
	"fmt"
	"slices"
	"time"

	"kairos/delivery/deliverytest"
)

// providerEvents: SendGrid takes some calls and answers them with an error, so
// that people are in doubt; its events come in every order, each many times
// under new ids. Doubts are resolved and everything counts once.
func providerEvents(t *trial) {
	people, times := pick(t, 360, 3000), 46
	grid, err := deliverytest.NewSendGrid(deliverytest.SendGridOptions{APIKey: "SG.key", Seed: t.Seed})
	t.check(err)
	t.closing(grid.Close)
	t.world("KAIROS_EMAIL_PROVIDER=sendgrid", "KAIROS_SENDGRID_API_KEY=SG.key",
		"KAIROS_SENDGRID_URL="+grid.URL(), "KAIROS_SENDGRID_WEBHOOK_KEY="+grid.PublicKey())
	t.usual(1)
	t.audience(people)
	grid.SetFaults(deliverytest.CallFault{To: address(7), Times: 1, Take: true, Status: 500}, deliverytest.CallFault{To: address(1), Times: 1, Take: true, Close: true})
	id := t.campaign(nil)
	t.finished(id, 5*time.Minute)
	doubtful := t.status(id).Progress.Unknown
	t.res.Faults += 2
	t.proves(doubtful > 0, "nobody is in doubt")

	// The first people get their five events one after another in each of the
	// 120 orders; everybody else's come shuffled, many times.
	kinds := []string{"processed", "deferred", "delivered", "open", "click"}
	orders := permutations(len(kinds))
	t.proves(people > 2*len(orders), "more orders than people")
	hook, now := t.api.Server+"/v1/webhooks/sendgrid", time.Now()
	for step := range kinds {
		var events []deliverytest.GridEvent
		for i, order := range orders {
			m, ok := grid.Message(address(i))
			t.proves(ok, "the provider knows nothing of %s", address(i))
			k := order[step]
			events = append(events, grid.Event(kinds[k], m, now.Add(time.Duration(k)*time.Second)))
		}
		t.check(grid.Post(t.ctx, hook, events, deliverytest.PostOptions{}))
		t.res.Faults++
	}
	bounced := 0
	var events []deliverytest.GridEvent
	for i := len(orders); i < people; i++ {
		m, ok := grid.Message(address(i))
		t.proves(ok, "the provider knows nothing of %s", address(i))
		events = append(events, grid.Event("processed", m, now))
		if i%40 == 0 {
			events = append(events, grid.Event("bounce", m, now.Add(time.Second)))
			bounced++
		} else {
			events = append(events, grid.Event("delivered", m, now.Add(time.Second)))
		}
	}
	t.say("posting %d events %d times, shuffled", len(events), times)
	began := time.Now()
	t.check(grid.Post(t.ctx, hook, events, deliverytest.PostOptions{Times: times, Shuffle: true}))
	t.res.Faults += times

	sent := people
	logged := func(kind string) int {
		return t.count(`SELECT count(*) FROM events WHERE campaign = $1 AND kind = $2`, id, kind)
	}
	t.until(3*time.Minute, func() string {
		if n := t.count(`SELECT count(*) FROM attempts WHERE doubtful`); n > 0 {
			return fmt.Sprintf("%d of %d are still in doubt", n, doubtful)
		}
		if n := logged("notification.delivered"); n < sent-bounced {
			return fmt.Sprintf("%d of %d deliveries are in the log", n, sent-bounced)
		}
		if n := logged("notification.bounced"); n < bounced {
			return fmt.Sprintf("%d of %d bounces are in the log", n, bounced)
		}
		if s := t.spooled(); s > 0 {
			return fmt.Sprintf("%d bytes wait in the spool", s)
		}
		return ""
	})
	t.res.note("%d in doubt were resolved %s after the first event", doubtful, time.Since(began).Round(100*time.Millisecond))
	for kind, want := range map[string]int{"notification.delivered": sent - bounced, "notification.bounced": bounced} {
		if n := logged(kind); n != want {
			t.breach("%d events %s in the log for %d facts", n, kind, want)
		}
	}
	t.sameEnd(id, len(orders))
	got := map[string]int{}
	for i := range people {
		got[address(i)] = grid.Accepted(address(i))
	}
	t.verify(got, people, 0, id)
}

// sameEnd: whoever's events came in whatever order ends alike.
func (t *trial) sameEnd(campaign string, orders int) {
	rows, err := t.pool.Query(t.ctx, `
		SELECT n.state || ' ' || (SELECT string_agg(a.state, ',' ORDER BY number) FROM attempts a WHERE a.notification = n.id AND a.campaign = n.campaign)
		       || ' ' || (SELECT string_agg(kind, ',' ORDER BY kind) FROM events e WHERE e.notification = n.id
		                  AND kind IN ('notification.delivered', 'notification.bounced', 'notification.opened', 'notification.clicked')), count(*)
		FROM notifications n JOIN contacts c ON c.id = n.contact
		WHERE n.campaign = $1 AND substring(c.external_id FROM 2)::int < $2 GROUP BY 1`, campaign, orders)
	t.check(err)
	defer rows.Close()
	var ends []string
	for rows.Next() {
		var end *string
		var n int
		t.check(rows.Scan(&end, &n))
		if end == nil {
			end = new(string)
		}
		ends = append(ends, fmt.Sprintf("%s (%d)", *end, n))
	}
	t.check(rows.Err())
	if len(ends) != 1 {
		t.breach("%d orders of the same events end differently: %v", orders, ends)
	}
}

// spooled is how many bytes wait at the public process.
func (t *trial) spooled() int {
	return int(t.metric(t.api.Server, "kairos_spool_oldest_seconds") * 1000)
}

// permutations of 0..n-1.
func permutations(n int) (all [][]int) {
	var grow func(done []int)
	grow = func(done []int) {
		if len(done) == n {
			all = append(all, slices.Clone(done))
			return
		}
		for i := range n {
			if !slices.Contains(done, i) {
				grow(append(done, i))
			}
		}
	}
	grow(nil)
	return all
}
