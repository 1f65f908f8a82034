package analysis

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

func storeActions(ctx context.Context, tx pgx.Tx, acts []action) error {
	if len(acts) == 0 {
		return nil
	}
	n := len(acts)
	contacts, notifications := make([]kairos.ID, n), make([]kairos.ID, n)
	times, positions, amounts := make([]time.Time, n), make([]int64, n), make([]int64, n)
	kinds, currencies := make([]string, n), make([]string, n)
	for i, a := range acts {
		contacts[i], times[i], positions[i], kinds[i] = a.contact, time.UnixMicro(a.at), a.position, a.kind
		notifications[i], currencies[i], amounts[i] = a.notification, a.currency, int64(a.amount)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO actions (contact, at, position, kind, notification, currency, amount)
		SELECT contact, at, position, kind, notification, currency, micros * 0.000001
		FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::text[], $5::uuid[], $6::text[], $7::bigint[])
		     AS u(contact, at, position, kind, notification, currency, micros)`,
		contacts, times, positions, kinds, notifications, currencies, amounts)
	if err != nil {
		return fmt.Errorf("store actions: %w", err)
	}
	return nil
}

func storeJourneys(ctx context.Context, tx pgx.Tx, journeys []*journey) error {
	if len(journeys) == 0 {
		return nil
	}
	slices.SortFunc(journeys, func(a, b *journey) int { return slices.Compare(a.notification[:], b.notification[:]) })
	n := len(journeys)
	ids, campaigns, contacts := make([]kairos.ID, n), make([]kairos.ID, n), make([]kairos.ID, n)
	arms, channels, states, models := make([]string, n), make([]string, n), make([]string, n), make([]*int, n)
	starts, sent, until, opened, clicked := make([]*time.Time, n), make([]*time.Time, n), make([]*time.Time, n), make([]*time.Time, n), make([]*time.Time, n)
	for i, j := range journeys {
		state, err := json.Marshal(&j.facts)
		if err != nil {
			return fmt.Errorf("store journey %s: %w", j.notification, err)
		}
		v := j.reading()
		ids[i], campaigns[i], contacts[i], arms[i], channels[i] = j.notification, j.campaign, j.contact, string(j.arm), string(j.channel)
		states[i], models[i] = string(state), j.model
		starts[i], sent[i], until[i], opened[i], clicked[i] = moment(v.start), moment(v.sent), moment(v.until), moment(v.opened), moment(v.clicked)
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO journeys (notification, campaign, contact, arm, channel, model, starts_at, sent_at, until_at, opened_at, clicked_at, state)
		SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::int[], $7::timestamptz[], $8::timestamptz[],
		                     $9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::jsonb[])
		ON CONFLICT (notification) DO UPDATE SET starts_at = excluded.starts_at, sent_at = excluded.sent_at,
		       until_at = excluded.until_at, opened_at = excluded.opened_at, clicked_at = excluded.clicked_at, state = excluded.state`,
		ids, campaigns, contacts, arms, channels, models, starts, sent, until, opened, clicked, states)
	if err != nil {
		return fmt.Errorf("store journeys: %w", err)
	}
	return nil
}

func moment(micros int64) *time.Time {
	if micros == 0 {
		return nil
	}
	t := time.UnixMicro(micros).UTC()
	return &t
}

// storeCredits moves the accounts that changed, and with them the campaigns'
// revenue and the step "paid".
func storeCredits(ctx context.Context, tx pgx.Tx, c *chunk) error {
	if len(c.sums) == 0 {
		return nil
	}
	owners := map[kairos.ID]*journey{}
	for key := range c.sums {
		owners[key.notification] = c.owner(key.notification)
	}
	ids := make([]kairos.ID, 0, len(owners))
	for id := range owners {
		ids = append(ids, id)
	}
	rows, err := tx.Query(ctx, `
		SELECT notification, currency, (attributed * 1000000)::bigint, attributed_n, (amount * 1000000)::bigint, n
		FROM conversions WHERE notification = ANY ($1)`, ids)
	if err != nil {
		return fmt.Errorf("load conversions: %w", err)
	}
	old := map[creditKey]credit{}
	paid := map[kairos.ID]int64{} // attributed payments before
	var key creditKey
	var was credit
	_, err = pgx.ForEachRow(rows, []any{&key.notification, &key.currency, &was.attributed, &was.attributedN, &was.amount, &was.n}, func() error {
		old[key] = was
		if key.currency != "" {
			paid[key.notification] += was.attributedN
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load conversions: %w", err)
	}
	more := map[kairos.ID]int64{}
	for key, delta := range c.sums {
		if key.currency != "" {
			more[key.notification] += delta.attributedN
		}
	}
	for id, delta := range more {
		before, after := of(int(paid[id])), of(int(paid[id]+delta))
		if before != after {
			c.step(owners[id], StepPaid, count{after.uniques - before.uniques, after.total - before.total})
		}
	}
	return writeCredits(ctx, tx, owners, old, c.sums)
}

// owner returns the journey of an account: of the chunk, or loaded beside it.
func (c *chunk) owner(id kairos.ID) *journey {
	if j := c.now[id]; j != nil {
		return j
	}
	return c.others[id]
}

func writeCredits(ctx context.Context, tx pgx.Tx, owners map[kairos.ID]*journey, old, sums map[creditKey]credit) error {
	keys := make([]creditKey, 0, len(sums))
	for key := range sums {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b creditKey) int {
		return cmp.Or(slices.Compare(a.notification[:], b.notification[:]), cmp.Compare(a.currency, b.currency))
	})
	n := len(keys)
	campaigns, ids, arms, currencies := make([]kairos.ID, n), make([]kairos.ID, n), make([]string, n), make([]string, n)
	var figures [8][]int64 // attributed, its number, amount, its number: before, then after
	for i := range figures {
		figures[i] = make([]int64, n)
	}
	for i, key := range keys {
		was := old[key]
		is := was.plus(sums[key], 1)
		j := owners[key.notification]
		campaigns[i], ids[i], arms[i], currencies[i] = j.campaign, key.notification, string(j.arm), key.currency
		for f, v := range [8]int64{int64(was.attributed), was.attributedN, int64(was.amount), was.n,
			int64(is.attributed), is.attributedN, int64(is.amount), is.n} {
			figures[f][i] = v
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO conversions (campaign, notification, currency, attributed, attributed_n, amount, n)
		SELECT campaign, notification, currency, attributed * 0.000001, attributed_n, amount * 0.000001, n
		FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
		     AS u(campaign, notification, currency, attributed, attributed_n, amount, n)
		ON CONFLICT (notification, currency) DO UPDATE SET attributed = excluded.attributed, attributed_n = excluded.attributed_n,
		       amount = excluded.amount, n = excluded.n`,
		campaigns, ids, currencies, figures[4], figures[5], figures[6], figures[7])
	if err != nil {
		return fmt.Errorf("store conversions: %w", err)
	}
	_, err = tx.Exec(ctx, `DELETE FROM conversions WHERE notification = ANY ($1) AND n = 0 AND attributed_n = 0`, ids)
	if err != nil {
		return fmt.Errorf("store conversions: %w", err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO revenue AS r (campaign, arm, currency, attributed_people, attributed_payments, attributed_amount,
		                          window_people, window_payments, window_amount, window_squares)
		SELECT campaign, arm, currency,
		       sum((an1 > 0)::int - (an0 > 0)::int), sum(an1 - an0), sum(a1 - a0) * 0.000001,
		       sum((n1 > 0)::int - (n0 > 0)::int), sum(n1 - n0), sum(w1 - w0) * 0.000001,
		       sum(w1::numeric * w1 - w0::numeric * w0) * 0.000000000001
		FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
		            $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])
		     AS u(campaign, arm, currency, a0, an0, w0, n0, a1, an1, w1, n1)
		GROUP BY campaign, arm, currency
		ON CONFLICT (campaign, arm, currency) DO UPDATE SET
		       attributed_people = r.attributed_people + excluded.attributed_people,
		       attributed_payments = r.attributed_payments + excluded.attributed_payments,
		       attributed_amount = r.attributed_amount + excluded.attributed_amount,
		       window_people = r.window_people + excluded.window_people,
		       window_payments = r.window_payments + excluded.window_payments,
		       window_amount = r.window_amount + excluded.window_amount,
		       window_squares = r.window_squares + excluded.window_squares`,
		campaigns, arms, currencies, figures[0], figures[1], figures[2], figures[3], figures[4], figures[5], figures[6], figures[7])
	if err != nil {
		return fmt.Errorf("store revenue: %w", err)
	}
	_, err = tx.Exec(ctx, `
		DELETE FROM revenue WHERE campaign = ANY ($1) AND attributed_payments = 0 AND window_payments = 0`, campaigns)
	if err != nil {
		return fmt.Errorf("store revenue: %w", err)
	}
	return nil
}

func storeRollups(ctx context.Context, tx pgx.Tx, steps map[rollupKey]count) error {
	var campaigns []kairos.ID
	var arms, channels, names []string
	var uniques, totals []int64
	for key, n := range steps {
		if n == (count{}) {
			continue
		}
		campaigns, arms, channels, names = append(campaigns, key.campaign), append(arms, string(key.arm)), append(channels, string(key.channel)), append(names, key.step)
		uniques, totals = append(uniques, n.uniques), append(totals, n.total)
	}
	if len(campaigns) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO rollups AS r (campaign, arm, channel, step, uniques, total)
		SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
		ON CONFLICT (campaign, arm, channel, step) DO UPDATE SET uniques = r.uniques + excluded.uniques, total = r.total + excluded.total`,
		campaigns, arms, channels, names, uniques, totals)
	if err != nil {
		return fmt.Errorf("store rollups: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM rollups WHERE campaign = ANY ($1) AND uniques = 0 AND total = 0`, campaigns); err != nil {
		return fmt.Errorf("store rollups: %w", err)
	}
	return nil
}
