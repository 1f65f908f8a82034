package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kairos"
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
	frozenDesc   = prometheus.NewDesc("kairos_frozen", "1 while delivery is frozen after a restore.", nil, nil)
	heldDesc     = prometheus.NewDesc("kairos_held_campaigns", "Campaigns that stay frozen until all their people are planned.", nil, nil)
	mendLagDesc  = prometheus.NewDesc("kairos_reconciler_lag_seconds", "Time since the reconciler's last round ended.", nil, nil)
	modelDesc    = prometheus.NewDesc("kairos_timing_model_version", "Version of the timing model in a state (active, canary, training); 0: none.", []string{"state"}, nil)
	modelAgeDesc = prometheus.NewDesc("kairos_timing_model_age_seconds", "Age of the active timing model (domain time); 0: none.", nil, nil)
	failedDesc   = prometheus.NewDesc("kairos_timing_training_failed", "1 while the newest training run has failed.", nil, nil)
	driftDesc    = prometheus.NewDesc("kairos_timing_drift", "1 while the drift alarm of the active timing model rings.", nil, nil)
	unknownDesc  = prometheus.NewDesc("kairos_unknown_attempts", "Attempts whose fate is unknown.", nil, nil)
	foldLagDesc  = prometheus.NewDesc("kairos_fold_lag_seconds", "Age of the oldest event that the fold has not taken in yet; 0: none waits.", nil, nil)
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
	ages := map[string]float64{ // served also while nothing waits
		kairos.KindImport: 0, kairos.KindExpand: 0, kairos.KindPlan: 0, kairos.KindSend: 0, kairos.KindUrgent: 0, kairos.KindFold: 0,
	}
	for rows.Next() {
		var kind, state string
		var n int64
		var age float64
		if err := rows.Scan(&kind, &state, &n, &age); err != nil {
			return err
		}
		ch <- prometheus.MustNewConstMetric(batchesDesc, prometheus.GaugeValue, float64(n), kind, state)
		if state == "planned" {
			ages[kind] = age
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for kind, age := range ages {
		ch <- prometheus.MustNewConstMetric(readyAgeDesc, prometheus.GaugeValue, age, kind)
	}
	var unknown int64
	var lag float64
	err = g.p.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM attempts WHERE doubtful),
		       coalesce((SELECT greatest(extract(epoch FROM clock_timestamp() - e.recorded_at), 0)::float8 FROM events e
		                 WHERE (e.xid, e.position) > (coalesce((SELECT xid FROM event_cursors WHERE reader = 'analysis.fold'), '0'::xid8),
		                                              coalesce((SELECT position FROM event_cursors WHERE reader = 'analysis.fold'), 0))
		                 ORDER BY e.xid, e.position LIMIT 1), 0)`).
		Scan(&unknown, &lag)
	if err != nil {
		return err
	}
	ch <- prometheus.MustNewConstMetric(unknownDesc, prometheus.GaugeValue, float64(unknown))
	ch <- prometheus.MustNewConstMetric(foldLagDesc, prometheus.GaugeValue, lag)
	if err := g.restores(ctx, ch); err != nil {
		return err
	}
	return g.models(ctx, ch)
}

// restores reads whether delivery is frozen, and the reconciler's clock. A
// reconciler that never ran is as late as the oldest campaign.
func (g *gauges) restores(ctx context.Context, ch chan<- prometheus.Metric) error {
	var frozen, held int64
	var lag float64
	err := g.p.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM freezes WHERE released_at IS NULL), (SELECT coalesce(sum(cardinality(held)), 0) FROM freezes),
		       coalesce((SELECT extract(epoch FROM clock_timestamp() - coalesce(reconciled_at, (SELECT min(launched_at) FROM campaigns)))::float8 FROM delivery_state), 0)`).
		Scan(&frozen, &held, &lag)
	if err != nil {
		return err
	}
	ch <- prometheus.MustNewConstMetric(frozenDesc, prometheus.GaugeValue, float64(frozen))
	ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(held))
	ch <- prometheus.MustNewConstMetric(mendLagDesc, prometheus.GaugeValue, lag)
	return nil
}

// models reads the registry of timing models.
func (g *gauges) models(ctx context.Context, ch chan<- prometheus.Metric) error {
	var active, canary, training, failed, drift int64
	var age float64
	err := g.p.pool.QueryRow(ctx, `
		SELECT coalesce(max(version) FILTER (WHERE state = 'active'), 0), coalesce(max(version) FILTER (WHERE state = 'canary'), 0),
		       coalesce(max(version) FILTER (WHERE state = 'training'), 0),
		       coalesce(extract(epoch FROM $1 - max(trained_at) FILTER (WHERE state = 'active')), 0)::float8,
		       coalesce((array_agg(state ORDER BY version DESC))[1] = 'failed', false)::int,
		       coalesce(bool_or(drift ->> 'alarm_at' IS NOT NULL) FILTER (WHERE state = 'active'), false)::int
		FROM timing_models`, g.p.clock.Now()).Scan(&active, &canary, &training, &age, &failed, &drift)
	if err != nil {
		return err
	}
	for state, version := range map[string]int64{"active": active, "canary": canary, "training": training} {
		ch <- prometheus.MustNewConstMetric(modelDesc, prometheus.GaugeValue, float64(version), state)
	}
	ch <- prometheus.MustNewConstMetric(modelAgeDesc, prometheus.GaugeValue, age)
	ch <- prometheus.MustNewConstMetric(failedDesc, prometheus.GaugeValue, float64(failed))
	ch <- prometheus.MustNewConstMetric(driftDesc, prometheus.GaugeValue, float64(drift))
	return nil
}
