package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// observe counts and times the handled tasks.
func observe(r prometheus.Registerer) func(kind string, took time.Duration, err error) {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "kairos_task_seconds", Help: "Time to handle one batch, by kind and outcome.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 14),
	}, []string{"kind", "outcome"})
	r.MustRegister(h)
	return func(kind string, took time.Duration, err error) {
		outcome := "ok"
		if err != nil {
			outcome = "error"
		}
		h.WithLabelValues(kind, outcome).Observe(took.Seconds())
	}
}

// metricsHandler serves what Prometheus scrapes.
func metricsHandler(p *system) http.Handler {
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &gauges{p})
	return promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{Registry: p.registry})
}

// gauges reads the state of the pipeline when it is scraped.
type gauges struct{ p *system }

var (
	batchesDesc  = prometheus.NewDesc("kairos_batches", "Batches that are not over, by kind and state.", []string{"kind", "state"}, nil)
	readyAgeDesc = prometheus.NewDesc("kairos_oldest_ready_seconds", "How long the oldest due batch of running campaigns has waited (domain time).", []string{"kind"}, nil)
	unknownDesc  = prometheus.NewDesc("kairos_unknown_attempts", "Attempts whose fate is unknown.", nil, nil)
	foldLagDesc  = prometheus.NewDesc("kairos_fold_lag_seconds", "Time since the fold's cursor moved while the log has more.", nil, nil)
	spoolDesc    = prometheus.NewDesc("kairos_spool_bytes", "Bytes of tracking events not yet in the log.", nil, nil)
	spoolAgeDesc = prometheus.NewDesc("kairos_spool_oldest_seconds", "Age of the oldest segment not yet in the log.", nil, nil)
	droppedDesc  = prometheus.NewDesc("kairos_spool_dropped_total", "Hits answered although they could not be recorded.", nil, nil)
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, ch) }

// Collect implements prometheus.Collector. While Postgres is away its gauges
// are missing, and the spool's are there.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	if g.p.spool != nil {
		st := g.p.spool.Stats()
		ch <- prometheus.MustNewConstMetric(spoolDesc, prometheus.GaugeValue, float64(st.Bytes))
		ch <- prometheus.MustNewConstMetric(spoolAgeDesc, prometheus.GaugeValue, st.OldestSegmentAge.Seconds())
		ch <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(st.Dropped))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := g.database(ctx, ch); err != nil {
		slog.Debug("read gauges", "err", err)
	}
}

func (g *gauges) database(ctx context.Context, ch chan<- prometheus.Metric) error {
	rows, err := g.p.pool.Query(ctx, `
		SELECT kind, state, count(*), coalesce(extract(epoch FROM $1 - min(slot) FILTER (WHERE state = 'planned' AND slot <= $1
		       AND (campaign IS NULL OR EXISTS (SELECT FROM campaigns c WHERE c.id = b.campaign AND c.state = 'running')))), 0)::float8
		FROM batches b WHERE state IN ('planned', 'queued', 'running') GROUP BY kind, state`, g.p.clock.Now())
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var kind, state string
		var n int64
		var age float64
		if err := rows.Scan(&kind, &state, &n, &age); err != nil {
			return err
		}
		ch <- prometheus.MustNewConstMetric(batchesDesc, prometheus.GaugeValue, float64(n), kind, state)
		if state == "planned" {
			ch <- prometheus.MustNewConstMetric(readyAgeDesc, prometheus.GaugeValue, age, kind)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var unknown int64
	var lag float64
	err = g.p.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM attempts WHERE doubtful),
		       coalesce((SELECT extract(epoch FROM clock_timestamp() - updated_at)::float8 FROM event_cursors c
		                 WHERE reader = 'analysis.fold' AND EXISTS (SELECT FROM events e WHERE (e.xid, e.position) > (c.xid, c.position))), 0)`).
		Scan(&unknown, &lag)
	if err != nil {
		return err
	}
	ch <- prometheus.MustNewConstMetric(unknownDesc, prometheus.GaugeValue, float64(unknown))
	ch <- prometheus.MustNewConstMetric(foldLagDesc, prometheus.GaugeValue, lag)
	return nil
}
