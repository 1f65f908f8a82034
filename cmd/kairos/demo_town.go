package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"kairos"
	"kairos/internal/devstack"
)

// town is where the simulated people live: they read their mail and act on the
// public API like anybody's browser, each by a random source of its own, and
// remember what they did.
type town struct {
	world *hiddenWorld
	clock *kairos.ScaledClock
	api   *client
	http  *http.Client
	play  *player

	mu      sync.Mutex
	did     map[string]int64
	revenue kairos.Amount
	mails   []int                // received so far, by person
	touch   []time.Time          // last open or click, by person
	left    []bool               // unsubscribed
	letters map[string][]arrival // by campaign
	failed  error                // a mail that can't be
}

// arrival is one message that arrived.
type arrival struct {
	notification string
	person       int
	at           time.Time
}

func newTown(world *hiddenWorld, clock *kairos.ScaledClock, api *client) *town {
	n := len(world.people)
	return &town{
		world: world, clock: clock, api: api, play: &player{clock: clock, width: 16},
		http: &http.Client{
			Timeout:       30 * time.Second,
			Transport:     &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		did: map[string]int64{}, mails: make([]int, n), touch: make([]time.Time, n), left: make([]bool, n), letters: map[string][]arrival{},
	}
}

var (
	firstNames = []string{"Ada", "Bruno", "Chidi", "Dana", "Emil", "Fatima", "Grace", "Hugo", "Inés", "Jun", "Kofi", "Lena", "Mira", "Noor", "Otto", "Priya"}
	favourites = []string{"pears", "plums", "walnuts", "quinces", "honey"}
	townZones  = []string{"Europe/Berlin", "Europe/Lisbon", "America/New_York", "America/Sao_Paulo", "Africa/Nairobi", "Asia/Tokyo"}
)

// csv is the audience as a shop would export it.
func (w *town) csv() (io.Reader, int64) {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	rows := [][]string{{"external_id", "email", "first_name", "timezone", "newsletter", "favourite"}}
	for i := range w.world.people {
		p := &w.world.people[i]
		newsletter, zone := "yes", ""
		if !p.reader {
			newsletter = "no"
		}
		if p.told {
			zone = p.zone.String()
		}
		rows = append(rows, []string{
			fmt.Sprintf("p%d", i), fmt.Sprintf("p%d@town.example", i), firstNames[p.firstName], zone, newsletter, favourites[p.favourite],
		})
	}
	_ = out.WriteAll(rows) // a bytes.Buffer takes everything
	return &b, int64(b.Len())
}

// add counts what somebody did.
func (w *town) add(step string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did[step]++
}

var linkForm = regexp.MustCompile(`(?:href|src)="([^"]+/([ocu])/[^"]+)"`)

// contents is what a mail program sees of a mail.
type contents struct {
	pixel, unsubscribe string
	links              []string
}

// receive is called for every mail, before the platform hears that it was
// taken. What the person will do is planned at once.
func (w *town) receive(m *devstack.Message) {
	if err := w.open(m); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.failed = err
	}
}

func (w *town) open(m *devstack.Message) error {
	var i int
	if _, err := fmt.Sscanf(strings.ToLower(m.To[0]), "p%d@", &i); err != nil || i < 0 || i >= len(w.mails) {
		return fmt.Errorf("mail to a stranger: %s", m.To[0])
	}
	l := contents{unsubscribe: strings.Trim(m.Header.Get("List-Unsubscribe"), "<>")}
	for _, found := range linkForm.FindAllStringSubmatch(m.HTML, -1) {
		switch u := html.UnescapeString(found[1]); found[2] {
		case "o":
			l.pixel = u
		case "c":
			l.links = append(l.links, u)
		}
	}
	if l.pixel == "" || len(l.links) != 3 || l.unsubscribe == "" {
		return fmt.Errorf("mail %s has %d tracked links, pixel %q, unsubscribe %q", m.ID, len(l.links), l.pixel, l.unsubscribe)
	}
	campaign, _, _ := strings.Cut(m.Header.Get("Feedback-ID"), ":")
	notification, _, _ := strings.Cut(m.Header.Get("X-Kairos-Attempt"), ".")
	w.mu.Lock()
	w.did["sent"]++
	n := w.mails[i]
	w.mails[i]++
	w.letters[campaign] = append(w.letters[campaign], arrival{notification, i, m.Received})
	gone := w.left[i]
	w.mu.Unlock()
	if gone {
		return fmt.Errorf("p%d got a mail after unsubscribing", i)
	}
	w.decide(i, n, m.Received, l)
	return nil
}

// decide plans what the n-th mail brings about: programs look at it at once,
// person i some minutes later. Whether the person will click depends on the
// hour of arrival.
func (w *town) decide(i, n int, at time.Time, l contents) {
	r := w.world.source(i, 2, uint64(n))
	clicks := r.Float64() < w.world.rates[i][w.world.hour(i, at)]
	switch u := r.Float64(); {
	case u < 0.015: // a company's scanner that says what it is
		w.add("machine_clicked")
		w.play.at(at, func(ctx context.Context) error { return w.scan(ctx, l.links, agentScanner) })
	case u < 0.03: // one that looks like a browser, but follows every link at once; the person comes to it afterwards
		w.add("machine_clicked")
		w.play.at(at, func(ctx context.Context) error {
			w.clock.Hold() // all links within a second, however slow the machine
			defer w.clock.Release()
			if err := w.scan(ctx, l.links, agentPerson); err != nil {
				return err
			}
			w.answer(i, n, w.clock.Now(), clicks, r, l)
			return nil
		})
		return
	case u < 0.06: // a mail program that fetches pictures unasked
		w.add("machine_opened")
		w.play.at(at, func(ctx context.Context) error { return w.fetch(ctx, http.MethodGet, l.pixel, agentProxy) })
	case u < 0.07: // one that asks where a link leads
		w.add("machine_clicked")
		w.play.at(at, func(ctx context.Context) error { return w.fetch(ctx, http.MethodHead, l.links[0], agentPerson) })
	}
	w.answer(i, n, at, clicks, r, l)
}

// answer plans what the person does who finds the mail at some moment.
func (w *town) answer(i, n int, at time.Time, clicks bool, r *rand.Rand, l contents) {
	if !clicks && r.Float64() > 0.3 {
		return
	}
	later := func(atLeast, mean, most time.Duration) time.Duration {
		return min(atLeast+time.Duration(r.ExpFloat64()*float64(mean)), most)
	}
	due := at.Add(later(5*time.Minute, 15*time.Minute, 90*time.Minute))
	opens := 1
	if w.world.people[i].bursty {
		opens += r.IntN(3)
	}
	w.add("opened")
	for k := range opens {
		w.play.at(due.Add(time.Duration(k)*3*time.Minute), func(ctx context.Context) error {
			w.touched(i)
			return w.fetch(ctx, http.MethodGet, l.pixel, agentPerson)
		})
	}
	if clicks {
		due = due.Add(later(time.Minute, 3*time.Minute, 30*time.Minute))
		link, own := l.links[r.IntN(len(l.links))], w.world.source(i, 3, uint64(n))
		w.play.at(due, func(ctx context.Context) error { return w.click(ctx, i, n, own, link) })
	}
	if r.Float64() < 0.006 {
		w.add("unsubscribed")
		w.play.at(due.Add(time.Minute), func(ctx context.Context) error { return w.unsubscribe(ctx, i, l.unsubscribe) })
	}
}

func (w *town) touched(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.touch[i] = w.clock.Now()
}

// click follows a link to the landing page and goes on from there.
func (w *town) click(ctx context.Context, i, n int, r *rand.Rand, link string) error {
	w.touched(i)
	w.add("clicked")
	landing, err := w.visit(ctx, http.MethodGet, link, nil, "", agentPerson)
	if err != nil {
		return err
	}
	u, err := url.Parse(landing)
	if err != nil || u.Host != "shop.example.com" || u.Query().Get("kt") == "" || u.Query().Get("utm_source") != "kairos" {
		return fmt.Errorf("the click led to %q", landing)
	}
	say := func(step, body string) error {
		w.add(step)
		_, err := w.visit(ctx, http.MethodPost, w.api.Server+"/t/"+u.Query().Get("kt"), strings.NewReader(body), "application/json", agentPerson)
		return err
	}
	if err := say("viewed", `{"kind":"page.viewed"}`); err != nil {
		return err
	}
	if r.Float64() > 0.6 {
		return nil
	}
	if err := say("cta", `{"kind":"cta.clicked"}`); err != nil {
		return err
	}
	if r.Float64() > 0.5 {
		return say("offer_declined", `{"kind":"offer.declined"}`)
	}
	if err := say("offer_accepted", `{"kind":"offer.accepted"}`); err != nil {
		return err
	}
	if r.Float64() > 0.7 {
		return nil
	}
	amount := price(r)
	w.mu.Lock()
	w.revenue += amount
	w.mu.Unlock()
	return say("paid", fmt.Sprintf(`{"kind":"payment.received","key":"order-%d-%d","amount":"%s","currency":"EUR"}`, i, n, amount))
}

// price is 10.00 to 99.99.
func price(r *rand.Rand) kairos.Amount { return kairos.Amount(10_000_000 + r.Int64N(90_00)*10_000) }

// unsubscribe is RFC 8058's one click.
func (w *town) unsubscribe(ctx context.Context, i int, to string) error {
	_, err := w.visit(ctx, http.MethodPost, to, strings.NewReader("List-Unsubscribe=One-Click"), "application/x-www-form-urlencoded", agentPerson)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left[i] = true
	return err
}

func (w *town) scan(ctx context.Context, links []string, agent string) error {
	for _, u := range links {
		if err := w.fetch(ctx, http.MethodGet, u, agent); err != nil {
			return err
		}
	}
	return nil
}

const (
	agentPerson  = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	agentScanner = "Mozilla/5.0 (compatible; MailScanner/5.0)"
	agentProxy   = "Mozilla/5.0"
)

func (w *town) fetch(ctx context.Context, method, to, agent string) error {
	_, err := w.visit(ctx, method, to, nil, "", agent)
	return err
}

// visit sends one request and returns where it leads, if it redirects.
func (w *town) visit(ctx context.Context, method, to string, body io.Reader, contentType, agent string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", agent)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := w.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("visit: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode >= 400 {
		return "", fmt.Errorf("%s %s answered %s", method, req.URL.Path[:min(len(req.URL.Path), 6)], resp.Status)
	}
	return resp.Header.Get("Location"), nil
}

// townSteps are the steps of the funnel and beside it that the people know of.
var townSteps = []string{"sent", "opened", "clicked", "viewed", "cta", "offer_accepted", "offer_declined", "paid",
	"unsubscribed", "machine_opened", "machine_clicked"}

// truth is what the people did: messages by step, and the money of those who
// came by a mail.
func (w *town) truth() (map[string]int64, kairos.Amount, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	steps := map[string]int64{}
	for _, s := range townSteps {
		steps[s] = w.did[s]
	}
	return steps, w.revenue, w.failed
}
