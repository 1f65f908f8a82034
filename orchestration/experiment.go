package orchestration

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/dto"
)

// Shares where hours are chosen and nothing was asked for: a tenth stays at the
// baseline time, and exploration takes what the log still needs to show a curve
// whose logarithm has the standard deviation defaultEffect.
const (
	defaultControl = 0.1
	defaultEffect  = 0.1
)

// experiment is how a campaign's people are divided, fixed with its first page.
type experiment struct {
	kairos.Experiment         // shares of all people
	model             int     // the version that was active; 0: none
	canary            int     // the version that was on trial; 0: none
	canaryShare       float64 // of the optimised arm
}

// sharesOf returns what the campaign asked for, or the installation's default
// for a log with that many responses to explored hours. Where hours are not
// chosen only the holdout counts.
func sharesOf(s *kairos.CampaignSpec, responses float64) kairos.Experiment {
	switch {
	case s.Schedule.Mode != kairos.ModeOptimised:
		return kairos.Experiment{Holdout: s.Shares().Holdout}
	case s.Experiment == nil:
		return kairos.Experiment{
			Control: defaultControl,
			Explore: dto.Exploration(responses, dto.NeededResponses(defaultEffect)),
		}
	}
	return *s.Experiment
}

// experimental reports whether the campaign divides its people at all.
func (c *campaign) experimental() bool {
	return c.spec.Schedule.Mode == kairos.ModeOptimised || c.spec.Shares().Holdout > 0
}

// divide gives the campaign its experiment and models. Whoever comes first
// fixes it, on a connection of its own: processes that plan pages at the same
// time agree, and so does a page that is planned again.
func (o *Orchestration) divide(ctx context.Context, c *campaign) error {
	if !c.experimental() {
		return nil
	}
	known, err := o.fixed(ctx, c)
	if known || err != nil {
		return err
	}
	if err := o.fix(ctx, c); err != nil {
		return err
	}
	if known, err = o.fixed(ctx, c); err == nil && !known {
		err = fmt.Errorf("experiment of %s: %w", c, kairos.ErrNotFound)
	}
	return err
}

// fixed reads the campaign's experiment and what there is of its models.
func (o *Orchestration) fixed(ctx context.Context, c *campaign) (known bool, err error) {
	e, verdict, trial := &c.experiment, "", ""
	err = o.pool.QueryRow(ctx, `
		SELECT e.holdout, e.control, e.explore, coalesce(e.model, 0), coalesce(e.canary, 0), e.canary_share,
		       coalesce(m.verdict, ''), m.hours, coalesce(k.verdict, ''), k.hours
		FROM experiments e LEFT JOIN timing_models m ON m.version = e.model LEFT JOIN timing_models k ON k.version = e.canary
		WHERE e.campaign = $1`, c.id).
		Scan(&e.Holdout, &e.Control, &e.Explore, &e.model, &e.canary, &e.canaryShare, &verdict, &c.active.hours, &trial, &c.canary.hours)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read experiment of %s: %w", c, err)
	}
	c.active = model{version: e.model, hours: c.active.hours.usable(), personal: dto.Verdict(verdict) == dto.Clusters}
	c.canary = model{version: e.canary, hours: c.canary.hours.usable(), personal: dto.Verdict(trial) == dto.Clusters}
	return true, nil
}

// fix writes the experiment down as it is to be now, unless it is written.
func (o *Orchestration) fix(ctx context.Context, c *campaign) error {
	var responses int64
	var active, canary *int
	var share string
	err := o.pool.QueryRow(ctx, `
		SELECT coalesce((SELECT max(responses) FROM timing_state), 0),
		       (SELECT version FROM timing_models WHERE state = 'active'),
		       (SELECT version FROM timing_models WHERE state = 'canary'),
		       coalesce((SELECT canary->>'share' FROM timing_models WHERE state = 'canary'), '')`).
		Scan(&responses, &active, &canary, &share)
	if err != nil {
		return fmt.Errorf("read models for %s: %w", c, err)
	}
	canaryShare, err := strconv.ParseFloat(share, 64)
	if err != nil || !(canaryShare > 0 && canaryShare <= 1) { // a trial without a share takes nobody
		canary, canaryShare = nil, 0
	}
	if c.spec.Schedule.Mode != kairos.ModeOptimised {
		active, canary, canaryShare = nil, nil, 0
	}
	e := sharesOf(&c.spec, float64(responses))
	_, err = o.pool.Exec(ctx, `
		INSERT INTO experiments (campaign, holdout, control, explore, model, canary, canary_share, decided_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (campaign) DO NOTHING`,
		c.id, e.Holdout, e.Control, e.Explore, active, canary, canaryShare, o.clock.Now())
	if err != nil {
		return fmt.Errorf("fix experiment of %s: %w", c, err)
	}
	return nil
}
