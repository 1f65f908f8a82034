package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"kairos"
	"kairos/internal/token"
)

// hit is one click, or one payment that a landing page reports, and what came
// of it.
type hit struct {
	path, body   string
	notification kairos.ID
	link         uint16 // of a click
	key          string // of a payment

	acked  bool
	tries  int // more than one: a collector was gone, and what it did is not known
	status int
	err    error
	took   time.Duration // of the try that was answered
	at     time.Duration // when that began, since the first hit
	late   time.Duration // how long after its moment it was sent
}

// crowd is a campaign that everybody has got, and what people do with it: each
// link of each message is followed once, and for every tenth click somebody
// pays.
func (t *trial) crowd(people int, env ...string) (hits []*hit) {
	sink := t.smtp(0, env...)
	t.serve("api,creation,orchestration,analysis,delivery", "KAIROS_LISTEN="+t.listen)
	t.audience(people)
	id := t.campaign(nil)
	t.finished(id, 5*time.Minute)
	t.proves(sink.Total() == people, "%d of %d got mail", sink.Total(), people)
	t.res.Recipients = 0
	rows := t.rows(id)
	ring, err := token.ParseKeyring(secret)
	t.check(err)
	for no, d := range destinations {
		for _, r := range rows {
			c := token.Claims{Purpose: token.PurposeClick, Campaign: r.campaign, Notification: r.id, Link: uint16(no + 1), Destination: d}
			hits = append(hits, &hit{path: "/c/" + ring.Mint(c), notification: r.id, link: c.Link})
			if len(hits)%11 == 10 {
				key := fmt.Sprintf("order-%d", len(hits))
				hits = append(hits, &hit{path: "/t/" + ring.Mint(c.Track()), notification: r.id, key: key,
					body: `{"kind":"payment.received","key":"` + key + `","amount":"1","currency":"EUR"}`})
			}
		}
	}
	t.random.Shuffle(len(hits), func(i, j int) { hits[i], hits[j] = hits[j], hits[i] })
	return hits
}

// browsers are how many hits may be under way at once. When the collectors are
// slow, or this process gets too little of the machine, hits are sent late
// instead of piling up in here, where their waiting would count as an answer's.
const browsers = 256

func browser(connections int) *http.Client {
	return &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// follow sends the hits at a rate to collectors; a hit that finds nobody at one
// goes to the next, as behind a load balancer. It returns when all are
// answered.
func (t *trial) follow(hits []*hit, rate int, collectors func() []string) {
	mail, shops := browser(browsers), browser(browsers) // who follows a link and who pays has not the same connection
	defer mail.CloseIdleConnections()
	defer shops.CloseIdleConnections()
	var visiting sync.WaitGroup
	over := t.compare()
	began := time.Now()
	due := make(chan int)
	for range browsers {
		visiting.Go(func() {
			for i := range due {
				h, client := hits[i], mail
				if h.key != "" {
					client = shops
				}
				h.late = time.Since(began.Add(dueAt(i, rate)))
				t.visit(h, i, client, began, collectors)
			}
		})
	}
	for i := range hits {
		if wait := time.Until(began.Add(dueAt(i, rate))); wait > 0 {
			t.pause(wait)
		}
		due <- i
	}
	close(due)
	visiting.Wait()
	over()
	t.check(t.ctx.Err())
}

func dueAt(i, rate int) time.Duration { return time.Duration(i) * time.Second / time.Duration(rate) }

// visit sends one hit until somebody answers.
func (t *trial) visit(h *hit, i int, client *http.Client, began time.Time, collectors func() []string) {
	for try := range 40 {
		all := collectors()
		sent := time.Now()
		h.tries++
		h.status, h.err = h.send(t.ctx, client, all[(i+try)%len(all)])
		h.took, h.at = time.Since(sent), sent.Sub(began)
		if h.err == nil || t.ctx.Err() != nil {
			break
		}
		time.Sleep(time.Duration(min(try, 5)) * 50 * time.Millisecond)
	}
	h.acked = h.err == nil && (h.status == http.StatusFound || h.status == http.StatusAccepted)
}

// compare visits the bare server, one at a time, until it is told that it is over.
func (t *trial) compare() (over func()) {
	url, client := t.bare(), browser(1)
	stop := make(chan struct{})
	var visiting sync.WaitGroup
	visiting.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(4 * time.Millisecond):
			}
			sent := time.Now()
			if _, err := (&hit{}).send(t.ctx, client, url); err == nil {
				t.mu.Lock()
				t.spent = append(t.spent, time.Since(sent))
				t.mu.Unlock()
			}
		}
	})
	return func() {
		close(stop)
		visiting.Wait()
		client.CloseIdleConnections()
	}
}

func (h *hit) send(ctx context.Context, c *http.Client, base string) (int, error) {
	method := http.MethodGet
	if h.body != "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, base+h.path, strings.NewReader(h.body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36")
	if h.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// logged waits until every acknowledged hit is in the log, but for so many that
// the collector counted as dropped, and counts how often each is. A hit that was sent twice, because a collector died with the first,
// may be there for each of its tries.
func (t *trial) logged(hits []*hit, refused, dropped int) {
	acked, wrong := 0, 0
	for _, h := range hits {
		if h.acked {
			acked++
		} else {
			wrong++
			if wrong <= 3 {
				t.say("not acknowledged: %d %v", h.status, h.err)
			}
		}
	}
	t.res.Recipients, t.res.Accepted = t.res.Recipients+len(hits), t.res.Accepted+acked
	if wrong > refused {
		t.breach("%d hits were not acknowledged", wrong)
	}
	t.promptly(hits)
	type fact struct {
		notification kairos.ID
		link, key    string
	}
	var found map[fact]int
	missing := func() (n int) {
		for _, h := range hits {
			if h.acked && found[fact{h.notification, h.linkText(), h.key}] == 0 {
				n++
			}
		}
		return n
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		found = map[fact]int{}
		rows, err := t.pool.Query(t.ctx, `SELECT notification, coalesce(data ->> 'link', ''), CASE kind WHEN 'payment.received' THEN key ELSE '' END
			FROM events WHERE kind IN ('notification.clicked', 'payment.received')`)
		t.check(err)
		for rows.Next() {
			var f fact
			t.check(rows.Scan(&f.notification, &f.link, &f.key))
			if f.key != "" {
				f.link = ""
			}
			found[f]++
		}
		t.check(rows.Err())
		if missing() <= dropped || time.Now().After(deadline) {
			break
		}
		t.pause(200 * time.Millisecond)
	}
	t.res.Missing += max(0, missing()-dropped)
	again := 0
	for _, h := range hits {
		n := found[fact{h.notification, h.linkText(), h.key}]
		most := h.tries
		if h.key != "" {
			most = 1
		}
		if n > most {
			t.res.Duplicates++
		}
		if h.tries > 1 {
			again++
		}
		delete(found, fact{h.notification, h.linkText(), h.key})
	}
	if len(found) > 0 {
		t.breach("%d hits are in the log that nobody sent", len(found))
	}
	if again > 0 {
		t.res.note("%d hits needed a second collector", again)
	}
}

// promptly says how long answers took, and judges those to clicks: a payment
// waits for the disk as long as it takes, as the bare write beside it does.
func (t *trial) promptly(hits []*hit) {
	var clicks, payments, late []time.Duration
	slow := map[time.Duration]int{} // clicks of more than prompt, by the second
	for _, h := range hits {
		late = append(late, h.late)
		switch {
		case !h.acked:
		case h.key != "":
			payments = append(payments, h.took)
		default:
			clicks = append(clicks, h.took)
			if h.took > prompt {
				slow[h.at.Truncate(time.Second)]++
			}
		}
	}
	p99, least := percentile(clicks), percentile(t.spent)
	t.res.note("p50 %s, p99 %s of the clicks, p99 %s of the payments, which wait for the disk, and %s of a bare durable write beside them; p99 of what this client was late itself %s",
		short(middle(clicks)), short(p99), short(percentile(payments)), short(least), short(percentile(late)))
	if len(slow) > 0 {
		var when []string
		for _, at := range slices.Sorted(maps.Keys(slow)) {
			when = append(when, fmt.Sprintf("%s: %d", at, slow[at]))
		}
		t.say("clicks that took more than %s, by the second they came: %s", prompt, strings.Join(when, ", "))
	}
	if t.Full && p99 > max(prompt, 4*least) {
		t.breach("p99 of the clicks is %s", p99.Round(time.Millisecond))
	}
}

// prompt is the longest that 99 of 100 opens and clicks take.
const prompt = 50 * time.Millisecond

func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

func middle(took []time.Duration) time.Duration {
	if len(took) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(took))[len(took)/2]
}

func (h *hit) linkText() string {
	if h.link == 0 || h.key != "" {
		return ""
	}
	return fmt.Sprint(h.link)
}
