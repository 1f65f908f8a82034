package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// lag is how far the log and the reports were behind at a moment.
type lag struct {
	At   float64 `json:"at_seconds"`
	Log  float64 `json:"log_seconds"`     // age of the oldest spooled segment: no hit that isn't in the log is older
	Fold float64 `json:"reports_seconds"` // age of the oldest hit that isn't in the reports
}

type sustainedResult struct {
	Rate    int     `json:"rate"`
	Seconds float64 `json:"seconds"`
	MaxLog  float64 `json:"max_log_seconds"`
	MaxFold float64 `json:"max_reports_seconds"`
	Lags    []lag   `json:"lags"`
	clickResult
}

func (s *sustainedResult) tell(t *told) {
	t.row(fmt.Sprintf("clicks at %s/s for %.0f s, open loop", thousands(s.Rate), s.Seconds),
		fmt.Sprintf("%s durable 302/s, p50 %.1f ms, p99 %.1f ms", round(s.Click.PerSecond), s.Click.P50, s.Click.P99),
		"the rate asked for", percent(s.Click.PerSecond/float64(s.Rate)))
	t.note("sustained: behind in the log at most %.1f s, in the reports %.1f s (%d samples, one a second); %s acknowledged, %s in the log (%s of them may count as one with another), "+
		"all of them %.1f s after the last answer, in the reports %.1f s; answers are timed from the moment a click was due, the longest took %.0f ms; the client takes %.0f µs a request, %.2f cores.",
		s.MaxLog, s.MaxFold, len(s.Lags), thousands(s.Acknowledged), thousands(s.Logged), thousands(s.Alike), s.ShipLag, s.FoldLag, s.Click.Max, s.Click.ClientCPU, s.Click.ClientCores)
	t.use("sustained clicks", s.Acknowledged, &s.metered, true)
}

// measureSustained clicks at a rate that doesn't ask whether the server keeps
// up, and looks each second how far log and reports are behind.
func (b *bench) measureSustained(ctx context.Context, w *world, c *sent) error {
	paths, err := w.links(ctx, c, clicking)
	if err != nil {
		return err
	}
	rate, lasting := b.Rate, time.Duration(b.sizes.Sustained)*time.Second
	r := &sustainedResult{Rate: rate, clickResult: clickResult{What: "sustained", Connections: 256}}
	b.say("%d clicks/s for %s over %d connections", rate, lasting, r.Connections)
	err = b.hits(ctx, w, c.campaign, clicking, &r.clickResult, func() (*driven, error) {
		watching, stop := context.WithCancel(ctx)
		var over sync.WaitGroup
		var lagErr error
		over.Go(func() { r.Lags, lagErr = w.lags(watching) })
		d, err := requests{w.listen, paths, clicking.status}.open(ctx, r.Connections, rate, lasting)
		stop()
		over.Wait()
		return d, errors.Join(err, lagErr)
	})
	if err != nil {
		return err
	}
	r.Seconds = lasting.Seconds()
	if len(r.Lags) == 0 {
		return errors.New("the lag was never seen")
	}
	r.MaxLog = slices.MaxFunc(r.Lags, func(x, y lag) int { return cmp.Compare(x.Log, y.Log) }).Log
	r.MaxFold = slices.MaxFunc(r.Lags, func(x, y lag) int { return cmp.Compare(x.Fold, y.Fold) }).Fold
	b.report.add("sustained", r)
	return nil
}

// lags looks once a second until ctx ends.
func (w *world) lags(ctx context.Context) (all []lag, err error) {
	began, tick := time.Now(), time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return all, nil
		case <-tick.C:
		}
		l := lag{At: time.Since(began).Seconds()}
		if l.Log, err = w.spoolAge(ctx); err == nil {
			l.Fold, err = w.foldAge(ctx)
		}
		if ctx.Err() != nil {
			return all, nil
		}
		if err != nil {
			return all, fmt.Errorf("look at the lag: %w", err)
		}
		l.Fold = max(l.Fold, l.Log)
		all = append(all, l)
	}
}

// foldAge is how long ago the oldest event happened that the fold has not
// taken in.
func (w *world) foldAge(ctx context.Context) (age float64, err error) {
	err = w.pool.QueryRow(ctx, `
		SELECT extract(epoch FROM clock_timestamp() - occurred_at)::float8 FROM events
		WHERE (xid, position) > (coalesce((SELECT xid FROM event_cursors WHERE reader = 'analysis.fold'), '0'::xid8),
		                         coalesce((SELECT position FROM event_cursors WHERE reader = 'analysis.fold'), 0))
		ORDER BY xid, position LIMIT 1`).Scan(&age)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	return age, err
}
