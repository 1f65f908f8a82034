package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/internal/token"
)

// measureClicks follows the links of a campaign that was sent, over keep-alive
// connections, and afterwards looks for every acknowledged click in the log.
func (b *bench) measureClicks(ctx context.Context, w *world, c *sent) error {
	urls, err := w.links(ctx, c)
	if err != nil {
		return err
	}
	noop, err := w.self(ctx, "noop", "noop")
	if err != nil {
		return err
	}
	var bare string
	if err := noop.Told(&bare); err != nil {
		return err
	}
	for _, connections := range []int{64, 256} {
		r := clickResult{Connections: connections}
		b.say("%d connections for %d s: a handler that only redirects, then /c/", connections, b.Seconds)
		ceiling, err := b.drive(ctx, bare, urls, connections)
		if err != nil {
			return fmt.Errorf("no-op handler: %w", err)
		}
		r.Noop = ceiling.figures()
		if err := b.click(ctx, w, c, urls, &r); err != nil {
			return err
		}
		r.Ratio = r.Click.PerSecond / r.Noop.PerSecond
		b.report.Clicks = append(b.report.Clicks, r)
	}
	return nil
}

// links are the click URLs of a campaign, minted like those in its messages.
// That they are the same is seen in the messages of the warm-up.
func (w *world) links(ctx context.Context, c *sent) ([]string, error) {
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
	urls := make([]string, 0, len(ids)*len(destinations))
	for i, d := range destinations { // each person's links lie far apart
		for _, id := range ids {
			urls = append(urls, "/c/"+ring.Mint(token.Claims{Purpose: token.PurposeClick, Campaign: c.campaign, Notification: id, Link: uint16(i + 1), Destination: d}))
		}
	}
	return urls, nil
}

// click measures one number of connections, waits until the hits are in the
// log and in the reports, and counts them.
func (b *bench) click(ctx context.Context, w *world, c *sent, urls []string, r *clickResult) error {
	const clicked = `SELECT count(*) FROM events WHERE campaign = $1 AND kind = 'notification.clicked'`
	before, err := w.count(ctx, clicked, c.campaign)
	if err != nil {
		return err
	}
	if err := w.exec(ctx, "CHECKPOINT"); err != nil {
		return err
	}
	profile := w.profile(ctx, fmt.Sprintf("clicks-%d", r.Connections))
	m, used, err := w.watch(ctx)
	if err != nil {
		return err
	}
	d, err := b.drive(ctx, w.listen, urls, r.Connections)
	if err != nil {
		return err
	}
	ended := time.Now()
	m.end(used)
	r.metered, r.Click, r.Acknowledged = *used, d.figures(), int64(len(d.took))
	b.say("  %.0f clicks/s, p99 %.1f ms; waiting for the shipper", r.Click.PerSecond, r.Click.P99)
	err = w.until(ctx, 20*time.Minute, 100*time.Millisecond, "the shipper", func() (bool, string, error) {
		age, err := w.metric(ctx, "kairos_spool_oldest_seconds")
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
	after, err := w.count(ctx, clicked, c.campaign)
	if err != nil {
		return err
	}
	dropped, err := w.metric(ctx, "kairos_spool_dropped_total")
	if err != nil {
		return err
	}
	r.Logged, r.Dropped, r.Alike = after-before, int64(dropped), d.alike
	// The same link of the same person within one second is one click.
	if r.Logged > r.Acknowledged || r.Logged < r.Acknowledged-d.alike || dropped != 0 {
		return fmt.Errorf("verify: %d clicks were acknowledged (at most %d of them alike), %d are in the log, %d were dropped",
			r.Acknowledged, d.alike, r.Logged, r.Dropped)
	}
	return nil
}

// metric reads one gauge of the process that collects.
func (w *world) metric(ctx context.Context, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.api.Server+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+w.api.Key)
	raw, err := fetch(req)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, fmt.Errorf("there is no metric %s", name)
}

// figures of one drive.
func (d *driven) figures() figures {
	slices.Sort(d.took)
	at := func(q float64) float64 { return float64(d.took[int(float64(len(d.took)-1)*q)].Microseconds()) / 1000 }
	return figures{PerSecond: float64(len(d.took)) / d.lasted.Seconds(), P50: at(.5), P99: at(.99), Max: at(1)}
}
