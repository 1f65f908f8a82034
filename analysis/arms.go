package analysis

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
)

// armKey is what sent messages and the responses to them are counted by, for
// the timing reports.
type armKey struct {
	campaign kairos.ID
	arm      kairos.Arm
	model    int // timing model that chose the hour; 0: none did
}

// armMove is how a count moves.
type armMove struct {
	sent, responses int64
	began           int64 // the earliest new moment of sending; 0: none
	lost            int64 // the earliest moment of sending that holds no more; 0: none
}

// respond counts the messages that were sent, and those of them responded to,
// as they were and as they are. A response is a human click or anything beyond
// it on a page, or an attributed event of the account; an open alone is none,
// not even where it is the campaign's goal. Of the accounts it needs those that
// loadAccounts loads.
func (c *chunk) respond(old accounts) {
	seen, fresh := map[kairos.ID]bool{}, map[kairos.ID]bool{} // fresh: the chunk attributes an event on a new line
	for key, s := range c.sums {
		if s.attributedN > 0 && old.line(key).attributedN == 0 && c.owner(key.notification).responds(key.currency) {
			fresh[key.notification] = true
		}
	}
	move := func(j *journey) {
		if seen[j.notification] {
			return
		}
		seen[j.notification] = true
		was, is := j.was().reading(), j.reading()
		paid, pays := false, fresh[j.notification]
		for _, l := range old[j.notification] {
			paid = paid || l.attributedN > 0 && j.responds(l.currency)
			l.credit = l.plus(c.sums[creditKey{j.notification, l.currency}], 1)
			pays = pays || l.attributedN > 0 && j.responds(l.currency)
		}
		wasSent, isSent := was.sent != 0, is.sent != 0
		responded, responds := wasSent && (was.responded || paid), isSent && (is.responded || pays)
		if was.sent == is.sent && responded == responds {
			return
		}
		key := armKey{j.campaign, j.arm, j.model}
		m := c.arms[key]
		if m == nil {
			m = &armMove{}
			c.arms[key] = m
		}
		m.sent += int64(flag(isSent) - flag(wasSent))
		m.responses += int64(flag(responds) - flag(responded))
		if isSent && was.sent != is.sent {
			m.began = earliest(m.began, is.sent)
		}
		if wasSent && (is.sent == 0 || is.sent > was.sent) {
			m.lost = earliest(m.lost, was.sent)
		}
	}
	for _, j := range c.list {
		if j.touched {
			move(j)
		}
	}
	for key := range c.sums {
		move(c.owner(key.notification))
	}
}

// responds reports whether an attributed event on a line of its account makes a
// message responded to: a payment, or an event of a goal that is no open.
func (j *journey) responds(currency string) bool {
	return currency != "" || j.rules.goal != kairos.NotificationOpened
}

func storeArms(ctx context.Context, tx pgx.Tx, moves map[armKey]*armMove) error {
	var campaigns, less []kairos.ID
	var arms, lessArms []string
	var models, lessModels []int32
	var sent, responses []int64
	var began, lost moments
	for key, m := range moves {
		campaigns, arms, models = append(campaigns, key.campaign), append(arms, string(key.arm)), append(models, int32(key.model))
		sent, responses, began = append(sent, m.sent), append(responses, m.responses), append(began, m.began)
		if m.lost != 0 {
			less, lessArms, lessModels, lost = append(less, key.campaign), append(lessArms, string(key.arm)), append(lessModels, int32(key.model)), append(lost, m.lost)
		}
	}
	if len(campaigns) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO arms AS a (campaign, arm, model, sent, responses, began_at)
		SELECT campaign, arm, model, sent, responses, coalesce(began, 'infinity')
		FROM unnest($1::uuid[], $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::timestamptz[]) AS u(campaign, arm, model, sent, responses, began)
		ON CONFLICT (campaign, arm, model) DO UPDATE SET sent = a.sent + excluded.sent, responses = a.responses + excluded.responses,
		       began_at = least(a.began_at, excluded.began_at)`, campaigns, arms, models, sent, responses, began)
	if err == nil && len(less) > 0 {
		// The first message of an arm turned out not to have been sent then: who is the first now?
		_, err = tx.Exec(ctx, `
			WITH less AS (SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[], $4::timestamptz[]) AS u(campaign, arm, model, lost)), gone AS (
				DELETE FROM arms a USING less l WHERE a.campaign = l.campaign AND a.arm = l.arm AND a.model = l.model AND a.sent = 0)
			UPDATE arms a SET began_at = (SELECT min(j.sent_at) FROM journeys j
				WHERE j.campaign = a.campaign AND j.arm = a.arm AND coalesce(j.model, 0) = a.model)
			FROM less l WHERE a.campaign = l.campaign AND a.arm = l.arm AND a.model = l.model AND l.lost <= a.began_at AND a.sent > 0`,
			less, lessArms, lessModels, lost)
	}
	if err != nil {
		return fmt.Errorf("store arms: %w", err)
	}
	return nil
}

// armRow is a row of the table.
type armRow struct {
	armKey
	sent, responses int64
	began           time.Time
}

// loadArmRows loads the counts of campaigns.
func loadArmRows(ctx context.Context, q db, campaigns []kairos.ID, each func(armRow)) error {
	rows, err := q.Query(ctx, `SELECT campaign, arm, model, sent, responses, began_at FROM arms WHERE campaign = ANY ($1) AND sent > 0`, campaigns)
	if err == nil {
		var r armRow
		_, err = pgx.ForEachRow(rows, []any{&r.campaign, (*string)(&r.arm), &r.model, &r.sent, &r.responses, &r.began}, func() error {
			each(r)
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("load arms: %w", err)
	}
	return nil
}
