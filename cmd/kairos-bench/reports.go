package main

import (
	"context"
	"fmt"
	"time"

	"kairos"
)

const (
	reportCampaigns = 20   // fewer where there are less than 2,500 events for each
	reportCalls     = 1000 // of each report; fewer where there are less than 100,000 events
	reportEvery     = 5 * time.Millisecond
	eventsEach      = 3.37 // of a person of a campaign, as written below
)

// deeds are what people do after a message, as shares of those who got one, in
// thousandths. Who does one has done those before it.
var deeds = []struct {
	kind, key, data string
	after           time.Duration
	share           int
	step            string // in the funnel; "": none of its own
}{
	{kairos.NotificationSent, "1", `{"provider":"smtp"}`, 0, 1000, "sent"},
	{kairos.NotificationAccepted, "1", `{"provider":"smtp","code":"250"}`, time.Second, 1000, ""},
	{kairos.NotificationOpened, "a", `{"agent":"Mozilla/5.0"}`, 20 * time.Minute, 300, "opened"},
	{kairos.NotificationClicked, "a", `{"link":1,"links":3,"url":"https://shop.example/"}`, 21 * time.Minute, 80, "clicked"},
	{kairos.PageViewed, "a", `{"path":"/"}`, 22 * time.Minute, 60, "viewed"},
	{kairos.CTAClicked, "a", `{}`, 23 * time.Minute, 30, "cta"},
	{kairos.OfferAccepted, "a", `{}`, 24 * time.Minute, 15, "offer_accepted"},
	{kairos.PaymentReceived, "a", `{"amount":"19.90","currency":"EUR"}`, 25 * time.Minute, 10, ""},
}

type reportsResult struct {
	Events    int64              `json:"events"`
	Each      int                `json:"calls_each"`
	Campaigns int                `json:"campaigns"`
	People    int                `json:"people"` // of each campaign
	FillTook  float64            `json:"fill_seconds"`
	FoldTook  float64            `json:"fold_seconds"` // after the last event was written
	Calls     map[string]figures `json:"calls"`
	Recount   float64            `json:"recount_ms"` // of one campaign, from the log
	metered
}

var reportNames = []string{"funnel", "roi", "timing"}

func (r *reportsResult) tell(t *told) {
	for _, name := range reportNames {
		f := r.Calls[name]
		t.row(fmt.Sprintf("%s report, %s events in %d campaigns", name, thousands(r.Events), r.Campaigns), fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", f.P50, f.P99),
			fmt.Sprintf("recount of one campaign from the log: %s ms", round(r.Recount)), percent(f.P50/r.Recount))
	}
	t.note("reports: %d calls of each over HTTP, one after another; %s people a campaign; filled in %.0f s, folded %.0f s later; the funnels of all campaigns equal the recount.",
		r.Each, thousands(r.People), r.FillTook, r.FoldTook)
	t.use("reports, each call", int64(r.Each*len(reportNames)), &r.metered, true)
}

// measureReports asks for reports on a full log. The campaigns are planned by
// the platform itself, with arms and holdout; what happened to the messages is
// written to the log by SQL, at each one's planned moment and after; the fold
// takes in both.
func (b *bench) measureReports(ctx context.Context, w *world) error {
	n := min(reportCampaigns, 1+b.sizes.Events/2500)
	people := int(float64(b.sizes.Events)/eventsEach) / n
	r := &reportsResult{Each: min(reportCalls, b.sizes.Events/100), Campaigns: n, People: people, Calls: map[string]figures{}}
	// The sender has nothing to send, but its role looks after every stage's
	// work that fell silent.
	if _, err := w.readyToSend(ctx, people, 0); err != nil {
		return err
	}
	began := time.Now()
	campaigns, err := w.plannedCampaigns(ctx, n, people)
	if err != nil {
		return err
	}
	b.say("writing what happened after")
	for _, c := range campaigns {
		// Nothing is to be sent when filling takes longer than the slots are away.
		if err := w.api.Post(ctx, "/v1/campaigns/"+c.String()+"/pause", nil, nil); err != nil {
			return err
		}
		if err := w.happen(ctx, c); err != nil {
			return err
		}
	}
	r.FillTook = time.Since(began).Seconds()
	b.say("folding")
	began = time.Now()
	if err := w.folded(ctx); err != nil {
		return err
	}
	r.FoldTook = time.Since(began).Seconds()
	if err := w.exec(ctx, "VACUUM ANALYZE", "CHECKPOINT"); err != nil {
		return err
	}
	if r.Events, err = w.count(ctx, `SELECT count(*) FROM events`); err != nil {
		return err
	}
	if err := w.verifyFunnels(ctx, campaigns); err != nil {
		return err
	}
	began = time.Now()
	if _, err := w.recount(ctx, campaigns[:1]); err != nil {
		return err
	}
	r.Recount = float64(time.Since(began).Microseconds()) / 1000
	profile := w.profile(ctx, "reports")
	m, used, err := w.watch(ctx)
	if err != nil {
		return err
	}
	for _, name := range reportNames {
		b.say("%d times the %s report", r.Each, name)
		took := make([]time.Duration, r.Each)
		for i := range took {
			at, page := time.Now(), fmt.Sprintf("/v1/reports/%s?campaign=%s", name, campaigns[i%len(campaigns)])
			if err := w.api.Get(ctx, page, new(string)); err != nil {
				return err
			}
			took[i] = time.Since(at)
			// A key may make so many requests a second; waiting isn't timed.
			time.Sleep(time.Until(at.Add(reportEvery)))
		}
		r.Calls[name] = figuresOf(took)
	}
	m.end(used)
	r.metered = *used
	if err := profile.end(ctx); err != nil {
		return err
	}
	b.report.add("reports", r)
	return nil
}

// plannedCampaigns launches campaigns to everybody whose moments lie ahead and
// waits until all are planned.
func (w *world) plannedCampaigns(ctx context.Context, n, people int) (ids []kairos.ID, err error) {
	w.say("planning %d campaigns of %d", n, people)
	for range n {
		text, _, err := w.campaign(ctx, map[string]any{
			"schedule":   map[string]any{"mode": "optimised", "at": time.Now().Add(14*time.Minute + 30*time.Second), "window": "24h"},
			"experiment": map[string]any{"holdout": 0.05, "control": 0.3, "explore": 0.1},
			"goal":       map[string]any{"kind": kairos.PaymentReceived, "attribution_window": "168h"},
			"cost":       map[string]any{"fixed": "100.00", "per_message": "0.001", "currency": "EUR"},
		})
		if err != nil {
			return nil, err
		}
		id, err := kairos.ParseID(text)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	want := int64(n) * int64(people)
	return ids, w.until(ctx, time.Hour, 200*time.Millisecond, "planning", func() (bool, string, error) {
		got, err := w.count(ctx, `SELECT count(*) FROM notifications WHERE campaign = ANY ($1)`, ids)
		return got == want, fmt.Sprintf("%d of %d", got, want), err
	})
}

// happen writes the deeds of one campaign's people to the log; of the held out
// one in a hundred pays as well.
func (w *world) happen(ctx context.Context, campaign kairos.ID) error {
	const columns = `INSERT INTO events (id, kind, subject, key, occurred_at, day, campaign, contact, notification, data) `
	for _, d := range deeds {
		_, err := w.pool.Exec(ctx, columns+`
			SELECT gen_random_uuid(), $2, id, $3, at, (at AT TIME ZONE 'UTC')::date, campaign, contact, id, $4::jsonb
			FROM (SELECT *, planned_at + $5::interval AS at FROM notifications WHERE campaign = $1 AND state = 'planned') n
			WHERE (hashtext(id::text) & 65535) % 1000 < $6`, campaign, d.kind, d.key, d.data, d.after, d.share)
		if err != nil {
			return fmt.Errorf("write %s: %w", d.kind, err)
		}
	}
	_, err := w.pool.Exec(ctx, columns+`
		SELECT gen_random_uuid(), $2, contact, 'order ' || id, at, (at AT TIME ZONE 'UTC')::date, NULL, contact, NULL, '{"amount":"19.90","currency":"EUR"}'::jsonb
		FROM (SELECT *, planned_at + interval '1 hour' AS at FROM notifications WHERE campaign = $1 AND state = 'held_out') n
		WHERE (hashtext(id::text) & 65535) % 100 = 0`, campaign, kairos.PaymentReceived)
	if err != nil {
		return fmt.Errorf("write payments of the held out: %w", err)
	}
	return nil
}

// recount counts people by campaign and kind from the log alone.
func (w *world) recount(ctx context.Context, campaigns []kairos.ID) (map[kairos.ID]map[string]int64, error) {
	rows, err := w.pool.Query(ctx, `
		SELECT campaign, kind, count(DISTINCT notification) FROM events WHERE campaign = ANY ($1) GROUP BY campaign, kind`, campaigns)
	if err != nil {
		return nil, fmt.Errorf("recount: %w", err)
	}
	defer rows.Close()
	all := map[kairos.ID]map[string]int64{}
	for rows.Next() {
		var id kairos.ID
		var kind string
		var n int64
		if err := rows.Scan(&id, &kind, &n); err != nil {
			return nil, fmt.Errorf("recount: %w", err)
		}
		if all[id] == nil {
			all[id] = map[string]int64{}
		}
		all[id][kind] = n
	}
	return all, rows.Err()
}

// verifyFunnels: the reports say what the log says.
func (w *world) verifyFunnels(ctx context.Context, campaigns []kairos.ID) error {
	counts, err := w.recount(ctx, campaigns)
	if err != nil {
		return err
	}
	all := map[string]int64{}
	for _, c := range campaigns {
		var f struct {
			Steps []struct {
				Step   string
				Unique int64
			}
		}
		if err := w.api.Get(ctx, "/v1/reports/funnel?campaign="+c.String(), &f); err != nil {
			return err
		}
		got := map[string]int64{}
		for _, s := range f.Steps {
			got[s.Step] = s.Unique
			all[s.Step] += s.Unique
		}
		for _, d := range deeds {
			if d.step != "" && got[d.step] != counts[c][d.kind] {
				return fmt.Errorf("verify: the funnel of %s says %v, the log %v", c, got, counts[c])
			}
		}
		if got["planned"] != counts[c][kairos.NotificationPlanned] || got["paid"] < counts[c][kairos.PaymentReceived] {
			return fmt.Errorf("verify: the funnel of %s says %v, the log %v", c, got, counts[c])
		}
	}
	for _, step := range []string{"planned", "sent", "opened", "clicked", "viewed", "cta", "offer_accepted", "paid"} {
		if all[step] == 0 {
			return fmt.Errorf("verify: nobody got as far as %q", step)
		}
	}
	return nil
}
