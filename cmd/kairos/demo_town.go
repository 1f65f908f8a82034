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

	"golang.org/x/sync/errgroup"

	"kairos"
	"kairos/internal/devstack"
)

// town is the simulated audience: people who read their mail and act on the
// public tracking API like anybody's browser, each by a random source of its
// own, and who remember what they did.
type town struct {
	seed   uint64
	people int
	api    *client
	http   *http.Client
	box    chan *devstack.Message
	sent   sync.Once

	mu      sync.Mutex
	did     map[string]int64
	revenue kairos.Amount
	spent   map[int]bool // who has paid
}

func newTown(seed uint64, people int, api *client) *town {
	return &town{
		seed: seed, people: people, api: api,
		http: &http.Client{
			Timeout:       30 * time.Second,
			Transport:     &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		box: make(chan *devstack.Message, people), did: map[string]int64{}, spent: map[int]bool{},
	}
}

// source is person i's own randomness: independent of the order of events.
func (w *town) source(i int, purpose uint64) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed<<8|purpose, uint64(i)))
}

var (
	firstNames = []string{"Ada", "Bruno", "Chidi", "Dana", "Emil", "Fatima", "Grace", "Hugo", "Inés", "Jun", "Kofi", "Lena", "Mira", "Noor", "Otto", "Priya"}
	favourites = []string{"pears", "plums", "walnuts", "quinces", "honey"}
	townZones  = []string{"Europe/Berlin", "Europe/Lisbon", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Asia/Tokyo"}
)

// csv is the audience as a shop would export it. One in twenty does not read
// the newsletter.
func (w *town) csv() (io.Reader, int64) {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	rows := [][]string{{"external_id", "email", "first_name", "timezone", "newsletter", "favourite"}}
	for i := range w.people {
		r := w.source(i, 1)
		newsletter := "yes"
		if r.Float64() < 0.05 {
			newsletter = "no"
		}
		rows = append(rows, []string{
			fmt.Sprintf("p%d", i), fmt.Sprintf("p%d@town.example", i), firstNames[r.IntN(len(firstNames))],
			townZones[r.IntN(len(townZones))], newsletter, favourites[r.IntN(len(favourites))],
		})
	}
	_ = out.WriteAll(rows) // a bytes.Buffer takes everything
	return &b, int64(b.Len())
}

// receive is called for every mail; it hands it to somebody who has time.
func (w *town) receive(m *devstack.Message) { w.box <- m }

// allSent tells that no more mail will come.
func (w *town) allSent() { w.sent.Do(func() { close(w.box) }) }

// live lets people read their mail until all of it has been read.
func (w *town) live(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for range 64 {
		g.Go(func() error {
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case m, more := <-w.box:
					if !more {
						return nil
					}
					if err := w.read(ctx, m); err != nil {
						return err
					}
				}
			}
		})
	}
	return g.Wait()
}

func (w *town) add(step string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did[step]++
}

var linkForm = regexp.MustCompile(`(?:href|src)="([^"]+/([ocu])/[^"]+)"`)

// read is what one person does with one mail.
func (w *town) read(ctx context.Context, m *devstack.Message) error {
	var i int
	if _, err := fmt.Sscanf(strings.ToLower(m.To[0]), "p%d@", &i); err != nil {
		return fmt.Errorf("mail to a stranger: %w", err)
	}
	w.add("sent")
	r := w.source(i, 2)
	var pixel string
	var links []string
	for _, l := range linkForm.FindAllStringSubmatch(m.HTML, -1) {
		switch u := html.UnescapeString(l[1]); l[2] {
		case "o":
			pixel = u
		case "c":
			links = append(links, u)
		}
	}
	if pixel == "" || len(links) != 3 {
		return fmt.Errorf("mail %s has %d tracked links and pixel %q", m.ID, len(links), pixel)
	}
	if r.Float64() < 0.03 { // a company's scanner looks at everything first
		for _, u := range links {
			if _, err := w.visit(ctx, http.MethodGet, u, nil, "", agentScanner); err != nil {
				return err
			}
		}
	}
	if r.Float64() > 0.45 {
		return nil
	}
	// Nobody reads a mail in the second it arrives.
	if err := poll(ctx, time.Until(m.Received.Add(1500*time.Millisecond))); err != nil {
		return err
	}
	w.add("opened")
	if _, err := w.visit(ctx, http.MethodGet, pixel, nil, "", agentPerson); err != nil {
		return err
	}
	if r.Float64() > 0.4 {
		return nil
	}
	return w.click(ctx, i, r, links[r.IntN(len(links))])
}

// click follows a link to the landing page and goes on from there.
func (w *town) click(ctx context.Context, i int, r *rand.Rand, link string) error {
	w.add("clicked")
	landing, err := w.visit(ctx, http.MethodGet, link, nil, "", agentPerson)
	if err != nil {
		return err
	}
	u, err := url.Parse(landing)
	if err != nil || u.Host != "shop.example.com" || u.Query().Get("kt") == "" || u.Query().Get("utm_campaign") != "autumn" {
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
	amount := kairos.Amount(10_000_000 + r.Int64N(90_00)*10_000) // 10.00 to 99.99
	w.mu.Lock()
	w.revenue += amount
	w.spent[i] = true
	w.mu.Unlock()
	return say("paid", fmt.Sprintf(`{"kind":"payment.received","key":"order-%d","amount":"%s","currency":"EUR"}`, i, amount))
}

// shop lets a few people buy without any mail, the held out among them: the
// shop's till reports them by its own customer numbers. It is what the
// incremental return is compared with.
func (w *town) shop(ctx context.Context) error {
	var batch []map[string]any
	for i := range w.people {
		r := w.source(i, 3)
		w.mu.Lock()
		spent := w.spent[i]
		w.mu.Unlock()
		if r.Float64() < 0.01 && !spent && !w.touched(i) {
			batch = append(batch, map[string]any{
				"kind": "payment.received", "external_id": fmt.Sprintf("p%d", i), "key": fmt.Sprintf("till-%d", i),
				"amount": kairos.Amount(10_000_000 + r.Int64N(90_00)*10_000), "currency": "EUR",
			})
		}
	}
	for len(batch) > 0 {
		n := min(len(batch), 1000)
		if err := w.api.post(ctx, "/v1/events", map[string]any{"events": batch[:n]}, nil); err != nil {
			return fmt.Errorf("report the till: %w", err)
		}
		batch = batch[n:]
	}
	return nil
}

// touched tells whether person i opens the mail if there is one: such a
// purchase would be attributed, and is left to those who made it that way.
func (w *town) touched(i int) bool {
	r := w.source(i, 2)
	_ = r.Float64()
	return r.Float64() <= 0.45
}

const (
	agentPerson  = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	agentScanner = "Mozilla/5.0 (compatible; MailScanner/5.0)"
)

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

// truth is what the people did: unique people by step, and the money of those
// who came by the mail.
func (w *town) truth() (map[string]int64, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	steps := map[string]int64{}
	for _, s := range []string{"sent", "opened", "clicked", "viewed", "cta", "offer_accepted", "offer_declined", "paid"} {
		steps[s] = w.did[s]
	}
	return steps, w.revenue.String()
}

// words prints the tables.
func (r *demoReport) words(took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%-16s %10s %14s\n", "funnel", "Kairos", "the people did")
	for _, s := range []string{"planned", "sent", "delivered", "opened", "clicked", "viewed", "cta", "offer_accepted", "offer_declined", "paid"} {
		truth := ""
		if n, said := r.Truth.Funnel[s]; said {
			truth = fmt.Sprint(n)
		}
		fmt.Fprintf(&b, "%-16s %10d %14s\n", s, r.Funnel[s], truth)
	}
	fmt.Fprintf(&b, "%-16s %10s %14s EUR\n\n", "revenue", r.ROI.Attributed.Revenue, r.Truth.Revenue)
	b.WriteString("return on investment\n")
	b.WriteString(r.ROI.words())
	verdict := "Every number equals what the people did."
	if !r.Equal {
		verdict = "The numbers DIFFER from what the people did."
	}
	fmt.Fprintf(&b, "\n\n%s (%s)", verdict, took.Round(time.Second))
	return b.String()
}
