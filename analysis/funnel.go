package analysis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// Step is one line of a funnel.
type Step struct {
	Step           string   `json:"step"`
	Unique         int64    `json:"unique"`           // messages; of paid: messages with a payment
	Total          int64    `json:"total"`            // times
	RateOfPrevious *float64 `json:"rate_of_previous"` // unique over the step before; null when that is 0 or none
	RateOfSent     *float64 `json:"rate_of_sent"`     // unique over sent; null before sent and when nothing was
}

// Funnel tells how far a campaign's messages came. ByArm and ByChannel hold
// the same steps for each experiment arm and channel. Apart counts what is no
// step: held out, skipped, bounced, complained, unsubscribed, and the opens
// and clicks of machines, which are in no other figure.
type Funnel struct {
	Campaign  kairos.ID         `json:"campaign"`
	AsOf      time.Time         `json:"as_of"` // everything recorded until then is in
	Steps     []Step            `json:"steps"`
	ByArm     map[string][]Step `json:"by_arm"`
	ByChannel map[string][]Step `json:"by_channel"`
	Apart     []Step            `json:"apart"`
}

// Funnel reports on one campaign; kairos.ErrNotFound when there is none.
func (a *Analysis) Funnel(ctx context.Context, campaign kairos.ID) (Funnel, error) {
	f := Funnel{Campaign: campaign, ByArm: map[string][]Step{}, ByChannel: map[string][]Step{}}
	err := pgx.BeginTxFunc(ctx, a.pool, snapshot(), func(tx pgx.Tx) (err error) {
		if _, err = loadSpec(ctx, tx, campaign); err != nil {
			return err
		}
		if f.AsOf, err = a.asOf(ctx, tx); err != nil {
			return err
		}
		counts, err := loadRollups(ctx, tx, campaign)
		if err != nil {
			return err
		}
		f.fill(counts)
		return nil
	})
	if err != nil {
		return Funnel{}, fmt.Errorf("report funnel of campaign %s: %w", campaign, err)
	}
	return f, nil
}

func (f *Funnel) fill(counts map[rollupKey]count) {
	all := map[string]count{}
	arms, channels := map[string]map[string]count{}, map[string]map[string]count{}
	funnel := map[string]bool{}
	for _, step := range FunnelSteps() {
		funnel[step] = true
	}
	add := func(to map[string]count, step string, n count) {
		to[step] = count{to[step].uniques + n.uniques, to[step].total + n.total}
	}
	for key, n := range counts {
		add(all, key.step, n)
		if !funnel[key.step] {
			continue
		}
		if arms[string(key.arm)] == nil {
			arms[string(key.arm)] = map[string]count{}
		}
		if channels[string(key.channel)] == nil {
			channels[string(key.channel)] = map[string]count{}
		}
		add(arms[string(key.arm)], key.step, n)
		add(channels[string(key.channel)], key.step, n)
	}
	f.Steps = stepsOf(all)
	for arm, c := range arms {
		f.ByArm[arm] = stepsOf(c)
	}
	for channel, c := range channels {
		f.ByChannel[channel] = stepsOf(c)
	}
	for _, step := range apartSteps() {
		n := all[step]
		f.Apart = append(f.Apart, Step{Step: step, Unique: n.uniques, Total: n.total, RateOfSent: rate(n.uniques, all[StepSent].uniques)})
	}
}

func stepsOf(counts map[string]count) []Step {
	names := FunnelSteps()
	steps := make([]Step, len(names))
	for i, name := range names {
		n := counts[name]
		steps[i] = Step{Step: name, Unique: n.uniques, Total: n.total}
		if i > 0 {
			steps[i].RateOfPrevious = rate(n.uniques, steps[i-1].Unique)
			steps[i].RateOfSent = rate(n.uniques, counts[StepSent].uniques)
		}
	}
	return steps
}

func rate(part, whole int64) *float64 {
	if whole <= 0 {
		return nil
	}
	r := float64(part) / float64(whole)
	return &r
}

// snapshot makes all figures of a report of one moment.
func snapshot() pgx.TxOptions {
	return pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
}

func loadSpec(ctx context.Context, q db, campaign kairos.ID) (spec kairos.CampaignSpec, err error) {
	var raw json.RawMessage
	err = q.QueryRow(ctx, `SELECT spec FROM campaigns WHERE id = $1`, campaign).Scan(&raw)
	if errors.Is(err, pgx.ErrNoRows) {
		return spec, kairos.ErrNotFound
	}
	if err != nil {
		return spec, fmt.Errorf("load campaign: %w", err)
	}
	return kairos.ParseSpec(raw)
}

// rollupKey is a line of the rollups.
type rollupKey struct {
	campaign kairos.ID
	arm      kairos.Arm
	channel  kairos.Channel
	step     string
}

func loadRollups(ctx context.Context, q db, campaign kairos.ID) (map[rollupKey]count, error) {
	rows, err := q.Query(ctx, `SELECT arm, channel, step, uniques, total FROM rollups WHERE campaign = $1`, campaign)
	if err != nil {
		return nil, fmt.Errorf("load rollups: %w", err)
	}
	counts := map[rollupKey]count{}
	key := rollupKey{campaign: campaign}
	var n count
	_, err = pgx.ForEachRow(rows, []any{&key.arm, &key.channel, &key.step, &n.uniques, &n.total}, func() error {
		counts[key] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load rollups: %w", err)
	}
	return counts, nil
}

// asOf returns the moment until which all that was recorded is folded: now, or
// as long ago as the oldest event waits that is not.
func (a *Analysis) asOf(ctx context.Context, q db) (time.Time, error) {
	var lag time.Duration
	err := q.QueryRow(ctx, `
		SELECT coalesce((SELECT greatest(clock_timestamp() - e.recorded_at, interval '0') FROM events e
		                 WHERE (e.xid, e.position) > (coalesce((SELECT xid FROM event_cursors WHERE reader = $1), '0'::xid8),
		                                              coalesce((SELECT position FROM event_cursors WHERE reader = $1), 0))
		                 ORDER BY e.xid, e.position LIMIT 1), interval '0')`, reader).Scan(&lag)
	if err != nil {
		return time.Time{}, fmt.Errorf("read lag of the fold: %w", err)
	}
	return a.clock.Now().Add(-lag), nil
}
