package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
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

// follow sends the hits at a rate to collectors; a hit that finds nobody at one
// goes to the next, as behind a load balancer. It returns when all are
// answered.
func (t *trial) follow(hits []*hit, rate int, collectors func() []string) {
	browsers := &http.Client{
		Timeout:       30 * time.Second,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 256},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer browsers.CloseIdleConnections()
	var visiting sync.WaitGroup
	bare := t.bare()
	began := time.Now()
	for i, h := range hits {
		if wait := time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(rate))); wait > 0 {
			t.pause(wait)
		}
		visiting.Go(func() {
			for try := range 40 {
				all := collectors()
				sent := time.Now()
				h.tries++
				h.status, h.err = h.send(t.ctx, browsers, all[(i+try)%len(all)])
				h.took = time.Since(sent)
				if h.err == nil || t.ctx.Err() != nil {
					break
				}
				time.Sleep(time.Duration(min(try, 5)) * 50 * time.Millisecond)
			}
			if i%20 == 0 {
				sent := time.Now()
				if _, err := (&hit{}).send(t.ctx, browsers, bare); err == nil {
					t.mu.Lock()
					t.spent = append(t.spent, time.Since(sent))
					t.mu.Unlock()
				}
			}
			h.acked = h.err == nil && (h.status == http.StatusFound || h.status == http.StatusAccepted)
		})
	}
	visiting.Wait()
	t.check(t.ctx.Err())
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
	var took []time.Duration
	acked, wrong := 0, 0
	for _, h := range hits {
		if h.acked {
			acked++
			took = append(took, h.took)
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
	p99, least := percentile(took), percentile(t.spent)
	t.res.note("p50 %s, p99 %s of the answers, p99 of a bare durable write beside them %s", middle(took).Round(10*time.Microsecond),
		p99.Round(10*time.Microsecond), least.Round(10*time.Microsecond))
	if t.Full && p99 > max(50*time.Millisecond, 4*least) {
		t.breach("p99 of the answers is %s", p99.Round(time.Millisecond))
	}
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

// outage plays clicks for as long as Postgres is away and a third more; part
// happens in its middle.
func (t *trial) outage(env []string, collectors func() []string, part func()) {
	rate, away := pick(t, 300, 2000), pick(t, 4*time.Second, 30*time.Second)
	people := rate * int(away/time.Second) * 4 / 3 / 3 * 10 / 11
	hits := t.crowd(people, env...)
	bases := collectors()
	t.proves(len(bases) > 0, "no collector")
	done := make(chan struct{})
	var failed error
	go func() {
		defer close(done)
		time.Sleep(away / 6)
		failed = t.stack.Postgres.Stop(true)
		time.Sleep(away / 2)
		if part != nil {
			part()
		}
		time.Sleep(away / 2)
		if err := t.stack.Postgres.Start(t.ctx); err != nil {
			failed = err
		}
	}()
	t.fault("Postgres is away for %s under %d hits a second", away, rate)
	t.follow(hits, rate, collectors)
	<-done
	t.check(failed)
	t.pool.Reset()
	t.logged(hits, 0, 0)
}

// clicksPostgresDown: every click is redirected and every payment taken while
// Postgres is away, and afterwards each of them is in the log, once.
func clicksPostgresDown(t *trial) {
	var base []string
	t.outage(nil, func() []string {
		if base == nil {
			base = []string{t.serve("track").url}
		}
		return base
	}, nil)
}

// clicksCollectorKilled: of two collectors one is killed while Postgres is
// away. Its spool is shipped when it is started again.
func clicksCollectorKilled(t *trial) {
	var mu sync.Mutex
	var procs []*process
	spool := ""
	collectors := func() (urls []string) {
		mu.Lock()
		defer mu.Unlock()
		if procs == nil {
			spool = filepath.Join(t.dir, "victims-spool")
			procs = []*process{t.serve("track", "KAIROS_SPOOL_DIR="+spool), t.serve("track")}
		}
		for _, p := range procs {
			urls = append(urls, p.url)
		}
		return urls
	}
	var killed error
	t.outage(nil, collectors, func() {
		mu.Lock()
		victim := procs[0]
		procs = procs[1:]
		mu.Unlock()
		killed = victim.kill()
		t.fault("kill -9 of a collector with Postgres away")
		// A binary refuses to start without Postgres: its successor comes when that is back.
		t.watching.Go(func() {
			for t.ctx.Err() == nil {
				if _, err := t.launch(t.binary, "track", "KAIROS_SPOOL_DIR="+spool); err == nil {
					return
				}
				time.Sleep(500 * time.Millisecond)
			}
		})
	})
	t.check(killed)
}

// clicksDiskFull: the spool's disk takes nothing for a while. Redirects go on
// and are counted as dropped; a payment is refused, never lost.
func clicksDiskFull(t *trial) {
	dir, err := os.MkdirTemp(t.suite.dir, "disk-")
	t.check(err)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.skip("a small file system of its own needs root: mount tmpfs: %v", err)
	}
	t.closing(func() error { return syscall.Unmount(dir, 0) })
	rate, full := pick(t, 300, 2000), pick(t, 3*time.Second, 20*time.Second)
	hits := t.crowd(rate * int(full/time.Second) * 2 / 3)
	p := t.serve("track", "KAIROS_SPOOL_DIR="+filepath.Join(dir, "spool"))
	ballast := filepath.Join(dir, "ballast")
	filled := make(chan error, 1)
	go func() {
		time.Sleep(full / 2)
		f, err := os.Create(ballast)
		if err != nil {
			filled <- err
			return
		}
		for until := time.Now().Add(full); time.Now().Before(until); { // what is shipped makes room: fill that too
			if _, err := f.Write(make([]byte, 4096)); err != nil {
				time.Sleep(time.Millisecond)
			}
		}
		filled <- f.Close()
		_ = os.Remove(ballast)
	}()
	t.fault("the spool's disk is full for %s under %d hits a second", full, rate)
	t.follow(hits, rate, func() []string { return []string{p.url} })
	t.check(<-filled)
	// A click that was answered and dropped is not acknowledged as recorded:
	// the collector says how many there were.
	dropped, refused := t.dropped(hits, p)
	t.proves(dropped+refused > 0, "the disk was never full")
	t.res.note("%d clicks were redirected and counted as dropped, %d payments were refused with 503", dropped, refused)
}

// dropped checks the hits of a disk that was full: each click is redirected,
// each payment 202 or 503, and what is missing in the log is what the
// collector counted.
func (t *trial) dropped(hits []*hit, p *process) (dropped, refused int) {
	for _, h := range hits {
		switch {
		case h.key == "" && h.status != http.StatusFound:
			t.breach("a click was answered with %d", h.status)
		case h.key != "" && h.status == http.StatusServiceUnavailable:
			refused++
		case h.key != "" && !h.acked:
			t.breach("a payment was answered with %d", h.status)
		}
	}
	dropped = int(t.metric(p.url, "kairos_spool_dropped_total"))
	t.logged(hits, refused, dropped)
	t.res.Accepted -= dropped
	// A payment is never among what was dropped.
	paid := 0
	var keys []string
	for _, h := range hits {
		if h.key != "" && h.acked {
			paid++
			keys = append(keys, h.key)
		}
	}
	if kept := t.count(`SELECT count(*) FROM events WHERE kind = 'payment.received' AND key = ANY ($1)`, keys); kept != paid {
		t.res.Missing += paid - kept
	}
	return dropped, refused
}
