package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/rig"
	"kairos/internal/token"
)

// hitKind is what is asked of the collector: a link to be followed or a pixel.
type hitKind struct {
	name, event string
	status      int // of its answer
}

var (
	clicking = hitKind{"clicks", kairos.NotificationClicked, http.StatusFound}
	opening  = hitKind{"opens", kairos.NotificationOpened, http.StatusOK}
)

type clickResult struct {
	What         string  `json:"what"`
	Connections  int     `json:"connections"`
	Click        figures `json:"click"`
	Noop         figures `json:"noop"`
	Ratio        float64 `json:"ratio"`
	Acknowledged int64   `json:"acknowledged"`
	Logged       int64   `json:"logged"`
	Alike        int64   `json:"alike"` // may be one event with another: same link, within a second
	Dropped      int64   `json:"dropped"`
	ShipLag      float64 `json:"ship_lag_seconds"` // last answer to the last hit in the log
	FoldLag      float64 `json:"fold_lag_seconds"` // last answer to the last hit in the reports
	metered
}

type clickResults []*clickResult

func (all clickResults) tell(t *told) {
	for _, c := range all {
		answer := "302"
		if c.What == opening.name {
			answer = "pixels"
		}
		name := fmt.Sprintf("%s, %d connections", c.What, c.Connections)
		t.row(name, fmt.Sprintf("%s durable %s/s, p50 %.1f ms, p99 %.1f ms", round(c.Click.PerSecond), answer, c.Click.P50, c.Click.P99),
			fmt.Sprintf("no-op 302: %s/s, p50 %.1f ms, p99 %.1f ms", round(c.Noop.PerSecond), c.Noop.P50, c.Noop.P99), percent(c.Ratio))
		t.note("%s: %s acknowledged, %s in the log (%s of them may count as one with another), %s dropped; in the log %.1f s after the last answer, in the reports %.1f s; "+
			"the client takes %.0f µs a request, %.2f cores (no-op: %.0f µs, %.2f cores).",
			name, thousands(c.Acknowledged), thousands(c.Logged), thousands(c.Alike), thousands(c.Dropped), c.ShipLag, c.FoldLag,
			c.Click.ClientCPU, c.Click.ClientCores, c.Noop.ClientCPU, c.Noop.ClientCores)
		t.use(name, c.Acknowledged, &c.metered, true)
	}
}

// measureClicks follows the links of a campaign that was sent and fetches its
// pixels, over keep-alive connections, and afterwards looks for every
// acknowledged hit in the log.
func (b *bench) measureClicks(ctx context.Context, w *world, c *sent) error {
	noop, err := w.self(ctx, "noop", "noop")
	if err != nil {
		return err
	}
	var bare string
	if err := noop.Told(&bare); err != nil {
		return err
	}
	lasting := time.Duration(b.Seconds) * time.Second
	var all clickResults
	for _, kind := range []hitKind{clicking, opening} {
		paths, err := w.links(ctx, c, kind)
		if err != nil {
			return err
		}
		for _, connections := range b.sizes.Clients {
			r := &clickResult{What: kind.name, Connections: connections}
			b.say("%s, %d connections for %s: a handler that only redirects, then the collector", kind.name, connections, lasting)
			ceiling, err := requests{bare, paths, http.StatusFound}.closed(ctx, connections, lasting)
			if err != nil {
				return fmt.Errorf("no-op handler: %w", err)
			}
			r.Noop = ceiling.figures()
			err = b.hits(ctx, w, c.campaign, kind, r, func() (*driven, error) {
				return requests{w.listen, paths, kind.status}.closed(ctx, connections, lasting)
			})
			if err != nil {
				return err
			}
			r.Ratio = r.Click.PerSecond / r.Noop.PerSecond
			all = append(all, r)
		}
	}
	b.report.add("clicks", all)
	return nil
}

// links are the paths of a campaign's links or pixels, minted like those in its
// messages. That they are the same is seen in the messages of the warm-up.
func (w *world) links(ctx context.Context, c *sent, kind hitKind) ([]string, error) {
	ring, err := token.ParseKeyring(secret)
	if err != nil {
		return nil, fmt.Errorf("read secret: %w", err)
	}
	for _, raw := range c.sample {
		if err := w.inMessage(ctx, ring, raw); err != nil {
			return nil, err
		}
	}
	rows, err := w.pool.Query(ctx, `SELECT id FROM notifications WHERE campaign = $1 ORDER BY id`, c.campaign)
	if err != nil {
		return nil, fmt.Errorf("list notifications: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
	if err != nil {
		return nil, fmt.Errorf("list notifications: %w", err)
	}
	paths := make([]string, 0, len(ids)*len(destinations))
	if kind == opening {
		for _, id := range ids {
			paths = append(paths, "/o/"+ring.Mint(token.Claims{Purpose: token.PurposeOpen, Campaign: c.campaign, Notification: id})+".gif")
		}
		return paths, nil
	}
	for i, d := range destinations { // each person's links lie far apart
		for _, id := range ids {
			paths = append(paths, "/c/"+ring.Mint(token.Claims{Purpose: token.PurposeClick, Campaign: c.campaign, Notification: id, Link: uint16(i + 1), Destination: d}))
		}
	}
	return paths, nil
}

// hits measures one drive, waits until its hits are in the log and in the
// reports, and counts them.
func (b *bench) hits(ctx context.Context, w *world, campaign kairos.ID, kind hitKind, r *clickResult, drive func() (*driven, error)) error {
	const logged = `SELECT count(*) FROM events WHERE campaign = $1 AND kind = $2`
	before, err := w.count(ctx, logged, campaign, kind.event)
	if err != nil {
		return err
	}
	if err := w.exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	profile := w.profile(ctx, fmt.Sprintf("%s-%d", r.What, r.Connections))
	m, used, err := w.watch(ctx)
	if err != nil {
		return err
	}
	d, err := drive()
	if err != nil {
		return err
	}
	ended := time.Now()
	m.end(used)
	r.metered, r.Click, r.Acknowledged = *used, d.figures(), int64(len(d.took))
	b.say("  %.0f %s/s, p99 %.1f ms; waiting for the shipper", r.Click.PerSecond, kind.name, r.Click.P99)
	err = w.until(ctx, 20*time.Minute, 100*time.Millisecond, "the shipper", func() (bool, string, error) {
		age, err := w.spoolAge(ctx)
		return age == 0, fmt.Sprintf("the oldest hit waits for %.0f s", age), err
	})
	if err != nil {
		return err
	}
	r.ShipLag = time.Since(ended).Seconds()
	if err := w.folded(ctx); err != nil {
		return err
	}
	r.FoldLag = time.Since(ended).Seconds()
	if err := profile.end(ctx); err != nil {
		return err
	}
	after, err := w.count(ctx, logged, campaign, kind.event)
	if err != nil {
		return err
	}
	dropped := 0.0
	for _, server := range w.collecting() {
		n, err := w.metric(ctx, server, "kairos_spool_dropped_total")
		if err != nil {
			return err
		}
		dropped += n
	}
	r.Logged, r.Dropped, r.Alike = after-before, int64(dropped), d.alike
	// The same link of the same person within one second is one click.
	if r.Logged > r.Acknowledged || r.Logged < r.Acknowledged-d.alike || dropped != 0 {
		return fmt.Errorf("verify: %d %s were acknowledged (at most %d of them alike), %d are in the log, %d were dropped",
			r.Acknowledged, kind.name, r.Alike, r.Logged, r.Dropped)
	}
	return nil
}

// collecting are the URLs of all processes that collect.
func (w *world) collecting() []string { return append([]string{w.api.Server}, w.collectors...) }

// spoolAge is the age of the oldest spooled segment: no hit that isn't in the
// log is older.
func (w *world) spoolAge(ctx context.Context) (oldest float64, err error) {
	for _, server := range w.collecting() {
		age, err := w.metric(ctx, server, "kairos_spool_oldest_seconds")
		if err != nil {
			return 0, err
		}
		oldest = max(oldest, age)
	}
	return oldest, nil
}

// metric reads one gauge of a process.
func (w *world) metric(ctx context.Context, server, name string) (float64, error) {
	var text string
	if err := (&rig.Client{Server: server, Key: w.api.Key}).Get(ctx, "/metrics", &text); err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}
