package analysis

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// loadJourneys loads the journeys that events speak of, and begins those that
// are new. Messages that nobody planned stay out.
func (a *Analysis) loadJourneys(ctx context.Context, tx pgx.Tx, c *chunk, events []kairos.Event) error {
	campaigns := map[kairos.ID]kairos.ID{}
	for i := range events {
		if id := events[i].Notification; !id.IsZero() {
			if campaigns[id].IsZero() {
				campaigns[id] = events[i].Campaign
			}
		}
	}
	if len(campaigns) == 0 {
		return nil
	}
	ids := make([]kairos.ID, 0, len(campaigns))
	for id := range campaigns {
		ids = append(ids, id)
	}
	rows, err := tx.Query(ctx, `SELECT `+journeyColumns+` FROM journeys j WHERE notification = ANY ($1)`, ids)
	loaded, err := collectJourneys(rows, err)
	if err != nil {
		return err
	}
	for _, j := range loaded {
		c.now[j.notification] = j
	}
	var fresh, of []kairos.ID
	for _, id := range ids {
		if c.now[id] == nil {
			fresh, of = append(fresh, id), append(of, campaigns[id])
		}
	}
	found, err := recipients(ctx, tx, fresh, of)
	if err != nil {
		return err
	}
	for id, r := range found {
		c.now[id] = &journey{notification: id, campaign: r.campaign, contact: r.contact, arm: r.arm, channel: r.channel, model: r.model,
			facts: facts{Slot: r.plannedAt.UnixMicro()}}
	}
	all := make([]*journey, 0, len(c.now))
	for _, j := range c.now {
		all = append(all, j)
	}
	return a.loadRules(ctx, tx, c, all)
}

// loadRules gives each journey its campaign's rules.
func (a *Analysis) loadRules(ctx context.Context, tx pgx.Tx, c *chunk, journeys []*journey) error {
	var want []kairos.ID
	for _, j := range journeys {
		if _, ok := c.rules[j.campaign]; !ok {
			c.rules[j.campaign] = a.rulesOf(kairos.CampaignSpec{})
			want = append(want, j.campaign)
		}
	}
	if len(want) > 0 {
		rows, err := tx.Query(ctx, `SELECT id, spec, kind = 'transactional' FROM campaigns WHERE id = ANY ($1)`, want)
		if err != nil {
			return fmt.Errorf("load campaigns: %w", err)
		}
		var id kairos.ID
		var raw []byte
		var transactional bool
		_, err = pgx.ForEachRow(rows, []any{&id, &raw, &transactional}, func() error {
			spec, err := kairos.ParseSpec(raw)
			if err != nil { // its own reports suffer, not everybody's
				a.opts.Log.Error("spec not read, defaults used", "stage", "analysis", "campaign", id, "err", err)
				spec = kairos.CampaignSpec{}
			}
			c.rules[id] = a.rulesOf(spec)
			c.rules[id].transactional = transactional || !spec.Marketing()
			return nil
		})
		if err != nil {
			return fmt.Errorf("load campaigns: %w", err)
		}
	}
	for _, j := range journeys {
		j.rules = c.rules[j.campaign]
	}
	return nil
}

func (a *Analysis) rulesOf(spec kairos.CampaignSpec) *rules {
	r := &rules{window: spec.Goal.Window(), goal: spec.Goal.Kind, fast: a.opts.FastClick, burst: a.opts.Burst}
	if r.goal == "" {
		r.goal = kairos.PaymentReceived
	}
	return r
}

// loadOthers loads the journeys of people, besides those of the chunk, that
// end after the given spans begin.
func (a *Analysis) loadOthers(ctx context.Context, tx pgx.Tx, c *chunk, spans map[kairos.ID]span) error {
	if len(spans) == 0 {
		return nil
	}
	contacts, from := make([]kairos.ID, 0, len(spans)), make([]time.Time, 0, len(spans))
	for id, s := range spans {
		contacts, from = append(contacts, id), append(from, time.UnixMicro(s.from))
	}
	rows, err := tx.Query(ctx, `
		SELECT `+journeyColumns+` FROM unnest($1::uuid[], $2::timestamptz[]) AS u(contact, since)
		JOIN journeys j ON j.contact = u.contact AND j.until_at >= u.since`, contacts, from)
	loaded, err := collectJourneys(rows, err)
	if err != nil {
		return err
	}
	others := loaded[:0]
	for _, j := range loaded {
		if c.now[j.notification] == nil {
			others = append(others, j)
			c.others[j.notification] = j
		}
	}
	return a.loadRules(ctx, tx, c, others)
}

const journeyColumns = `j.notification, j.campaign, j.contact, j.arm, j.channel, j.state`

func collectJourneys(rows pgx.Rows, err error) ([]*journey, error) {
	if err != nil {
		return nil, fmt.Errorf("load journeys: %w", err)
	}
	journeys, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (*journey, error) {
		j := &journey{}
		var state []byte
		if err := r.Scan(&j.notification, &j.campaign, &j.contact, &j.arm, &j.channel, &state); err != nil {
			return nil, err
		}
		return j, json.Unmarshal(state, &j.facts)
	})
	if err != nil {
		return nil, fmt.Errorf("load journeys: %w", err)
	}
	return journeys, nil
}

// loadActions loads what people did within spans.
func loadActions(ctx context.Context, tx pgx.Tx, spans map[kairos.ID]span) ([]action, error) {
	if len(spans) == 0 {
		return nil, nil
	}
	contacts, from, to := make([]kairos.ID, 0, len(spans)), make([]time.Time, 0, len(spans)), make([]time.Time, 0, len(spans))
	for id, s := range spans {
		contacts, from, to = append(contacts, id), append(from, time.UnixMicro(s.from)), append(to, time.UnixMicro(s.to))
	}
	rows, err := tx.Query(ctx, `
		SELECT a.contact, a.at, a.position, a.kind, a.notification, a.currency, (a.amount * 1000000)::bigint
		FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS u(contact, since, until)
		JOIN actions a ON a.contact = u.contact AND a.at BETWEEN u.since AND u.until`, contacts, from, to)
	if err != nil {
		return nil, fmt.Errorf("load actions: %w", err)
	}
	acts, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (a action, err error) {
		var at time.Time
		err = r.Scan(&a.contact, &at, &a.position, &a.kind, &a.notification, &a.currency, &a.amount)
		a.at = at.UnixMicro()
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("load actions: %w", err)
	}
	return acts, nil
}
