package analysis

import (
	"cmp"
	"context"
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

// storeJourneys writes the journeys that events of the chunk said something new
// about, in the order of their ids. Who holds the cursor is the only writer, so
// those that the table did not have are new: they are copied.
func storeJourneys(ctx context.Context, tx pgx.Tx, journeys []*journey) error {
	var fresh, known []*journey
	for _, j := range journeys {
		switch {
		case !j.touched:
		case j.stored:
			known = append(known, j)
		default:
			fresh = append(fresh, j)
		}
	}
	if err := copyJourneys(ctx, tx, fresh); err != nil {
		return err
	}
	if len(known) == 0 {
		return nil
	}
	n := len(known)
	ids, states := make([]kairos.ID, n), make([]string, n)
	var times [5]moments
	for i := range times {
		times[i] = make(moments, n)
	}
	var buf []byte
	for i, j := range known {
		v := j.reading()
		buf = j.facts.appendJSON(buf[:0])
		ids[i], states[i] = j.notification, string(buf)
		times[0][i], times[1][i], times[2][i], times[3][i], times[4][i] = v.start, v.sent, v.until, v.opened, v.clicked
	}
	// No index names any of these columns (explored_at only changes for what was
	// explored): the new row stays in its page, beside the old one.
	_, err := tx.Exec(ctx, `
		UPDATE journeys j SET starts_at = u.starts_at, sent_at = u.sent_at, until_at = u.until_at,
		       opened_at = u.opened_at, clicked_at = u.clicked_at, state = u.state
		FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::jsonb[])
		     AS u(notification, starts_at, sent_at, until_at, opened_at, clicked_at, state)
		WHERE j.notification = u.notification`,
		ids, times[0], times[1], times[2], times[3], times[4], states)
	if err != nil {
		return fmt.Errorf("store journeys: %w", err)
	}
	return nil
}

// accounts is what the table held of some messages before the chunk.
type accounts map[kairos.ID][]account

// account is one line of a message's account.
type account struct {
	currency string
	credit
}

// line returns what was on a line.
func (a accounts) line(key creditKey) credit {
	for _, l := range a[key.notification] {
		if l.currency == key.currency {
			return l.credit
		}
	}
	return credit{}
}

// loadAccounts loads the accounts that change, and those that tell whether a
// message whose own facts speak of a response now, or no more, had one already.
func loadAccounts(ctx context.Context, tx pgx.Tx, c *chunk) (accounts, error) {
	all := accounts{}
	for key := range c.sums {
		all[key.notification] = nil
	}
	for _, j := range c.list {
		if !j.touched {
			continue
		}
		was, is := j.was().reading(), j.reading()
		if was.sent != 0 && (was.responded != is.responded || is.sent == 0) { // before it was sent it could earn nothing
			all[j.notification] = nil
		}
	}
	if len(all) == 0 {
		return all, nil
	}
	ids := make([]kairos.ID, 0, len(all))
	for id := range all {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, byID)
	rows, err := tx.Query(ctx, `
		SELECT notification, currency, (attributed * 1000000)::bigint, attributed_n, (amount * 1000000)::bigint, n
		FROM conversions WHERE notification = ANY ($1)`, ids)
	if err != nil {
		return nil, fmt.Errorf("load conversions: %w", err)
	}
	var id kairos.ID
	var l account
	_, err = pgx.ForEachRow(rows, []any{&id, &l.currency, &l.attributed, &l.attributedN, &l.amount, &l.n}, func() error {
		all[id] = append(all[id], l)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load conversions: %w", err)
	}
	return all, nil
}

// storeCredits moves the accounts that changed, and with them the campaigns'
// revenue and the step "paid".
func storeCredits(ctx context.Context, tx pgx.Tx, c *chunk, old accounts) error {
	if len(c.sums) == 0 {
		return nil
	}
	owners, more := map[kairos.ID]*journey{}, map[kairos.ID]int64{}
	for key, delta := range c.sums {
		owners[key.notification] = c.owner(key.notification)
		if key.currency != "" {
			more[key.notification] += delta.attributedN
		}
	}
	for id, delta := range more {
		var paid int64
		for _, l := range old[id] {
			if l.currency != "" {
				paid += l.attributedN
			}
		}
		if delta != 0 {
			group := c.group(owners[id])
			group[paidStep] = group[paidStep].plus(of(int(paid)), -1).plus(of(int(paid+delta)), 1)
		}
	}
	return writeCredits(ctx, tx, owners, old, c.sums)
}

// owner returns the journey of an account: of the chunk, or loaded beside it.
func (c *chunk) owner(id kairos.ID) *journey {
	if j := c.now[id]; j != nil && j.known {
		return j
	}
	return c.others[id]
}

func writeCredits(ctx context.Context, tx pgx.Tx, owners map[kairos.ID]*journey, old accounts, sums map[creditKey]credit) error {
	keys := make([]creditKey, 0, len(sums))
	for key := range sums {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b creditKey) int {
		return cmp.Or(slices.Compare(a.notification[:], b.notification[:]), cmp.Compare(a.currency, b.currency))
	})
	n := len(keys)
	campaigns, ids, arms, currencies := make([]kairos.ID, n), make([]kairos.ID, n), make([]string, n), make([]string, n)
	var emptied []kairos.ID
	var figures [8][]int64 // attributed, its number, amount, its number: before, then after
	for i := range figures {
		figures[i] = make([]int64, n)
	}
	for i, key := range keys {
		was := old.line(key)
		is := was.plus(sums[key], 1)
		j := owners[key.notification]
		campaigns[i], ids[i], arms[i], currencies[i] = j.campaign, key.notification, string(j.arm), key.currency
		if is.n == 0 && is.attributedN == 0 {
			emptied = append(emptied, key.notification)
		}
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
	if len(emptied) > 0 {
		_, err = tx.Exec(ctx, `DELETE FROM conversions WHERE notification = ANY ($1) AND n = 0 AND attributed_n = 0`, emptied)
		if err != nil {
			return fmt.Errorf("store conversions: %w", err)
		}
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

func storeRollups(ctx context.Context, tx pgx.Tx, groups map[groupKey]*[counted]count) error {
	names := stepNames()
	var campaigns, fallen []kairos.ID
	var arms, channels, steps []string
	var uniques, totals []int64
	for key, group := range groups {
		for i, n := range group {
			if n == (count{}) {
				continue
			}
			campaigns, arms, channels, steps = append(campaigns, key.campaign), append(arms, string(key.arm)), append(channels, string(key.channel)), append(steps, names[i])
			if uniques, totals = append(uniques, n.uniques), append(totals, n.total); n.total < 0 && !slices.Contains(fallen, key.campaign) {
				fallen = append(fallen, key.campaign)
			}
		}
	}
	if len(campaigns) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO rollups AS r (campaign, arm, channel, step, uniques, total)
		SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
		ON CONFLICT (campaign, arm, channel, step) DO UPDATE SET uniques = r.uniques + excluded.uniques, total = r.total + excluded.total`,
		campaigns, arms, channels, steps, uniques, totals)
	if err != nil {
		return fmt.Errorf("store rollups: %w", err)
	}
	if len(fallen) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `DELETE FROM rollups WHERE campaign = ANY ($1) AND uniques = 0 AND total = 0`, fallen); err != nil {
		return fmt.Errorf("store rollups: %w", err)
	}
	return nil
}
