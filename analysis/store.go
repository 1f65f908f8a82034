package analysis

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"kairos"
)

// loadJourneys loads the journeys that events speak of, and begins those that
// are new. Messages that nobody planned stay out.
func (a *Analysis) loadJourneys(ctx context.Context, tx pgx.Tx, c *chunk) error {
	var last *journey // events of one message often follow one another
	for i := range c.events {
		e := &c.events[i]
		if e.Notification.IsZero() {
			continue
		}
		if last == nil || last.notification != e.Notification {
			if last = c.now[e.Notification]; last == nil {
				last = c.journey()
				last.notification, last.campaign = e.Notification, e.Campaign
				c.now[e.Notification] = last
			}
		}
		if c.of[i] = last; last.campaign.IsZero() {
			last.campaign = e.Campaign
		}
	}
	if len(c.now) == 0 {
		return nil
	}
	ids := make([]kairos.ID, 0, len(c.now))
	for id := range c.now {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, byID) // an index is read fastest in its own order
	rows, err := tx.Query(ctx, `SELECT `+journeyColumns+` FROM journeys j WHERE notification = ANY ($1)`, ids)
	err = collectJourneys(rows, err, func(id kairos.ID) *journey { return c.now[id] })
	if err != nil {
		return err
	}
	fresh, of := make([]kairos.ID, 0, len(ids)), make([]kairos.ID, 0, len(ids))
	for _, id := range ids {
		if j := c.now[id]; !j.known {
			fresh, of = append(fresh, id), append(of, j.campaign)
		}
	}
	err = eachRecipient(ctx, tx, fresh, of, func(r *recipient) {
		j := c.now[r.notification]
		j.known, j.campaign, j.contact, j.arm, j.channel = true, r.campaign, r.contact, r.arm, r.channel
		if j.facts.Slot = r.plannedAt.UnixMicro(); r.model != nil {
			j.model = *r.model
		}
	})
	if err != nil {
		return err
	}
	c.list = make([]*journey, 0, len(ids))
	for _, id := range ids {
		if j := c.now[id]; j.known {
			c.list = append(c.list, j)
		}
	}
	return a.loadRules(ctx, tx, c, c.list)
}

func byID(a, b kairos.ID) int { return bytes.Compare(a[:], b[:]) }

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
	var others []*journey
	err = collectJourneys(rows, err, func(id kairos.ID) *journey {
		if c.now[id] != nil {
			return nil
		}
		j := c.journey()
		others = append(others, j)
		c.others[id] = j
		return j
	})
	if err != nil {
		return err
	}
	return a.loadRules(ctx, tx, c, others)
}

const journeyColumns = `j.notification, j.campaign, j.contact, j.arm, j.channel, coalesce(j.model, 0), j.state`

// collectJourneys reads rows of journeyColumns into where room says; nil: the
// row is not wanted.
func collectJourneys(rows pgx.Rows, err error, room func(kairos.ID) *journey) error {
	if err != nil {
		return fmt.Errorf("load journeys: %w", err)
	}
	var row journey
	var state pgtype.DriverBytes // valid until the next row: nothing of it is kept
	_, err = pgx.ForEachRow(rows, []any{&row.notification, &row.campaign, &row.contact, (*string)(&row.arm), (*string)(&row.channel), &row.model, &state}, func() error {
		j := room(row.notification)
		if j == nil {
			return nil
		}
		*j = row
		j.known, j.stored = true, true
		j.facts, err = parseFacts(state)
		return err
	})
	if err != nil {
		return fmt.Errorf("load journeys: %w", err)
	}
	return nil
}

// loadActions loads what people did within spans.
func loadActions(ctx context.Context, tx pgx.Tx, spans map[kairos.ID]span) ([]action, error) {
	if len(spans) == 0 {
		return nil, nil
	}
	contacts, whole := make([]kairos.ID, 0, len(spans)), span{}
	for id, s := range spans {
		contacts, whole = append(contacts, id), whole.with(s.from).with(s.to)
	}
	slices.SortFunc(contacts, byID)
	// One span for all, narrowed below: most people have no action at all, and
	// one list is looked up in half the time of one join.
	rows, err := tx.Query(ctx, `
		SELECT contact, at, position, kind, notification, currency, (amount * 1000000)::bigint
		FROM actions WHERE contact = ANY ($1) AND at BETWEEN $2 AND $3`, contacts, time.UnixMicro(whole.from), time.UnixMicro(whole.to))
	if err != nil {
		return nil, fmt.Errorf("load actions: %w", err)
	}
	var acts []action
	var a action
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&a.contact, &at, &a.position, &a.kind, &a.notification, &a.currency, &a.amount}, func() error {
		a.at = at.UnixMicro()
		if s := spans[a.contact]; s.from <= a.at && a.at <= s.to {
			acts = append(acts, a)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load actions: %w", err)
	}
	return acts, nil
}
